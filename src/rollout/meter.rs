//! Counts what a version does on a step of its roll-out. One for each version and step: a new step begins at 0.

use super::figures::{CLASSES, Figures, Latencies, class};
use crate::inference::ErrorCode;
use crate::pipeline::{Caller, Observer, Tap};
use crate::repository::ModelHandle;
use crate::telemetry::{Phase, RequestRecord};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Codes that may be a version's doing. Invalid input is among them, since a new version may refuse what the old one
/// took; what is wrong with a body, a caller who left and a server that shuts down are not.
const FAULTS: &[ErrorCode] = &[
    ErrorCode::InvalidInput,
    ErrorCode::InferenceFailed,
    ErrorCode::ModelCrashed,
    ErrorCode::Internal,
    ErrorCode::ModelNotReady,
    ErrorCode::OutOfMemory,
    ErrorCode::QueueFull,
    ErrorCode::DeadlineExceeded,
];

/// Counters that all requests of a version share.
pub struct Meter {
    answered: AtomicU64,
    errors: AtomicU64,
    latencies: Box<[AtomicU64]>,
}

impl Default for Meter {
    fn default() -> Self {
        let latencies = (0..CLASSES).map(|_| AtomicU64::new(0)).collect();
        Self { answered: AtomicU64::new(0), errors: AtomicU64::new(0), latencies }
    }
}

impl Meter {
    /// Counts a request that was answered after so long in the queue and the run.
    pub fn answered(&self, latency: Duration) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.latencies[class(latency)].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one that failed, unless its code says that no version could have answered it.
    pub fn failed(&self, code: &str) {
        if FAULTS.iter().any(|fault| fault.as_str() == code) {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What has been counted.
    #[must_use]
    pub fn figures(&self) -> Figures {
        // In this order, so that errors are never more than requests.
        let errors = self.errors.load(Ordering::Relaxed);
        let requests = self.answered.load(Ordering::Relaxed) + errors;
        let counts = self.latencies.iter().map(|count| count.load(Ordering::Relaxed));
        Figures { requests, errors, latencies: Latencies::of(counts) }
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (answered, errors) = (&self.answered, &self.errors);
        f.debug_struct("Meter")
            .field("answered", answered)
            .field("errors", errors)
            .finish_non_exhaustive()
    }
}

/// Says where a version's requests are counted, for those that are in a roll-out. Asked for each request.
pub type MeterOf = dyn Fn(&ModelHandle) -> Option<Arc<Meter>> + Send + Sync;

/// Counts the requests of versions that are in a roll-out.
pub struct Metering(Box<MeterOf>);

impl Metering {
    /// Counts where this says.
    pub fn new(of: impl Fn(&ModelHandle) -> Option<Arc<Meter>> + Send + Sync + 'static) -> Self {
        Self(Box::new(of))
    }
}

impl fmt::Debug for Metering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metering").finish_non_exhaustive()
    }
}

impl Observer for Metering {
    /// Who names a version has chosen it, and could speak for or against it with requests of a kind.
    fn begin(&self, model: &ModelHandle, _: &Caller, is_chosen: bool) -> Option<Box<dyn Tap>> {
        let meter = is_chosen.then(|| (self.0)(model))??;
        Some(Box::new(Metered(meter)))
    }
}

struct Metered(Arc<Meter>);

impl Tap for Metered {
    fn recorded(self: Box<Self>, record: &RequestRecord) {
        match record.failure {
            Some(code) => self.0.failed(code),
            None => {
                let phases = [Phase::Queue, Phase::Input, Phase::Compute, Phase::Output];
                self.0.answered(phases.iter().filter_map(|&it| record.phases[it]).sum());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::served;
    use super::*;
    use crate::engine::fake::FakeModel;

    #[test]
    fn who_names_a_version_speaks_neither_for_it_nor_against_it() {
        let served = served(FakeModel::echo(), "");
        let metering = Metering::new(|_| Some(Arc::default()));
        let caller = Caller::named("r");
        assert!(metering.begin(&served.handle, &caller, true).is_some());
        assert!(metering.begin(&served.handle, &caller, false).is_none());
    }

    #[test]
    fn only_what_may_be_the_versions_doing_counts() {
        let meter = Meter::default();
        meter.answered(Duration::from_millis(2));
        for code in
            ["inference_failed", "invalid_input", "invalid_json", "client_closed", "draining"]
        {
            meter.failed(code);
        }
        let figures = meter.figures();
        assert_eq!((figures.requests, figures.errors, figures.latencies.total()), (3, 2, 1));
        assert!(figures.latencies.quantile(0.5) > Some(Duration::from_millis(2)));
    }
}
