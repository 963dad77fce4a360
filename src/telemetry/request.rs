//! What is known about one request when it is over, and the guard that records it however it ends.

use super::model::ModelMetrics;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How one request went. A phase that it did not reach stays `None` and is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestRecord {
    /// The error's code; `None` when it was answered with a prediction.
    pub failure: Option<&'static str>,
    /// Reading the body into tensors.
    pub decode: Option<Duration>,
    /// Waiting in the queue.
    pub queue: Option<Duration>,
    /// Putting the batch together and handing it to the device.
    pub input: Option<Duration>,
    /// The model's own run.
    pub compute: Option<Duration>,
    /// Getting the outputs back and cutting them apart.
    pub output: Option<Duration>,
    /// Writing the answer.
    pub encode: Option<Duration>,
    /// From arrival to the encoded answer.
    pub total: Duration,
}

/// A request under way: counted as in flight from here to the drop, which records it. A future that
/// is dropped because its client hung up is thereby recorded like any other.
#[derive(Debug)]
pub struct RequestGuard {
    metrics: Arc<ModelMetrics>,
    started_at: Instant,
    /// What is recorded at the drop; `total` is set there.
    pub record: RequestRecord,
}

impl RequestGuard {
    /// Begins with the code that holds if nothing else is said before the drop.
    #[must_use]
    pub fn new(metrics: Arc<ModelMetrics>, started_at: Instant, abandoned: &'static str) -> Self {
        metrics.inflight_changed(1);
        let record = RequestRecord { failure: Some(abandoned), ..RequestRecord::default() };
        Self { metrics, started_at, record }
    }

    /// The request was answered with a prediction.
    pub fn succeed(&mut self) {
        self.record.failure = None;
    }

    /// The request was answered with this error code.
    pub fn fail(&mut self, code: &'static str) {
        self.record.failure = Some(code);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.record.total = self.started_at.elapsed();
        self.metrics.record_request(&self.record);
        self.metrics.inflight_changed(-1);
    }
}
