//! The guard that records a request however it ends.

use super::model::ModelMetrics;
use super::record::RequestRecord;
use std::sync::Arc;
use std::time::Instant;

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

    /// Counts what the steps before its run had to do.
    pub fn record_work(&self, tokens: u64, pixels: u64) {
        self.metrics.record_work(tokens, pixels);
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
