//! What everything that runs batches of a version shares: its queue, its model, and whether it still serves.

use super::killers::Killers;
use super::metrics::SchedulerMetrics;
use super::options::{Job, SchedulerOptions};
use super::permits::PermitSource;
use super::process::ModelProcess;
use super::queue::{Bounds, Queue};
use super::watch::Watched;
use crate::engine::{Engine, EngineError, Fault};
use crate::inference::{ErrorCode, InferError, PaddedSize, Padding, ValidRequest};
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When a process is asked for again that could not be started.
const SHORTAGE_PAUSE: Duration = Duration::from_secs(1);

/// Held by the scheduler's handle, by all that runs, and for a moment by the watchdog.
pub(super) struct Shared {
    pub(super) options: SchedulerOptions,
    pub(super) queue: Queue,
    pub(super) job: Job,
    pub(super) metrics: Arc<SchedulerMetrics>,
    pub(super) watched: Watched,
    /// Where the model runs in a process of its own.
    pub(super) process: Option<ModelProcess>,
    pub(super) killers: Killers,
    /// Runs that were given up and go on.
    stuck: AtomicUsize,
    failed: Mutex<Option<String>>,
    /// The same without a lock, for each request.
    has_failed: AtomicBool,
    has_lost_device: AtomicBool,
    /// Counts runs, from somewhere: two loads of a version have different ones.
    runs: AtomicU64,
}

impl Shared {
    pub(super) fn new(options: SchedulerOptions, job: Job) -> Self {
        let metrics = Arc::new(SchedulerMetrics::new(&job.metrics));
        let bounds = Bounds {
            capacity: options.queue_capacity,
            max_wait: options.max_queue_wait,
            instances: options.instances.max(1),
        };
        let queue = Queue::new(bounds, options.batch, job.padding.clone(), Arc::clone(&metrics));
        let deaths = Arc::clone(&metrics);
        job.model.watch_deaths(Box::new(move |end| deaths.process_ended(end.fault)));
        Self {
            options,
            queue,
            metrics,
            watched: Watched::default(),
            process: job.model.is_isolated().then(ModelProcess::default),
            killers: Killers::default(),
            job,
            stuck: AtomicUsize::new(0),
            failed: Mutex::default(),
            has_failed: AtomicBool::new(false),
            has_lost_device: AtomicBool::new(false),
            runs: AtomicU64::new(RandomState::new().hash_one(())),
        }
    }

    /// To which size a request's inputs are to be padded.
    pub(super) fn padded_size(&self, request: &ValidRequest) -> Option<PaddedSize> {
        // Where rows answer otherwise in a batch, padding may be the cause.
        let padding = self.padding().filter(|_| !self.watched.is_refuted())?;
        padding.padded_size(request.inputs())
    }

    pub(super) fn padding(&self) -> Option<&Padding> {
        self.job.padding.as_deref()
    }

    pub(super) fn permits(&self) -> Option<&PermitSource> {
        self.job.permits.as_ref()
    }

    /// A new engine of the model.
    pub(super) fn engine(&self) -> Result<Box<dyn Engine>, EngineError> {
        catch_unwind(AssertUnwindSafe(|| self.job.model.instance()))
            .unwrap_or_else(|_| Err(EngineError::new(Fault::Internal, "making an engine panicked")))
    }

    /// A number for the next run.
    pub(super) fn next_run(&self) -> u64 {
        self.runs.fetch_add(1, Ordering::Relaxed)
    }

    /// An engine in place of one that is not to be trusted any more; without one the version has failed. What a process of its
    /// own is short of is waited for: meanwhile nothing is taken in.
    pub(super) fn rebuild_engine(&self) -> Option<Box<dyn Engine>> {
        loop {
            let error = match self.engine() {
                Ok(engine) => {
                    self.queue.go_on();
                    self.metrics.instance_restarted();
                    return Some(engine);
                }
                Err(error) => error,
            };
            let may_pass = self.is_isolated() && error.fault == Fault::OutOfMemory;
            if !may_pass {
                self.fail(error.message);
                return None;
            }
            let text = "no process can be started for the model at present";
            let refusal = InferError::new(ErrorCode::ModelNotReady, text);
            if !self.queue.hold(refusal.with_retry_after(SHORTAGE_PAUSE)) {
                return None;
            }
            tracing::error!(model = %self.options.label, reason = error.message, "No process can be started for the model; it is tried again");
            std::thread::sleep(SHORTAGE_PAUSE);
        }
    }

    /// Nothing runs any more: whoever waits is told, and so is whoever comes.
    pub(super) fn fail(&self, reason: impl Into<String>) {
        let reason = reason.into();
        tracing::error!(model = %self.options.label, reason, "The model has failed and serves nothing any more");
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.has_failed.store(true, Ordering::Relaxed);
        self.job.metrics.set_ready(false);
        self.queue.fail(InferError::new(ErrorCode::ModelNotReady, "the model has failed"));
    }

    /// The same, since the device is of no more use.
    pub(super) fn lose_device(&self, reason: String) {
        self.has_lost_device.store(true, Ordering::Relaxed);
        self.fail(reason);
    }

    /// Whether it is that.
    pub(super) fn has_lost_device(&self) -> bool {
        self.has_lost_device.load(Ordering::Relaxed)
    }

    /// Why nothing runs any more, if so.
    pub(super) fn failed(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether that is so. Asked for each request.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// When a run that begins now has had its time: its callers' deadlines alone would let those who give a slow model little
    /// time make it fail.
    pub(super) fn stuck_after(&self, last_deadline: Instant, now: Instant) -> Instant {
        last_deadline.max(now + self.options.run_timeout)
    }

    /// When such a run is given up.
    pub(super) fn given_up_at(&self, last_deadline: Instant, now: Instant) -> Instant {
        self.stuck_after(last_deadline, now) + self.options.stuck_grace
    }

    /// Whether the model runs in a process that may end by what it runs.
    pub(super) const fn is_isolated(&self) -> bool {
        self.process.is_some()
    }

    /// Counts a run that is given up; says whether the version has failed by it.
    pub(super) fn count_stuck(&self) -> bool {
        let so_far = self.stuck.fetch_add(1, Ordering::SeqCst) + 1;
        self.metrics.run_stuck();
        tracing::error!(
            model = %self.options.label,
            stuck_runs = so_far,
            "A run went on past its deadline and is given up; a new instance takes its place"
        );
        let maximum = self.options.max_stuck;
        let is_too_many = so_far > maximum;
        if is_too_many {
            self.fail(format!(
                "{so_far} runs are stuck, at most {maximum} are replaced (limits.max_stuck_runs); in a process of its own such a run is ended (isolation.process)"
            ));
        }
        is_too_many
    }

    /// A run that was given up has come to its end all the same.
    pub(super) fn stuck_run_ended(&self) {
        // One that was to warm up for a start which has failed by it does not count.
        let one_less = |stuck: usize| Some(stuck.saturating_sub(1));
        let (Ok(stuck) | Err(stuck)) =
            self.stuck.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        let left = stuck.saturating_sub(1);
        tracing::warn!(model = %self.options.label, stuck_runs = left, "A run that was given up has ended");
    }

    /// Runs that were given up and go on.
    #[cfg(test)]
    pub(super) fn stuck_runs(&self) -> usize {
        self.stuck.load(Ordering::SeqCst)
    }
}
