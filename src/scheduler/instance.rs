//! An instance: one thread that owns one engine, and what all instances of a version share.

use super::direct::{self, Direct};
use super::queue::{Queue, Work};
use super::run::{Health, run_batch};
use super::verify::{self, Watched};
use super::warmup::{Warmup, warm_up};
use super::{Job, Permit, PermitSource, SchedulerOptions, SchedulerStatus};
use crate::engine::{Engine, EngineError, Fault, STACK_BYTES};
use crate::inference::{ErrorCode, InferError, PaddedSize, Padding, ValidRequest};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest that looking at a batch again may take before the run counts as stuck.
const LONGEST_LOOK: Duration = Duration::from_secs(60);

/// What the instances, the watchdog and the scheduler's handle all hold.
pub(super) struct Shared {
    pub(super) options: SchedulerOptions,
    pub(super) queue: Queue,
    pub(super) job: Job,
    pub(super) watched: Watched,
    instances: Mutex<Vec<Instance>>,
    pub(super) direct: Direct,
    pub(super) stuck: AtomicUsize,
    failed: Mutex<Option<String>>,
}

/// A thread and the slot through which others see what it does.
pub(super) struct Instance {
    slot: Arc<Slot>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Slot {
    running: Mutex<Option<Running>>,
    /// Set by the watchdog: a successor has been started, so the thread ends after its run.
    retired: AtomicBool,
}

/// A run under way. The permit lies here and not on the thread's stack, so that the watchdog can
/// give back that of a stuck run.
struct Running {
    last_deadline: Instant,
    _permit: Option<Permit>,
}

impl Instance {
    /// Starts a thread; what comes from the receiver is whether it warmed up.
    pub(super) fn spawn(
        shared: &Arc<Shared>,
    ) -> Result<mpsc::Receiver<Result<(), EngineError>>, EngineError> {
        let (started, ready) = mpsc::channel();
        let slot = Arc::<Slot>::default();
        let thread = {
            let (shared, slot) = (Arc::clone(shared), Arc::clone(&slot));
            std::thread::Builder::new()
                .name(shared.options.label.clone())
                .stack_size(STACK_BYTES)
                .spawn(move || {
                    let run = AssertUnwindSafe(|| run_instance(&shared, &slot, &started));
                    if catch_unwind(run).is_err() {
                        shared.fail("an instance ended unexpectedly");
                    }
                })
                .map_err(|error| {
                    EngineError::new(Fault::Internal, format!("cannot start a thread: {error}"))
                })?
        };
        shared.instances().push(Self { slot, thread });
        shared.job.metrics.instances_changed(1);
        Ok(ready)
    }
}

impl Shared {
    pub(super) fn new(options: SchedulerOptions, queue: Queue, job: Job) -> Self {
        Self {
            options,
            queue,
            job,
            watched: Watched::default(),
            instances: Mutex::default(),
            direct: Direct::default(),
            stuck: AtomicUsize::new(0),
            failed: Mutex::default(),
        }
    }

    /// How far a request's inputs are to be padded.
    pub(super) fn padded_size(&self, request: &ValidRequest) -> Option<PaddedSize> {
        // Where rows answer otherwise in a batch, what they are padded with may be the cause.
        let padding = self.padding().filter(|_| !self.watched.is_refuted())?;
        padding.padded_size(request.inputs())
    }

    pub(super) fn warmup(&self) -> &Warmup {
        &self.job.warmup
    }

    pub(super) fn padding(&self) -> Option<&Padding> {
        self.job.padding.as_deref()
    }

    /// Nothing runs any more: whoever waits is told, and so is whoever comes.
    pub(super) fn fail(&self, reason: impl Into<String>) {
        let reason = reason.into();
        tracing::error!(model = %self.options.label, reason, "The model has failed and serves nothing any more");
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.job.metrics.set_ready(false);
        self.queue.fail(InferError::new(ErrorCode::ModelNotReady, "the model has failed"));
    }

    pub(super) fn status(&self) -> SchedulerStatus {
        let instances = self.instances();
        let running = instances.iter().filter(|instance| instance.slot.running().is_some()).count();
        SchedulerStatus {
            queued: self.queue.len(),
            running,
            instances: instances.len(),
            failed: self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            direct: self.direct.is_on(),
            direct_ended: self.direct.ended(),
            refuted: self.watched.reason(),
        }
    }

    /// Replaces instances whose run is stuck at `now`; fails the version when there are too many.
    pub(super) fn replace_stuck(self: &Arc<Self>, now: Instant) {
        let stuck: Vec<Instance> = {
            let mut instances = self.instances();
            let grace = self.options.stuck_grace;
            instances.extract_if(.., |instance| instance.slot.retire_if_stuck(now, grace)).collect()
        };
        for _ in stuck {
            // The thread's handle is dropped: it cannot be ended, and nobody waits for it.
            self.job.metrics.instances_changed(-1);
            if self.count_stuck() {
                return;
            }
            if let Err(error) = Instance::spawn(self) {
                self.fail(error.message);
                return;
            }
            self.job.metrics.instance_restarted();
        }
    }

    /// Counts a run that is given up; says whether the version has failed by it.
    fn count_stuck(&self) -> bool {
        let so_far = self.stuck.fetch_add(1, Ordering::SeqCst) + 1;
        self.job.metrics.run_stuck();
        tracing::error!(
            model = %self.options.label,
            stuck_runs = so_far,
            "A run went on past its deadline and is given up; a new instance takes its place"
        );
        let is_too_many = so_far > self.options.max_stuck;
        if is_too_many {
            let most = self.options.max_stuck;
            self.fail(format!("{so_far} runs are stuck, at most {most} are replaced"));
        }
        is_too_many
    }

