//! From checked requests to answers: a bounded queue, batches, and the threads that run them.
//!
//! One [`Scheduler`] for each loaded version. Tasks of the async runtime submit; plain threads, one
//! an instance, take what is queued, run it and answer. Nothing here knows a wire format or a
//! repository.

pub mod batch;
pub mod policy;

mod caution;
mod direct;
mod failure;
mod instance;
mod outputs;
mod pace;
mod permits;
mod queue;
mod run;
mod verify;
mod warmup;
mod watchdog;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use permits::{Permit, PermitSource, Permits};
pub use policy::BatchLimits;
pub use verify::{Tell, Watch};
pub use warmup::{Inputs, Shapes, Warmup};

use crate::engine::{EngineError, Fault, Model};
use crate::inference::{
    ErrorCode, InferError, ModelSpec, NamedTensor, Padding, Timings, ValidRequest, reply,
};
use crate::telemetry::ModelMetrics;
use instance::{Instance, Shared};
use queue::{Bounds, Queue, Queued};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Span;

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

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
    /// Instances that are running a batch.
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

/// Schedules one loaded version. Dropping it answers what waits and joins its threads, so drop it
/// where blocking is allowed.
pub struct Scheduler {
    shared: Arc<Shared>,
    watchdog: watchdog::Watchdog,
}

impl Scheduler {
    /// Starts the instances and returns when all have warmed up. Blocks.
    ///
    /// # Errors
    ///
    /// An engine cannot be made, or the model raises on its warm-up.
    pub fn start(options: SchedulerOptions, job: Job) -> Result<Self, EngineError> {
        let instances = options.instances.max(1);
        let (padding, metrics) = (job.padding.clone(), Arc::clone(&job.metrics));
        let capacity = options.queue_capacity;
        let bounds = Bounds { capacity, max_wait: options.max_queue_wait, instances };
        let queue = Queue::new(bounds, options.batch, padding, metrics);
        let shared = Arc::new(Shared::new(options, queue, job));
        // Started before the instances: from here on, an early return stops and joins what runs.
        let watchdog = watchdog::Watchdog::spawn(&shared)?;
        let scheduler = Self { shared, watchdog };
        let started: Vec<_> = (0..instances)
            .map(|_| Instance::spawn(&scheduler.shared))
            .collect::<Result<_, EngineError>>()?;
        // A thread that ends without a word has panicked. All are heard before one failure counts: to whom nobody
        // listens, a failure is that of a model in service.
        let ended = || EngineError::new(Fault::Internal, "an instance ended while it started");
        let outcomes: Vec<_> =
            started.iter().map(|ready| ready.recv().unwrap_or_else(|_| Err(ended()))).collect();
        outcomes.into_iter().collect::<Result<(), _>>()?;
        if scheduler.shared.options.direct {
            scheduler.shared.direct.begin(&scheduler.shared, instances)?;
        }
        Ok(scheduler)
    }

    /// Queues a request and waits for its answer, at most until its deadline. Dropping the future
    /// withdraws the request.
    ///
    /// # Errors
    ///
    /// `queue_full`, `deadline_exceeded`, what the engine reports, or why the version is closed.
    pub async fn submit(&self, request: ValidRequest) -> Result<Answer, InferError> {
        let deadline = request.context().deadline;
        let (reply, pending) = reply();
        let enqueued_at = Instant::now();
        let padded_size = self.shared.padded_size(&request);
        let is_stranger = self.shared.queue.is_stranger(&request);
        let span = Span::current();
        let queued = Queued { request, reply, enqueued_at, span, padded_size, is_stranger };
        if let Some(alarm) = self.shared.queue.push(queued)? {
            // The other requests that this thread of the runtime has ready come first: on a busy
            // server they share the run, and one wake-up serves them all. On an idle one this is
            // a glance at the sockets.
            tokio::task::yield_now().await;
            match self.shared.direct.is_on() {
                false => drop(alarm),
                true => {
                    alarm.put_off();
                    self.shared.direct.run(&self.shared);
                    // What is left, because it was too much or because no engine was free, is for
                    // the threads.
                    self.shared.queue.wake_one();
                }
            }
        }
        tokio::time::timeout_at(deadline.into(), pending)
            .await
            .unwrap_or_else(|_| Err(deadline_exceeded("before the model answered")))
    }

    /// Takes nothing in any more; what was taken in is still run.
    pub fn close(&self, reason: InferError) {
        self.shared.queue.close(reason);
    }

    /// How many shapes were to be run once in the warm-up, and how many were, where that is not all.
    #[must_use]
    pub fn cold_shapes(&self) -> Option<(usize, usize)> {
        let (n_shapes, warmed) = self.shared.warmup().shapes.as_ref()?.progress();
        (warmed < n_shapes).then_some((n_shapes, warmed))
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> SchedulerStatus {
        self.shared.status()
    }
}

impl std::fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Scheduler").field(&self.status()).finish()
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.shared.queue.fail(InferError::new(ErrorCode::ModelNotReady, "the model was unloaded"));
        // First the watchdog, so that no instance is replaced while all are told to leave.
        self.watchdog.stop();
        self.shared.join();
    }
}

/// The one text for a request that is late, wherever that is noticed.
fn deadline_exceeded(place: &str) -> InferError {
    InferError::new(ErrorCode::DeadlineExceeded, format!("the deadline passed {place}"))
}
