//! A loaded version and the handles that hold it.
//!
//! The repository holds one handle of each version that it serves, every request one more. Swapping
//! a version only takes the repository's handle away: whoever resolved the old one finishes on it,
//! and the last handle unloads it.

use super::batch_size::BatchSize;
use super::beside::Beside;
use super::fingerprint::Fingerprint;
use super::live::Defaults;
use super::manifest::EvaluationKeys;
use crate::engine::probe::{Curve, FormFindings, RunTimes, ShapeSource};
use crate::engine::{Device, Format, Precision, STACK_BYTES};
use crate::inference::{ModelName, ModelSpec, Padding, Version};
use crate::scheduler::{PermitSource, Scheduler};
use crate::telemetry::ModelMetrics;
use crate::transform::Transform;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The limits of one model, inside the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelLimits {
    /// Maximum bytes of a body.
    pub max_body_bytes: u64,
    /// Longest that a request may take.
    pub timeout: Duration,
}

/// What is known about a loaded version beside its specification.
#[derive(Debug, Clone)]
pub struct Facts {
    /// One sentence of model.toml.
    pub description: Option<String>,
    /// Where it runs.
    pub device: Device,
    /// Bytes that its weights take.
    pub memory: u64,
    /// How the file that serves is written.
    pub format: Format,
    /// SHA-256 of the model file.
    pub digest: String,
    /// Bytes of the model file.
    pub file_bytes: u64,
    /// Names of its classes; empty without labels.
    pub labels: Vec<Arc<str>>,
    /// What model.toml asks of it before it serves.
    pub evaluation: EvaluationKeys,
    /// Maximum rows of a run; 1 where requests are kept apart.
    pub batch_size: BatchSize,
    /// How long an idle instance waits for more rows.
    pub max_queue_delay: Duration,
    /// Requests that may wait.
    pub queue_capacity: usize,
    /// How long a request may have to wait for its run; `None` for what the model bears.
    pub max_queue_wait: Option<Duration>,
    /// How inputs of different sizes are padded to one.
    pub padding: Option<Arc<Padding>>,
    /// Whether model.toml asks for that.
    pub padding_wanted: bool,
    /// Where the shapes of its inputs come from.
    pub shape_source: ShapeSource,
    /// How fast it ran in its trial; `None` when nothing was known to run it with.
    pub times: Option<RunTimes>,
    /// What its runs cost by their rows; empty where that was not asked.
    pub curve: Curve,
    /// In which precision it was asked to compute.
    pub precision: Precision,
    /// In which form it runs, and what else was tried.
    pub form: FormFindings,
    /// What of the model's code says whether requests may share runs, where that is the matter.
    pub grounds: Option<String>,
    /// Whether it runs in a process of its own.
    pub is_isolated: bool,
    /// What else the trial found, in sentences.
    pub notes: Vec<String>,
    /// From the start of its load to ready.
    pub load_duration: Duration,
}

/// Everything of a loaded version.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) name: ModelName,
    pub(super) version: Version,
    pub(super) engine_spec: Arc<ModelSpec>,
    pub(super) transform: Transform,
    pub(super) metrics: Arc<ModelMetrics>,
    pub(super) limits: ModelLimits,
    pub(super) sample: Option<Arc<str>>,
    /// Its file as it was loaded.
    pub(super) fingerprint: Fingerprint,
    /// SHA-256 of the texts beside it.
    pub(super) source_digest: String,
    /// What lay beside its file then.
    pub(super) beside: Beside,
    /// What held where they say nothing.
    pub(super) defaults: Defaults,
    pub(super) facts: Facts,
    /// Leave to compute what its steps need.
    pub(super) permits: PermitSource,
    pub(super) scheduler: Unloading<Scheduler>,
}

/// A loaded version, cheap to clone. While a handle is there the version stays loaded.
#[derive(Debug, Clone)]
pub struct ModelHandle(pub(super) Arc<Served>);

impl ModelHandle {
    /// The model.
    #[must_use]
    pub fn name(&self) -> &ModelName {
        &self.0.name
    }

