//! An engine with the slot through which others see its runs: what both ways to run have in common.
//!
//! An instance's thread owns one for good; a thread that runs a batch of its own borrows one. Both recover in the same way
//! from a run that fails.

use super::slot::{Running, Slot};
use crate::engine::{Batch, Engine, EngineError};
use crate::inference::Batching;
use crate::scheduler::permits::{Permit, PermitSource};
use crate::scheduler::process::ModelProcess;
use crate::scheduler::queue::Queued;
use crate::scheduler::run::{self, Died, Ended, Health};
use crate::scheduler::shared::Shared;
use crate::scheduler::warmup::Inputs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest that looking at a batch again may take before the run counts as stuck.
const LONGEST_LOOK: Duration = Duration::from_secs(60);
/// Runs of what a new process is warmed up with: the library specializes in the second.
const RUNS_AGAIN: usize = 2;
/// How long a run holds its permit. Others wait no longer for one that is slow, or hangs: from then on the system shares the
/// processor out.
pub(super) const LENT_FOR: Duration = Duration::from_millis(250);
/// How long a run may go on that the watchdog need not end.
const UNWATCHED: Duration = Duration::from_secs(365 * 24 * 3600);

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

    /// Runs what the version was warmed up with, where the process is new in which the library had compiled and specialized.
    /// That is a part of its start, so that no permit is held for it: other models do not wait. What comes of it shows in the
    /// next run.
    fn warm_up_again(&mut self, shared: &Shared) {
        if let Some(process) = &shared.process {
            let _turn = process.unsuspected();
            for inputs in &shared.job.warmup.settle {
                for _ in 0..RUNS_AGAIN {
                    let batch = Batch::without_deadline(inputs.clone());
                    let _ = run::run(&mut *self.engine, batch);
                }
            }
        }
    }

    /// Runs a batch; says whether another one may be run.
    pub(super) fn run(&mut self, shared: &Shared, taken: Taken) -> bool {
        let Taken { mut batch, since, mut permit, thread } = taken;
        loop {
            let deadlines = batch.iter().map(|queued| queued.request.context().deadline);
            let Some(last_deadline) = deadlines.max() else { return true };
            let now = Instant::now();
            self.begin((now, watched_until(shared, last_deadline, now)), permit, thread);
            let given_up_at = shared.given_up_at(last_deadline, now);
            let turn = shared.queue.begin(&batch, since, given_up_at);
            let (ended, was_alone) = {
                let beside = shared.process.as_ref().map(ModelProcess::beside);
                let ended = caught(|| run::run_batch(shared, &mut *self.engine, batch));
                (ended, beside.is_some_and(|it| it.is_alone()))
            };
            turn.end();
            let died = match ended {
                Ended::Here(health) => return self.recover(shared, health),
                Ended::Died(died) if died.failure.is_before() => died,
                Ended::Died(died) => return self.survive(shared, died, was_alone),
            };
            // Its process had died for another run, and this one has not begun.
            let may_go_on = self.recover(shared, Health::Rebuild);
            batch = died.batch.into_iter().chain(died.behind).collect();
            if !may_go_on {
                batch.into_iter().for_each(|queued| run::refuse_suspect(shared, queued));
                return false;
            }
            permit = shared.permits().map(PermitSource::acquire);
        }
    }

    /// Goes on after the end of the process that the model ran in: those that cannot have been its cause, or need not, are run
    /// once more, each with the new process for itself. A model that keeps state between calls runs nothing twice.
    /// `was_alone`: no other batch ran in the process meanwhile.
    fn survive(&mut self, shared: &Shared, died: Died, was_alone: bool) -> bool {
        let Died { mut batch, behind, failure, taken_at } = died;
        let is_stateful = shared.job.spec.batching == Batching::Stateful;
        let is_known = batch.len() == 1 && (was_alone || failure.is_timeout());
        if is_known && failure.is_own_end() {
            let killer = batch.drain(..);
            killer.for_each(|it| run::refuse_killer(shared, it, &failure, taken_at));
        } else if is_stateful || failure.is_timeout() {
            run::refuse(shared, std::mem::take(&mut batch), &failure, taken_at);
        }
        // The permit goes back meanwhile: that the process starts anew must not hold up other models.
        let mut may_go_on = self.recover(shared, Health::Rebuild);
        for suspect in batch.into_iter().chain(behind) {
            if !may_go_on {
                run::refuse_suspect(shared, suspect);
            } else if suspect.request.context().deadline > Instant::now() {
                may_go_on = self.run_apart(shared, suspect);
            }
        }
        may_go_on
    }

    /// Runs a request by itself, with the process of the model for itself.
    fn run_apart(&mut self, shared: &Shared, suspect: Queued) -> bool {
        let deadline = suspect.request.context().deadline;
        let mut batch = vec![suspect];
        loop {
            let permit = shared.permits().map(PermitSource::acquire);
            let now = Instant::now();
            self.begin((now, watched_until(shared, deadline, now)), permit, None);
            let ended = {
                let _apart = shared.process.as_ref().map(ModelProcess::apart);
                caught(|| run::run_batch(shared, &mut *self.engine, batch))
            };
            let died = match ended {
                Ended::Here(health) => return self.recover(shared, health),
                Ended::Died(died) => died,
            };
            let has_begun = !died.failure.is_before();
            batch = died.batch;
            if has_begun {
                let Died { failure, taken_at, .. } = died;
                for killer in batch.drain(..) {
                    run::refuse_killer(shared, killer, &failure, taken_at);
                }
            }
            let may_go_on = self.recover(shared, Health::Rebuild);
            if !may_go_on || has_begun {
                batch.into_iter().for_each(|suspect| run::refuse_suspect(shared, suspect));
                return may_go_on;
            }
        }
    }

    /// Looks at a batch that was answered; says whether another one may be run.
    pub(super) fn look_again(&mut self, shared: &Shared, permit: Option<Permit>) -> bool {
        let now = Instant::now();
        self.begin_unasked(shared, (now, now + LONGEST_LOOK), permit);
        let ended = {
            let _beside = shared.process.as_ref().map(ModelProcess::beside);
            caught(|| Ended::Here(run::verify(shared, &mut *self.engine)))
        };
        match ended {
            Ended::Here(health) => self.recover(shared, health),
            Ended::Died(_) => self.recover(shared, Health::Rebuild),
        }
    }

    /// Shows a run to the watchdog, with its beginning and when it has had its time.
    fn begin(
        &self,
        (since, until): (Instant, Instant),
        permit: Option<Permit>,
        thread: Option<i32>,
    ) {
        let permit_until = Some(since + LENT_FOR);
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
                shared.lose_device(reason);
                false
            }
            // It has been counted as stuck and replaced, and its engine is not to be trusted.
            _ if was_given_up => false,
            Health::Good => true,
            Health::Rebuild => match shared.rebuild_engine() {
                Some(engine) => {
                    self.engine = engine;
                    self.warm_up_again(shared);
                    true
                }
                None => false,
            },
        }
    }
}

/// A panic outside of the engine's own code, which has been caught before, is a fault of ours; what was being done with the
/// engine is not known either.
fn caught(run: impl FnOnce() -> Ended) -> Ended {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(Ended::Here(Health::Rebuild))
}

/// When the watchdog gives a run up. What runs in a process of its own is ended with it by its engine, and never given up.
fn watched_until(shared: &Shared, deadline: Instant, now: Instant) -> Instant {
    match shared.is_isolated() {
        true => now + UNWATCHED,
        false => shared.stuck_after(deadline, now),
    }
}
