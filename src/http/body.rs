//! Reading a request's body: within its size, its time, and the bytes that all requests may hold.

use super::unpack::{Codings, Unpacking, too_large};
use crate::inference::{ByteLease, ErrorCode, InferError};
use crate::pipeline::{BodyLimits, LARGE_BYTES, Received, late, off_runtime};
use crate::tensor::{Buffer, BufferVec};
use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
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

/// Packed bodies up to this size are unpacked at once, as long as they stay small.
const SMALL_BYTES: usize = 32 * 1024;

/// Reads the whole body and unpacks it.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    timeouts: BodyTimeouts,
    limits: BodyLimits,
    mut lease: ByteLease,
) -> Result<Received, InferError> {
    let codings = Codings::of(headers)?;
    let body = gather(headers, body, timeouts, limits, &mut lease).await?;
    if codings.is_none() || body.is_empty() {
        return Ok(Received { body, lease });
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
fn finish(unpacking: Unpacking, mut lease: ByteLease) -> Received {
    let body = unpacking.finish();
    lease.shrink_to(body.len());
    Received { body, lease }
}

/// The body as it comes. What comes in several pieces is copied once, to a place that is aligned for
/// numbers.
async fn gather(
    headers: &HeaderMap,
    mut body: Body,
    timeouts: BodyTimeouts,
    limits: BodyLimits,
    lease: &mut ByteLease,
) -> Result<Buffer, InferError> {
    let BodyLimits { max_bytes, deadline } = limits;
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
