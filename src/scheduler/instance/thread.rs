//! An instance: one thread that owns one engine.

use super::runner::{Runner, Taken};
use super::slot::Slot;
use super::warm_up::warm_up;
use crate::engine::{EngineError, Fault, STACK_BYTES};
use crate::scheduler::permits::PermitSource;
use crate::scheduler::queue::Work;
use crate::scheduler::run;
use crate::scheduler::shared::Shared;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A thread and the slot through which others see what it does.
pub(super) struct Instance {
    slot: Arc<Slot>,
    thread: JoinHandle<()>,
    /// To whoever waits for it to have warmed up.
    started: mpsc::Sender<Result<(), EngineError>>,
}

/// From which whoever started an instance hears whether it warmed up.
pub(super) type Started = mpsc::Receiver<Result<(), EngineError>>;

impl Instance {
    /// Starts a thread.
    pub(super) fn spawn(shared: &Arc<Shared>) -> Result<(Self, Started), EngineError> {
        let (started, ready) = mpsc::channel();
        let slot = Arc::<Slot>::default();
        let thread = {
            let (shared, slot, started) = (Arc::clone(shared), Arc::clone(&slot), started.clone());
            std::thread::Builder::new()
                .name(shared.options.label.clone())
                .stack_size(STACK_BYTES)
                .spawn(move || {
                    let serve = AssertUnwindSafe(|| serve(&shared, slot, &started));
                    if catch_unwind(serve).is_err() {
                        shared.fail("an instance ended unexpectedly");
                    }
                })
                .map_err(|error| {
                    EngineError::new(Fault::Internal, format!("cannot start a thread: {error}"))
                })?
        };
        shared.metrics.instances_changed(1);
        Ok((Self { slot, thread, started }, ready))
    }

    pub(super) fn is_running(&self) -> bool {
        self.slot.is_running()
    }

    /// Gives its run so much more time.
    pub(super) fn put_off(&self, by: Duration) {
        self.slot.put_off(by);
    }

    /// Gives up on a run that is stuck at `now`, and says so: the thread ends after it.
    pub(super) fn give_up_if_stuck(&self, now: Instant, grace: Duration) -> bool {
        self.slot.give_up_if_stuck(now, grace)
    }

    /// Reports to whoever waits for it to have warmed up that it will not; says whether somebody does.
    pub(super) fn fail_start(&self) -> bool {
        let message = "a run to warm the model up did not end in time";
        self.started.send(Err(EngineError::new(Fault::TimedOut, message))).is_ok()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for the thread to end; call it after the queue has been closed.
    pub(super) fn join(self) {
        // A panic in there has been caught and reported by the thread itself.
        drop(self.thread.join());
    }
}

/// What the thread does: it warms up, and runs what comes until the queue is closed or its engine is of no more use.
fn serve(shared: &Shared, slot: Arc<Slot>, started: &mpsc::Sender<Result<(), EngineError>>) {
    let warmed = Runner::new(shared, slot).and_then(|mut runner| {
        warm_up(shared, &mut runner).map(|is_warm| is_warm.then_some(runner))
    });
    let mut runner = match warmed {
        Ok(Some(runner)) => runner,
        // It was given up meanwhile, and whoever waited knows.
        Ok(None) => return,
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
        let may_go_on = match shared.queue.wait(|| shared.watched.has_sample()) {
            Work::Leave => return,
            Work::Run(since) => run_next(shared, &mut runner, since),
            Work::Spare => look_again(shared, &mut runner),
        };
        if !may_go_on {
            return;
        }
    }
}

/// Takes a batch and runs it, of which the first was found waiting at `since`.
fn run_next(shared: &Shared, runner: &mut Runner, since: Instant) -> bool {
    let permit = shared.permits().map(PermitSource::acquire);
    // Taken only now: while this thread waited for its turn, more may have come.
    let batch = shared.queue.take(Instant::now());
    runner.run(shared, Taken { batch, since, permit, thread: None })
}

/// Looks at a batch that was answered, where nobody else wants the processor.
fn look_again(shared: &Shared, runner: &mut Runner) -> bool {
    let permit = shared.permits().map(PermitSource::try_acquire);
    if matches!(permit, Some(None)) {
        run::skip(shared);
        return true;
    }
    runner.look_again(shared, permit.flatten())
}
