//! What those are told who wait: threads for requests, and requests for a run.

use crate::inference::{ErrorCode, InferError};
use std::time::Instant;

/// What a thread that waited is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scheduler) enum Work {
    /// Take a batch and run it; what waits was found at this time.
    Run(Instant),
    /// Nobody waits: time for what can wait.
    Spare,
    /// End.
    Leave,
}

/// The one text for a request that is late, wherever that is noticed.
pub(in crate::scheduler) fn deadline_exceeded(place: &str) -> InferError {
    InferError::new(ErrorCode::DeadlineExceeded, format!("the deadline passed {place}"))
}
