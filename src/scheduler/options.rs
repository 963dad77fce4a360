//! What a version is scheduled with, what its requests get, and what it reports: plain structs.

use super::permits::PermitSource;
use super::policy::BatchLimits;
use super::warmup::Warmup;
use super::watch::Watch;
use crate::engine::Model;
use crate::inference::{ModelSpec, NamedTensor, Padding, Timings};
use crate::telemetry::ModelMetrics;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How one version is to be scheduled.
#[derive(Debug, Clone)]
pub struct SchedulerOptions {
    /// `model/version`, for thread names and log lines.
    pub label: String,
    /// Requests that may wait; more are refused.
    pub queue_capacity: usize,
    /// How long a request may have to wait for its run, by what is known of the runs before; `None` for what the model
    /// bears: two runs, and a tenth of a second at the least.
    pub max_queue_wait: Option<Duration>,
    /// How requests share runs.
    pub batch: BatchLimits,
    /// Threads that run the model, each with an engine of its own.
    pub instances: usize,
    /// Whether the thread that submits may run a batch itself when it finds an engine idle: for
    /// models whose runs end within a fraction of a millisecond, whatever they are given.
    pub direct: bool,
    /// How long one run may take that warms an engine up.
    pub warm_up_timeout: Duration,
    /// How long a run may take before it can count as stuck, however soon its callers have gone.
    pub run_timeout: Duration,
    /// How long past that, and past its last deadline, a run may go on before it does.
    pub stuck_grace: Duration,
    /// How shared runs are watched.
    pub watch: Watch,
    /// Stuck runs that are replaced; one more and the version fails.
    pub max_stuck: usize,
}

/// What a version needs to be scheduled.
#[derive(Clone)]
pub struct Job {
    /// The loaded model.
    pub model: Arc<dyn Model>,
    /// What it takes and gives.
    pub spec: Arc<ModelSpec>,
    /// Leave to compute on the processor; `None` for a model on another device.
    pub permits: Option<PermitSource>,
    /// Where runs are counted.
    pub metrics: Arc<ModelMetrics>,
    /// How requests of different sizes are padded to one; `None` keeps them apart.
    pub padding: Option<Arc<Padding>>,
    /// What is run before it counts as ready.
    pub warmup: Warmup,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// The outputs of one request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Outputs in the order in which the model returns them.
    pub outputs: Vec<NamedTensor>,
    /// Where the time went.
    pub timings: Timings,
}

/// What a scheduler is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchedulerStatus {
    /// Requests that wait.
    pub queued: usize,
    /// Batches that are being run, by instances and by threads that asked.
    pub running: usize,
    /// Instances, idle ones included, stuck ones not.
    pub instances: usize,
    /// Why nothing runs any more, if so.
    pub failed: Option<String>,
    /// Whether threads that ask run small batches themselves.
    pub direct: bool,
    /// Why they do not any more, if they did.
    pub direct_ended: Option<String>,
    /// Why requests share no runs any more, if they did.
    pub refuted: Option<String>,
}
