//! Reading a request's body: within its size, its time, and the bytes that all requests may hold.

use super::unpack::{Codings, Unpacking, too_large};
use crate::inference::{ByteLease, ErrorCode, InferError, Pace, Savings};
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

/// How much of the scarcity of room counts for bodies: where one comes late, a thread of ours may be what holds it up.
const LENIENCE: f64 = 0.85;

/// How often it is looked at whether a body has waited for too long.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

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
    let (mut pace, mut savings) = (Pace::new(now), Savings::new(now));
    let mut gathered: Option<BufferVec<u8>> = None;
    let scarcity_of = |lease: &ByteLease| LENIENCE * lease.scarcity();
    let mut len = 0;
    loop {
        let now = Instant::now();
        let scarcity = scarcity_of(lease);
        let by_pace = pace.ends_at(timeouts.idle, scarcity).min(savings.used_up_at());
        let may_wait_until = ends.min(by_pace);
        if now >= may_wait_until {
            if now >= deadline.into() {
                return Err(late());
            }
            let message = if now >= ends {
                format!("the body took longer than {:?} (http.body_timeout)", timeouts.total)
            } else if now >= pace.still_until(timeouts.idle, scarcity) {
                format!("the body stopped after {len} bytes (http.body_idle_timeout)")
            } else {
                format!(
                    "the body came too slowly, {len} bytes so far: expected 4 KiB/s after 30 s, and more where limits.inflight_bytes is short"
                )
            };
            return Err(InferError::new(ErrorCode::BodyTimeout, message));
        }
        // How long it may wait changes with the room that there is.
        let look_again = may_wait_until.min(now + LOOK_AGAIN);
        let Ok(frame) = timeout_at(look_again, body.frame()).await else { continue };
        let Some(frame) = frame else { break };
        let Ok(piece) = frame.map_err(unreadable)?.into_data() else {
            continue;
        };
        let is_whole = len == 0 && announced == Some(piece.len());
        len += piece.len();
        let now = Instant::now();
        pace.moved(piece.len(), now);
        savings.moved(piece.len(), now, scarcity_of(lease));
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
    }
    Ok(gathered.map_or_else(Buffer::default, BufferVec::freeze))
}

fn unreadable(_: axum::Error) -> InferError {
    InferError::new(
        ErrorCode::InvalidRequest,
        "the body cannot be read: it was cut off, or is framed wrongly",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::ByteBudget;
    use http_body_util::channel::Channel;
    use std::time::Instant as Deadline;

    const HALF_A_MINUTE: Duration = Duration::from_secs(30);
    const LIMIT: usize = 1 << 20;

    /// How long a body that brings a byte a second may go on, while so much of the budget is held by others.
    async fn lasts(held_by_others: usize) -> Duration {
        let budget = ByteBudget::new(LIMIT);
        let mut others = budget.lease();
        others.grow(held_by_others).unwrap();
        let (mut sender, body) = Channel::<_, axum::Error>::new(1);
        let trickle = async move {
            while sender.send_data(vec![b'x'].into()).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::spawn(trickle);
        let timeouts = BodyTimeouts { idle: Duration::from_secs(10), total: 10 * HALF_A_MINUTE };
        let limits =
            BodyLimits { max_bytes: LIMIT, deadline: Deadline::now() + 100 * HALF_A_MINUTE };
        let began = Instant::now();
        let read = read(&HeaderMap::new(), Body::new(body), timeouts, limits, budget.lease()).await;
        let error = read.map(|_| ()).expect_err("too slow");
        assert_eq!(error.code, ErrorCode::BodyTimeout);
        assert_eq!(budget.used(), held_by_others);
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_ends_sooner_where_room_is_scarce() {
        let (plenty, scarce) = (lasts(0).await, lasts(LIMIT - 100).await);
        assert!(plenty >= HALF_A_MINUTE && plenty < HALF_A_MINUTE + 2 * LOOK_AGAIN, "{plenty:?}");
        assert!(scarce <= HALF_A_MINUTE / 4, "{scarce:?}");
    }
}
