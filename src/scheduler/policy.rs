//! When an idle instance takes what is queued: a pure decision, with the time as an argument.
//!
//! Batching is work-conserving: an idle instance takes at once what is there. It waits only where
//! the model's `max_queue_delay` says so, and never longer than that for the oldest request.

use std::time::{Duration, Instant};

/// The limits within which rows of several requests share a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most rows of one run; 1 keeps requests apart.
    pub max_batch_size: usize,
    /// How long the oldest request may wait for company while an instance is idle.
    pub max_queue_delay: Duration,
}

/// What waits, as far as the decision depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Rows that could share a run with the oldest request, its own included.
    pub rows: usize,
    /// When the oldest request came.
    pub oldest: Instant,
    /// Whether nothing more may be waited for: the queue is closing.
    pub closing: bool,
}

/// What an idle instance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Take the oldest request and what may run with it.
    Dispatch,
    /// Look again then, or when another request comes.
    WaitUntil(Instant),
    /// Sleep until a request comes.
    Idle,
}

/// Decides for one idle instance.
#[must_use]
pub fn decide(waiting: Option<Waiting>, limits: BatchLimits, now: Instant) -> Decision {
    let Some(waiting) = waiting else {
        return Decision::Idle;
    };
    let patience_ends = waiting.oldest + limits.max_queue_delay;
    if waiting.closing || waiting.rows >= limits.max_batch_size || now >= patience_ends {
        return Decision::Dispatch;
    }
    Decision::WaitUntil(patience_ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAYED: BatchLimits =
        BatchLimits { max_batch_size: 8, max_queue_delay: Duration::from_millis(5) };
    const EAGER: BatchLimits = BatchLimits { max_queue_delay: Duration::ZERO, ..DELAYED };

    /// `state` is (rows, age of the oldest in milliseconds, closing).
    #[track_caller]
    fn check(
        state: Option<(usize, u64, bool)>,
        limits: BatchLimits,
        expected: fn(Instant) -> Decision,
    ) {
        let oldest = Instant::now();
        let age = state.map_or(0, |(_, age, _)| age);
        let waiting = state.map(|(rows, _, closing)| Waiting { rows, oldest, closing });
        assert_eq!(decide(waiting, limits, oldest + Duration::from_millis(age)), expected(oldest));
    }

    #[test]
    fn instances_wait_only_when_told_to() {
        check(None, EAGER, |_| Decision::Idle);
        check(Some((1, 0, false)), EAGER, |_| Decision::Dispatch);
        check(Some((1, 0, false)), DELAYED, |oldest| {
            Decision::WaitUntil(oldest + Duration::from_millis(5))
        });
        check(Some((8, 0, false)), DELAYED, |_| Decision::Dispatch);
        check(Some((1, 5, false)), DELAYED, |_| Decision::Dispatch);
        check(Some((1, 0, true)), DELAYED, |_| Decision::Dispatch);
    }
}
