//! What is known about one request when it is over.

use super::phase::PhaseTimes;
use std::time::Duration;

/// How one request went. A phase that it did not reach stays `None` and is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestRecord {
    /// The error's code; `None` when it was answered with a prediction.
    pub failure: Option<&'static str>,
    /// Where the time went.
    pub phases: PhaseTimes,
    /// From arrival to the encoded answer.
    pub total: Duration,
}
