//! Reading a request's body: within its size, its time, and the bytes that all requests may hold.

use crate::inference::{ByteLease, ErrorCode, InferError};
use crate::tensor::{Buffer, BufferVec};
use axum::body::Body;
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

/// Reads the whole body, already unpacked where it was packed. What comes in several pieces is
/// copied once, to a place that is aligned for numbers.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    limits: (usize, BodyTimeouts),
    lease: &mut ByteLease,
) -> Result<Buffer, InferError> {
    let (max_bytes, timeouts) = limits;
    if headers.contains_key(CONTENT_ENCODING) {
        // Unpacking takes the header away with every encoding that it knows.
        let message = "the content encoding is not supported, expected gzip or deflate";
        return Err(InferError::new(ErrorCode::UnsupportedMediaType, message));
    }
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|announced: usize| announced > max_bytes) {
        return Err(too_large(max_bytes));
    }
    let now = Instant::now();
    let ends = now + timeouts.total;
    let mut waits_until = ends.min(now + timeouts.idle);
    let mut gathered: Option<BufferVec<u8>> = None;
    let mut len = 0;
    loop {
        let frame = timeout_at(waits_until, body.frame()).await.map_err(|_| {
            InferError::new(ErrorCode::BodyTimeout, format!("the body stopped after {len} bytes"))
        })?;
        let Some(frame) = frame else { break };
        let Ok(piece) = frame.map_err(unreadable)?.into_data() else {
            continue;
        };
        let is_whole = len == 0 && announced == Some(piece.len());
        len += piece.len();
        if len > max_bytes {
            return Err(too_large(max_bytes));
        }
        // Booked as it comes and not as announced: who announces much and sends nothing holds nothing.
        lease.grow(piece.len())?;
        if is_whole {
            return Ok(piece.into());
        }
        // The system gives memory when it is written to: what was announced and does not come
        // takes none.
        let room = || BufferVec::with_capacity(announced.unwrap_or(piece.len()));
        gathered.get_or_insert_with(room).extend_from_slice(&piece);
        waits_until = ends.min(Instant::now() + timeouts.idle);
    }
    Ok(gathered.map_or_else(Buffer::default, BufferVec::freeze))
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

/// How a body is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaType {
    /// It says so, it says nothing, or it says what `curl -d` says of everything.
    Json,
    /// The elements of a tensor, as they lie in memory.
    Bytes,
}

/// What the content type says.
pub(super) fn media_type(headers: &HeaderMap) -> Result<MediaType, InferError> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(MediaType::Json);
    };
    if value == "application/json" {
        return Ok(MediaType::Json);
    }
    let text = value.to_str().unwrap_or("").to_ascii_lowercase();
    let media_type = text.split(';').next().unwrap_or("").trim();
    match media_type {
        "" | "application/json" | "text/json" | "application/x-www-form-urlencoded" => {
            return Ok(MediaType::Json);
        }
        "application/octet-stream" => return Ok(MediaType::Bytes),
        other if other.starts_with("application/") && other.ends_with("+json") => {
            return Ok(MediaType::Json);
        }
        _ => {}
    }
    let expected = "\"application/json\" or \"application/octet-stream\"";
    let message = format!("the content type {media_type:?} is not supported, expected {expected}");
    Err(InferError::new(ErrorCode::UnsupportedMediaType, message)
        .with_mismatch(expected, media_type))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn json_goes_by_several_names() {
        let media_type = |content_type: &'static str| {
            let headers =
                HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            media_type(&headers).map_err(|error| error.code)
        };
        for json in
            ["application/json; charset=utf-8", "application/vnd.x+json", "APPLICATION/JSON", ""]
        {
            assert_eq!(media_type(json), Ok(MediaType::Json), "{json}");
        }
        assert_eq!(media_type("Application/Octet-Stream"), Ok(MediaType::Bytes));
        for bad in ["text/plain", "image/png", "multipart/form-data; boundary=x"] {
            assert_eq!(media_type(bad), Err(ErrorCode::UnsupportedMediaType), "{bad}");
        }
        assert_eq!(super::media_type(&HeaderMap::new()), Ok(MediaType::Json));
    }
}