    /// When a run that begins now has had its time: its callers' deadlines alone would let those who give a slow model little
    /// time make it fail.
    pub(super) fn stuck_after(&self, last_deadline: Instant, now: Instant) -> Instant {
        last_deadline.max(now + self.options.run_timeout)
    }

    /// A run that was given up has come to its end all the same.
    pub(super) fn stuck_run_ended(&self) {
        let left = self.stuck.fetch_sub(1, Ordering::SeqCst) - 1;
        tracing::warn!(model = %self.options.label, stuck_runs = left, "A run that was given up has ended");
    }

    /// Looks at the runs on threads that asked; says whether to look again soon.
    pub(super) fn look_at_direct_runs(&self, now: Instant) -> bool {
        let was_on = self.direct.is_on();
        let look = self.direct.look((now, self.options.stuck_grace), direct::account);
        if was_on && let Some(reason) = self.direct.ended() {
            tracing::warn!(
                model = %self.options.label,
                reason,
                "Threads that serve connections run no batches of this model any more"
            );
        }
        for _ in 0..look.stuck {
            self.count_stuck();
        }
        look.again
    }

    /// Waits for the threads to end; call it after the queue has been closed.
    pub(super) fn join(&self) {
        self.queue.wake_all();
        let instances = std::mem::take(&mut *self.instances());
        self.job.metrics.instances_changed(-i64::try_from(instances.len()).unwrap_or(i64::MAX));
        for instance in instances {
            // A panic in there has been caught and reported by the thread itself.
            drop(instance.thread.join());
        }
    }

    fn instances(&self) -> MutexGuard<'_, Vec<Instance>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn permits(&self) -> Option<&PermitSource> {
        self.job.permits.as_ref()
    }

    pub(super) fn engine(&self) -> Result<Box<dyn Engine>, EngineError> {
        catch_unwind(AssertUnwindSafe(|| self.job.model.instance()))
            .unwrap_or_else(|_| Err(EngineError::new(Fault::Internal, "making an engine panicked")))
    }
}

impl Slot {
    fn begin(&self, last_deadline: Instant, permit: Option<Permit>) {
        *self.running() = Some(Running { last_deadline, _permit: permit });
    }

    fn end(&self) {
        *self.running() = None;
    }

    fn is_retired(&self) -> bool {
        self.retired.load(Ordering::SeqCst)
    }

    fn retire_if_stuck(&self, now: Instant, grace: Duration) -> bool {
        let mut running = self.running();
        let stuck = running.as_ref().is_some_and(|running| now > running.last_deadline + grace);
        if stuck {
            *running = None;
            self.retired.store(true, Ordering::SeqCst);
        }
        stuck
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run_instance(shared: &Shared, slot: &Slot, started: &mpsc::Sender<Result<(), EngineError>>) {
    let warmed = shared.engine().and_then(|mut engine| {
        let Job { warmup, permits, .. } = &shared.job;
        let pace = shared.queue.pace();
        warm_up(warmup, permits.as_ref(), pace, &mut *engine).map(|()| engine)
    });
    let mut engine = match warmed {
        Ok(engine) => engine,
        Err(error) => {
            // At the start somebody listens and gives up; a successor of a stuck run has nobody.
            if let Err(mpsc::SendError(Err(error))) = started.send(Err(error)) {
                shared.fail(error.message);
            }
            return;
        }
    };
    drop(started.send(Ok(())));
    loop {
        let work = shared.queue.wait(|| slot.is_retired(), || shared.watched.has_suspect());
        let health = match work {
            Work::Leave => return,
            Work::Run(since) => run_next(shared, slot, &mut *engine, since),
            Work::Spare => look_again(shared, slot, &mut *engine),
        };
        match health {
            Health::Good => {}
            Health::Rebuild => match shared.engine() {
                Ok(fresh) => {
                    engine = fresh;
                    shared.job.metrics.instance_restarted();
                }
                Err(error) => return shared.fail(error.message),
            },
            Health::Lost(reason) => return shared.fail(reason),
        }
    }
}

/// Takes a batch and runs it, of which the first was found waiting at `since`.
fn run_next(shared: &Shared, slot: &Slot, engine: &mut dyn Engine, since: Instant) -> Health {
    let permit = shared.job.permits.as_ref().map(PermitSource::acquire);
    // Taken only now: while this thread waited for its turn, more may have come.
    let batch = shared.queue.take(Instant::now());
    let last_deadline = batch.iter().map(|queued| queued.request.context().deadline).max();
    let Some(last_deadline) = last_deadline else { return Health::Good };
    slot.begin(shared.stuck_after(last_deadline, Instant::now()), permit);
    let turn = shared.queue.begin(&batch, since);
    let health = run_batch(shared, engine, batch);
    turn.end();
    slot.end();
    if slot.is_retired() {
        shared.stuck_run_ended();
    }
    health
}

/// Looks at a batch that was answered, where nobody else wants the processor.
fn look_again(shared: &Shared, slot: &Slot, engine: &mut dyn Engine) -> Health {
    let permit = shared.job.permits.as_ref().map(PermitSource::try_acquire);
    if matches!(permit, Some(None)) {
        verify::skip(shared);
        return Health::Good;
    }
    slot.begin(Instant::now() + LONGEST_LOOK, permit.flatten());
    let health = verify::verify(shared, engine);
    slot.end();
    health
}