    /// The version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// Whether both are handles of one load of a version.
    #[must_use]
    pub fn is_same_load(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What clients send and get.
    #[must_use]
    pub fn interface(&self) -> &Arc<ModelSpec> {
        self.0.transform.interface()
    }

    /// What the engine takes and gives.
    #[must_use]
    pub fn engine_spec(&self) -> &Arc<ModelSpec> {
        &self.0.engine_spec
    }

    /// The steps between the two.
    #[must_use]
    pub fn transform(&self) -> &Transform {
        &self.0.transform
    }

    /// Where its steps get leave to compute, in turns with the runs of all models.
    #[must_use]
    pub fn permits(&self) -> &PermitSource {
        &self.0.permits
    }

    /// Where its requests are queued.
    #[must_use]
    pub fn scheduler(&self) -> &Scheduler {
        self.0.scheduler.get()
    }

    /// Where its requests are counted.
    #[must_use]
    pub fn metrics(&self) -> &Arc<ModelMetrics> {
        &self.0.metrics
    }

    /// Its limits.
    #[must_use]
    pub fn limits(&self) -> ModelLimits {
        self.0.limits
    }

    /// The text of its sample.json: a body that its route takes.
    #[must_use]
    pub fn sample(&self) -> Option<&str> {
        self.0.sample.as_deref()
    }

    /// What else is known.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.0.facts
    }

    /// Whether nothing runs any more, with the reason.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        self.scheduler().status().failed
    }

    /// Whether it was given up. Asked for each request.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.scheduler().has_failed()
    }

    /// Whether that came of what it was asked, and not of its device.
    pub(super) fn has_failed_by_requests(&self) -> bool {
        self.has_failed() && !self.scheduler().has_lost_device()
    }
}

/// Counts the versions that are loaded, those included that only a request still holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Loaded(Arc<(Mutex<usize>, Condvar)>);

/// One loaded version, counted until this is dropped.
#[derive(Debug)]
struct Count(Loaded);

impl Loaded {
    fn count(&self) -> Count {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Count(self.clone())
    }

    /// Waits until all are unloaded, at most this long; says how many are left.
    pub(super) fn wait(&self, patience: Duration) -> usize {
        let until = Instant::now() + patience;
        let mut left = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        while *left > 0 {
            let rest = until.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                break;
            }
            let waited = self.0.1.wait_timeout(left, rest);
            left = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        *left
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        *self.0.0.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.0.1.notify_all();
    }
}

/// Something whose drop blocks. It is dropped on a thread of its own, because the last handle of a
/// version may go on the async runtime.
#[derive(Debug)]
pub(super) struct Unloading<T: Send + 'static>(Option<(T, Count)>);

impl<T: Send + 'static> Unloading<T> {
    pub(super) fn new(value: T, loaded: &Loaded) -> Self {
        Self(Some((value, loaded.count())))
    }

    fn get(&self) -> &T {
        let (value, _) = self.0.as_ref().expect("only drop takes the value");
        value
    }
}

impl<T: Send + 'static> Drop for Unloading<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        let thread = std::thread::Builder::new().name("unload".into()).stack_size(STACK_BYTES);
        // Without a thread the closure, and with it the value, is dropped right here: it blocks,
        // but nothing leaks.
        if let Err(error) = thread.spawn(move || drop(value)) {
            tracing::warn!(%error, "no thread could be started to unload a model");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::receive;
    use std::sync::mpsc;

    #[test]
    fn a_blocking_drop_happens_on_a_thread_of_its_own_and_is_counted() {
        struct Slow(mpsc::Receiver<()>);
        impl Drop for Slow {
            fn drop(&mut self) {
                assert_eq!(std::thread::current().name(), Some("unload"));
                receive("the word to go on", &self.0);
            }
        }
        let loaded = Loaded::default();
        let (release, wait) = mpsc::channel();
        drop(Unloading::new(Slow(wait), &loaded));
        assert_eq!(loaded.wait(Duration::ZERO), 1, "it counts until it is gone");
        release.send(()).unwrap();
        assert_eq!(loaded.wait(Duration::from_secs(60)), 0);
    }
}
