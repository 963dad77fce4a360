//! Reading a request's body: within its size, its time, and the bytes that all requests may hold.

use super::exchange::{LARGE_BYTES, late, off_runtime};
use super::unpack::{Codings, MAX_ECHO, Unpacking, too_large};
use crate::inference::{ByteLease, ErrorCode, InferError};
use crate::tensor::{Buffer, BufferVec};
use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
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

/// What holds for one body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Its size as it comes, and what it unpacks to.
    pub(super) max_bytes: usize,
    pub(super) timeouts: BodyTimeouts,
    /// When its sender stops waiting for the answer.
    pub(super) deadline: std::time::Instant,
}

/// Packed bodies up to this size are unpacked at once, as long as they stay small.
const SMALL_BYTES: usize = 32 * 1024;

/// Reads the whole body and unpacks it.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    limits: Limits,
    mut lease: ByteLease,
) -> Result<(Buffer, ByteLease), InferError> {
    let codings = Codings::of(headers)?;
    let body = gather(headers, body, limits, &mut lease).await?;
    if codings.is_none() || body.is_empty() {
        return Ok((body, lease));
    }
    let is_small = body.len() <= SMALL_BYTES;
    let mut unpacking = Unpacking::new(&codings, body, limits.max_bytes);
    if is_small && unpacking.go_on(LARGE_BYTES, &mut lease)? {
        return Ok(finish(unpacking, lease));
    }
    off_runtime(LARGE_BYTES, limits.deadline, move || {
        unpacking.go_on(usize::MAX, &mut lease)?;
        Ok(finish(unpacking, lease))
    })
    .await?
}

/// The body, and the lease for it alone: what it was packed in is gone.
fn finish(unpacking: Unpacking, mut lease: ByteLease) -> (Buffer, ByteLease) {
    let body = unpacking.finish();
    lease.shrink_to(body.len());
    (body, lease)
}

/// The body as it comes. What comes in several pieces is copied once, to a place that is aligned for
/// numbers.
async fn gather(
    headers: &HeaderMap,
    mut body: Body,
    limits: Limits,
    lease: &mut ByteLease,
) -> Result<Buffer, InferError> {
    let Limits { max_bytes, timeouts, deadline } = limits;
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|announced: usize| announced > max_bytes) {
        return Err(too_large(max_bytes));
    }
    let now = Instant::now();
    let ends = (now + timeouts.total).min(deadline.into());
    let mut waits_until = ends.min(now + timeouts.idle);
    let mut gathered: Option<BufferVec<u8>> = None;
    let mut len = 0;
    loop {
        let frame = timeout_at(waits_until, body.frame()).await.map_err(|_| {
            if Instant::now() >= deadline.into() {
                return late();
            }
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

fn unreadable(_: axum::Error) -> InferError {
    InferError::new(ErrorCode::InvalidRequest, "the body cannot be read: it was cut off")
}

/// How a body is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaType {
    /// It says so, it says nothing, or it says what programs say of any text: `curl -d` that it is a form,
    /// a browser's `fetch` that it is plain text.
    Json,
    /// The elements of a tensor, as they lie in memory.
    Bytes,
}

/// What the content type says, whatever its parameters.
pub(super) fn media_type(headers: &HeaderMap) -> Result<MediaType, InferError> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(MediaType::Json);
    };
    if value == "application/json" {
        return Ok(MediaType::Json);
    }
    let text = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    let media_type = text.split(';').next().unwrap_or("").trim();
    match media_type {
        "" | "application/json" | "text/json" | "text/plain" => return Ok(MediaType::Json),
        "application/x-www-form-urlencoded" => return Ok(MediaType::Json),
        "application/octet-stream" => return Ok(MediaType::Bytes),
        other if other.starts_with("application/") && other.ends_with("+json") => {
            return Ok(MediaType::Json);
        }
        _ => {}
    }
    let got: String = media_type.chars().take(MAX_ECHO).collect();
    let expected =
        "\"application/json\", or \"application/octet-stream\" where the route takes bytes";
    let message = format!("the content type {got:?} is not supported, expected {expected}");
    Err(InferError::new(ErrorCode::UnsupportedMediaType, message).with_mismatch(expected, got))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn json_goes_by_several_names() {
        let media_type = |content_type: &'static str| {
            let headers = HeaderMap::from_iter([(
                CONTENT_TYPE,
                HeaderValue::from_bytes(content_type.as_bytes()).unwrap(),
            )]);
            media_type(&headers).map_err(|error| error.code)
        };
        for json in [
            "application/json; charset=utf-8",
            "application/json;charset=UTF-8",
            "application/vnd.x+json",
            "APPLICATION/JSON",
            "text/plain",
            "text/plain;charset=UTF-8",
            "Text/Plain; charset=utf-8",
            "text/json",
            "application/x-www-form-urlencoded; charset=UTF-8",
            "",
            " ; charset=utf-8",
        ] {
            assert_eq!(media_type(json), Ok(MediaType::Json), "{json}");
        }
        assert_eq!(media_type("Application/Octet-Stream"), Ok(MediaType::Bytes));
        assert_eq!(media_type("application/octet-stream; x=y"), Ok(MediaType::Bytes));
        for bad in ["text/html", "image/png", "multipart/form-data; boundary=x", "json", "\u{e9}"] {
            assert_eq!(media_type(bad), Err(ErrorCode::UnsupportedMediaType), "{bad}");
        }
        assert_eq!(super::media_type(&HeaderMap::new()), Ok(MediaType::Json));
    }
}
