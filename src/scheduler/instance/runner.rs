//! An engine with the slot through which others see its runs: what both ways to run have in common.
//!
//! An instance's thread owns one for good; a thread that runs a batch of its own borrows one. Both recover in the same way
//! from a run that fails.

use super::slot::{Running, Slot};
use crate::engine::{Batch, Engine, EngineError};
use crate::scheduler::permits::{Permit, PermitSource};
use crate::scheduler::queue::Queued;
use crate::scheduler::run::{self, Health};
use crate::scheduler::shared::Shared;
use crate::scheduler::warmup::Inputs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest that looking at a batch again may take before the run counts as stuck.
const LONGEST_LOOK: Duration = Duration::from_secs(60);

pub(super) struct Runner {
    engine: Box<dyn Engine>,
    slot: Arc<Slot>,
}

/// A batch that has been taken.
pub(super) struct Taken {
    pub(super) batch: Vec<Queued>,
    /// When its first request was found waiting.
    pub(super) since: Instant,
    pub(super) permit: Option<Permit>,
    /// Where the thread belongs to somebody else: what the system calls it.
    pub(super) thread: Option<i32>,
}

impl Runner {
    /// With an engine of its own.
    pub(super) fn new(shared: &Shared, slot: Arc<Slot>) -> Result<Self, EngineError> {
        Ok(Self { engine: shared.engine()?, slot })
    }

    /// Runs what warms the engine up, seen by the watchdog like any run, and says how long that took; `None` if it was
    /// given up.
    pub(super) fn warm_up(
        &mut self,
        shared: &Shared,
        inputs: Inputs,
    ) -> Option<Result<Duration, EngineError>> {
        let permit = shared.permits().map(PermitSource::acquire_quietly);
        let now = Instant::now();
        self.begin_unasked(shared, (now, now + shared.options.warm_up_timeout), permit);
        let outcome = run::run(&mut *self.engine, Batch::without_deadline(inputs));
        let was_given_up = self.end(shared);
        (!was_given_up).then(|| outcome.map(|_| now.elapsed()))
    }

    /// Runs a batch; says whether another one may be run.
    pub(super) fn run(&mut self, shared: &Shared, taken: Taken) -> bool {
        let Taken { batch, since, permit, thread } = taken;
        let deadlines = batch.iter().map(|queued| queued.request.context().deadline);
        let Some(last_deadline) = deadlines.max() else { return true };
        let now = Instant::now();
        self.begin((now, shared.stuck_after(last_deadline, now)), permit, thread);
        let turn = shared.queue.begin(&batch, since);
        let health = caught(|| run::run_batch(shared, &mut *self.engine, batch));
        turn.end();
        self.recover(shared, health)
    }

    /// Looks at a batch that was answered; says whether another one may be run.
    pub(super) fn look_again(&mut self, shared: &Shared, permit: Option<Permit>) -> bool {
        let now = Instant::now();
        self.begin_unasked(shared, (now, now + LONGEST_LOOK), permit);
        let health = caught(|| run::verify(shared, &mut *self.engine));
        self.recover(shared, health)
    }

    /// Shows a run to the watchdog, with its beginning and when it has had its time.
    fn begin(
        &self,
        (since, until): (Instant, Instant),
        permit: Option<Permit>,
        thread: Option<i32>,
    ) {
        let permit_until = None;
        self.slot.begin(Running { since, until, permit, permit_until, thread, found: None });
    }

    /// The same for a run that nobody waits for. One that goes on for long holds up no other model meanwhile: something else
    /// than its computing keeps it.
    fn begin_unasked(
        &self,
        shared: &Shared,
        (since, until): (Instant, Instant),
        permit: Option<Permit>,
    ) {
        let permit_until = Some(since + shared.options.stuck_grace);
        self.slot.begin(Running { since, until, permit, permit_until, thread: None, found: None });
    }

    /// The run is over; says whether it was given up before, which is counted.
    fn end(&self, shared: &Shared) -> bool {
        let was_given_up = self.slot.end();
        if was_given_up {
            shared.stuck_run_ended();
        }
        was_given_up
    }

    /// Ends a run, and makes the engine fit for the next one if that can be.
    fn recover(&mut self, shared: &Shared, health: Health) -> bool {
        let was_given_up = self.end(shared);
        match health {
            Health::Lost(reason) => {
                shared.fail(reason);
                false
            }
            // It has been counted as stuck and replaced, and its engine is not to be trusted.
            _ if was_given_up => false,
            Health::Good => true,
            Health::Rebuild => match shared.rebuild_engine() {
                Some(engine) => {
                    self.engine = engine;
                    true
                }
                None => false,
            },
        }
    }
}

/// A panic outside of the engine's own code, which has been caught before, is a fault of ours; what was being done with the
/// engine is not known either.
fn caught(run: impl FnOnce() -> Health) -> Health {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Health::Rebuild)
}
