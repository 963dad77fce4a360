//! Reading a request's body: within its size, its time, and the bytes that all requests may hold.

use crate::inference::{ByteLease, ErrorCode, InferError};
use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long a body may take.
#[derive(Debug, Clone, Copy)]
pub struct BodyTimeouts {
    /// Between two pieces of it.
    pub idle: Duration,
    /// For all of it.
    pub total: Duration,
}

/// Reads the whole body, already unpacked by the layer in front, into one piece.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    limits: (usize, BodyTimeouts),
    lease: &mut ByteLease,
) -> Result<Bytes, InferError> {
    let (max_bytes, timeouts) = limits;
    if headers.contains_key(CONTENT_ENCODING) {
        // The layer takes the header away with every encoding that it knows.
        let message = "the content encoding is not supported, expected gzip or deflate";
        return Err(InferError::new(ErrorCode::UnsupportedMediaType, message));
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|announced: usize| announced > max_bytes) {
        return Err(too_large(max_bytes));
    }
    let ends = Instant::now() + timeouts.total;
    let mut pieces: Vec<Bytes> = Vec::new();
    let mut len = 0;
    loop {
        let waits_until = ends.min(Instant::now() + timeouts.idle);
        let frame = timeout_at(waits_until, body.frame()).await.map_err(|_| {
            InferError::new(ErrorCode::BodyTimeout, format!("the body stopped after {len} bytes"))
        })?;
        let Some(frame) = frame else { break };
        let Ok(piece) = frame.map_err(unreadable)?.into_data() else {
            continue;
        };
        len += piece.len();
        if len > max_bytes {
            return Err(too_large(max_bytes));
        }
        // Booked as it comes and not as announced: who announces much and sends nothing holds nothing.
        lease.grow(piece.len())?;
        pieces.push(piece);
    }
    if pieces.len() == 1 {
        return Ok(pieces.remove(0));
    }
    lease.grow(len)?;
    let whole = pieces.concat();
    drop(pieces);
    lease.shrink_to(lease.held() - len);
    Ok(whole.into())
}

fn too_large(max_bytes: usize) -> InferError {
    let message = format!("the body is larger than {max_bytes} bytes");
    InferError::new(ErrorCode::BodyTooLarge, message)
}

fn unreadable(_: axum::Error) -> InferError {
    InferError::new(
        ErrorCode::InvalidRequest,
        "the body cannot be read: it was cut off or is not packed as announced",
    )
}

/// Whether the body may be taken for JSON: it says so, it says nothing, or it says what `curl -d`
/// says of everything.
pub(super) fn require_json(headers: &HeaderMap) -> Result<(), InferError> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let text = value.to_str().unwrap_or("").to_ascii_lowercase();
    let media_type = text.split(';').next().unwrap_or("").trim();
    let json = media_type.is_empty()
        || matches!(
            media_type,
            "application/json" | "text/json" | "application/x-www-form-urlencoded"
        )
        || media_type.starts_with("application/") && media_type.ends_with("+json");
    if json {
        return Ok(());
    }
    let message =
        format!("the content type {media_type:?} is not supported, expected \"application/json\"");
    Err(InferError::new(ErrorCode::UnsupportedMediaType, message)
        .with_mismatch("application/json", media_type))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn json_goes_by_several_names() {
        let require = |content_type: &'static str| {
            let headers =
                HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            require_json(&headers).map_err(|error| error.code)
        };
        for good in
            ["application/json; charset=utf-8", "application/vnd.x+json", "APPLICATION/JSON", ""]
        {
            assert_eq!(require(good), Ok(()), "{good}");
        }
        for bad in [
            "text/plain",
            "image/png",
            "application/octet-stream",
            "multipart/form-data; boundary=x",
        ] {
            assert_eq!(require(bad), Err(ErrorCode::UnsupportedMediaType), "{bad}");
        }
        assert_eq!(require_json(&HeaderMap::new()), Ok(()));
    }
}
