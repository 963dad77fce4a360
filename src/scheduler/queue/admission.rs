//! Whether a queue takes a request in: there must be room, and its wait must be bearable. Pure.

use super::caution::Caution;
use super::forecast::{Forecast, whole_seconds};
use super::load::Load;
use super::pace::{Arrival, OVERLOADED_FOR, Pace};
use super::waiting::{Queued, WaitingLine};
use crate::inference::{ErrorCode, InferError};
use std::time::{Duration, Instant};

/// Batches between two of outliers, as long as others wait: a run that fails at its end takes as long as one that does
/// not, and those who send such requests send the next ones at once.
pub(super) const OTHERS_FIRST: usize = 8;

/// How much a queue takes in.
#[derive(Debug, Clone, Copy)]
pub(in crate::scheduler) struct Bounds {
    /// Requests that may wait.
    pub(in crate::scheduler) capacity: usize,
    /// How long one may have to wait for its run; `None` for what its model bears.
    pub(in crate::scheduler) max_wait: Option<Duration>,
    /// Threads that take.
    pub(in crate::scheduler) instances: usize,
}

/// What is ahead of a request that comes, and what is known of how fast that is served.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead<'a> {
    pub(super) waiting: &'a WaitingLine,
    /// Threads that sleep.
    pub(super) sleepers: usize,
    pub(super) max_batch_size: usize,
    pub(super) pace: &'a Pace,
    pub(super) caution: &'a Caution,
}

/// What decides, with the one thing that it remembers.
#[derive(Debug)]
pub(super) struct Admission {
    bounds: Bounds,
    /// Until when more counts as coming than can be served.
    overloaded_until: Option<Instant>,
}

impl Admission {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, overloaded_until: None }
    }

    /// Why a request cannot be taken in, if so: there are too many, or it would have to wait for too long.
    pub(super) fn refusal(&mut self, queued: &Queued, ahead: Ahead<'_>) -> Option<InferError> {
        let is_full = ahead.waiting.len() >= self.bounds.capacity;
        if ahead.pace.forget_if_calm(queued.enqueued_at) {
            self.overloaded_until = None;
        }
        // Idle instances take a first request at once.
        if ahead.waiting.is_empty() && ahead.sleepers > 0 && !is_full {
            return None;
        }
        let forecast = self.forecast(queued, ahead);
        let now = queued.enqueued_at;
        let is_too_much = is_full || forecast.is_some_and(|it| it.wait > it.patient);
        if is_too_much {
            self.overloaded_until = Some(now + OVERLOADED_FOR);
        }
        let (text, retry_after) = if is_full {
            let text = format!("the model's queue is full ({} requests)", self.bounds.capacity);
            (text, forecast.unwrap_or_default().next)
        } else {
            let forecast = forecast?;
            let is_overloaded = self.overloaded_until.is_some_and(|until| now < until);
            let borne = if is_overloaded { forecast.bearable } else { forecast.patient };
            let left = queued.request.context().deadline.saturating_duration_since(now);
            let (why, retry_after) =
                forecast.refusal(self.bounds.max_wait.unwrap_or(borne), left)?;
            (format!("the model's queue is full: {why}"), retry_after)
        };
        let error = InferError::new(ErrorCode::QueueFull, text);
        Some(error.with_retry_after(whole_seconds(retry_after)))
    }

    fn forecast(&self, queued: &Queued, ahead: Ahead<'_>) -> Option<Forecast> {
        let Ahead { waiting, sleepers, max_batch_size, pace, caution } = ahead;
        let arrival = Arrival {
            n_rows: queued.request.n_rows(),
            max_batch_size,
            instances: self.bounds.instances,
            asleep: sleepers,
        };
        match queued.is_outlier {
            // Others do not wait for outliers but for a turn in a few: whoever sends what fails must not fill the queue.
            false => pace.forecast(waiting.load(), arrival),
            true => {
                let has_others = *waiting.load() != Load::default();
                let turns = if has_others { OTHERS_FIRST + 1 } else { 1 };
                let longer = turns * max_batch_size.div_ceil(caution.max_requests(true));
                pace.forecast(&waiting.load().plus(waiting.outliers(), longer), arrival)
            }
        }
    }
}
