//! From checked requests to answers: a bounded queue, batches, and the threads that run them.
//!
//! One [`Scheduler`] for each loaded version. Tasks of the async runtime submit; plain threads, one
//! an instance, take what is queued, run it and answer. Nothing here knows a wire format or a
//! repository.
//!
//! From below: `policy`, `packing` and `batch` decide and compute; `queue` holds what waits; `shared` is what everything
//! that runs has in common; `run` takes a batch to its answers; `instance` is where that happens.

pub mod batch;
pub mod policy;

mod extent;
mod instance;
mod killers;
mod metrics;
mod options;
mod packing;
mod permits;
mod process;
mod queue;
mod run;
mod shared;
mod warmup;
mod watch;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use options::{Answer, Job, SchedulerOptions, SchedulerStatus};
pub use permits::{Permit, PermitSource, Permits};
pub use policy::BatchLimits;
pub use warmup::{Inputs, Shapes, Warmup};
pub use watch::{OnDifference, Watch};

use crate::engine::EngineError;
use crate::inference::{ErrorCode, InferError, ValidRequest, reply};
use instance::{Pool, Watchdog};
use queue::{Queue, Queued, deadline_exceeded};
use shared::Shared;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;
use tracing::Span;

/// Schedules one loaded version. Dropping it answers what waits and joins its threads, so drop it
/// where blocking is allowed.
pub struct Scheduler {
    pool: Arc<Pool>,
    watchdog: Watchdog,
}

impl Scheduler {
    /// Starts the instances and returns when all have warmed up. Blocks.
    ///
    /// # Errors
    ///
    /// An engine cannot be made, or the model raises on its warm-up.
    pub fn start(options: SchedulerOptions, job: Job) -> Result<Self, EngineError> {
        let pool = Arc::new(Pool::new(Arc::new(Shared::new(options, job))));
        // Started before the instances: from here on, an early return stops and joins what runs.
        let watchdog = Watchdog::spawn(&pool)?;
        let scheduler = Self { pool, watchdog };
        scheduler.pool.start()?;
        Ok(scheduler)
    }

    /// Queues a request and waits for its answer, at most until its deadline. Dropping the future
    /// withdraws the request.
    ///
    /// # Errors
    ///
    /// `queue_full`, `deadline_exceeded`, what the engine reports, or why the version is closed.
    pub async fn submit(&self, request: ValidRequest) -> Result<Answer, InferError> {
        let Pool { shared, direct, .. } = &*self.pool;
        let deadline = request.context().deadline;
        let (reply, pending) = reply();
        let enqueued_at = Instant::now();
        // Where the model has failed, that is what is to be said.
        if !shared.has_failed() && shared.killers.knows(&request, enqueued_at) {
            shared.metrics.killer();
            return Err(ended_before());
        }
        let padded = shared.padded_size(&request);
        let is_outlier = shared.queue.is_outlier(&request);
        let span = Span::current();
        let queued = Queued { request, reply, enqueued_at, span, padded, is_outlier };
        let alarm = shared.queue.push(queued)?;
        let mut stay = Stay { queue: &shared.queue, is_over: false };
        // Declared after it, and so dropped before it.
        let pending = pending;
        if let Some(alarm) = alarm {
            // The other requests that this thread of the runtime has ready come first: on a busy
            // server they share the run, and one wake-up serves them all. On an idle one this is
            // a glance at the sockets.
            tokio::task::yield_now().await;
            match direct.is_on() {
                false => drop(alarm),
                true => {
                    alarm.put_off();
                    direct.run(shared);
                    // What is left, because it was too much or because no engine was free, is for
                    // the threads.
                    shared.queue.wake_one();
                }
            }
        }
        let answer = tokio::time::timeout_at(deadline.into(), pending).await;
        stay.is_over = answer.is_ok();
        answer.unwrap_or_else(|_| Err(deadline_exceeded("before the model answered")))
    }

    /// Takes nothing in any more; what was taken in is still run.
    pub fn close(&self, reason: InferError) {
        self.pool.shared.queue.close(reason);
    }

    /// How many shapes were to be run once in the warm-up, and how many were, where that is not all.
    #[must_use]
    pub fn cold_shapes(&self) -> Option<(usize, usize)> {
        let (n_shapes, warmed) = self.pool.shared.job.warmup.shapes.as_ref()?.progress();
        (warmed < n_shapes).then_some((n_shapes, warmed))
    }

    /// Whether nothing waits, nothing runs, and the processor has room for a run that nobody waits for.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let SchedulerStatus { queued, running, .. } = self.status();
        let has_spare = || self.pool.shared.permits().is_none_or(PermitSource::has_spare);
        queued == 0 && running == 0 && has_spare()
    }

    /// Whether the version was given up and answers nothing any more.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.pool.shared.has_failed()
    }

    /// Whether that was the device's doing, and not that of what was asked.
    #[must_use]
    pub fn has_lost_device(&self) -> bool {
        self.pool.shared.has_lost_device()
    }

    /// What it is doing.
    #[must_use]
    pub fn status(&self) -> SchedulerStatus {
        self.pool.status()
    }
}

/// What a request is told whose inputs end the process of their model.
fn ended_before() -> InferError {
    let text = "the process that runs the model ended on the same input shortly before";
    InferError::new(ErrorCode::ModelCrashed, text)
}

/// A request's time in the queue. Who leaves before it is over takes the request along.
struct Stay<'a> {
    queue: &'a Queue,
    is_over: bool,
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.queue.let_go_of_unwanted();
        }
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scheduler").field(&self.status()).finish()
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.pool
            .shared
            .queue
            .fail(InferError::new(ErrorCode::ModelNotReady, "the model was unloaded"));
        // First the watchdog, so that no instance is replaced while all are told to leave; what it does for runs that do not
        // end, the pool then does itself.
        self.watchdog.stop();
        self.pool.join();
    }
}
