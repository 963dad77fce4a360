//! Through which others see what an engine runs, and give up on it.

use crate::scheduler::permits::Permit;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Nobody waits for its lock but for a look of the watchdog.
#[derive(Debug, Default)]
pub(super) struct Slot(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    Running(Running),
    /// Nobody waits for the run any more: whoever runs it is not to run anything else.
    GivenUp,
}

/// A run under way. The permit lies here and not on the thread's stack, so that the watchdog can
/// give back that of a stuck run.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) since: Instant,
    /// When it has had its time.
    pub(super) until: Instant,
    pub(super) permit: Option<Permit>,
    /// When the permit is given back at the latest, also while the run goes on.
    pub(super) permit_until: Option<Instant>,
    /// Where the thread belongs to somebody else: what the system calls it.
    pub(super) thread: Option<i32>,
    /// What that thread had computed when the run was first found to be long.
    pub(super) found: Option<Account>,
}

/// What a thread has computed so far, and whether it waits for something else than a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) computed: Duration,
    pub(super) is_blocked: bool,
}

impl Slot {
    pub(super) fn begin(&self, running: Running) {
        *self.lock() = State::Running(running);
    }

    /// The run is over; says whether it was given up before.
    pub(super) fn end(&self) -> bool {
        matches!(std::mem::take(&mut *self.lock()), State::GivenUp)
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(*self.lock(), State::Running(_))
    }

    /// Gives up a run that has gone on for `grace` past its time, and says so. A permit that was lent for a time goes back
    /// when that is over.
    pub(super) fn give_up_if_stuck(&self, now: Instant, grace: Duration) -> bool {
        let mut state = self.lock();
        if let State::Running(running) = &mut *state
            && running.permit_until.is_some_and(|until| now > until)
        {
            running.permit = None;
        }
        let is_stuck = matches!(&*state, State::Running(running) if now > running.until + grace);
        if is_stuck {
            // Gives the permit back, too.
            *state = State::GivenUp;
        }
        is_stuck
    }

    /// Gives a run so much more time.
    pub(super) fn put_off(&self, by: Duration) {
        self.look(|run| {
            run.until += by;
            run.permit_until = run.permit_until.map(|until| until + by);
        });
    }

    /// Shows the run, if there is one.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut Running) -> T) -> Option<T> {
        match &mut *self.lock() {
            State::Running(running) => Some(look(running)),
            State::Idle | State::GivenUp => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::permits::Permits;

    #[test]
    fn a_permit_that_was_lent_for_a_time_goes_back_while_the_run_goes_on() {
        let permits = Permits::new(1);
        let (slot, now) = (Slot::default(), Instant::now());
        let second = Duration::from_secs(1);
        let permit = Some(permits.source().acquire());
        let (until, permit_until) = (now + 60 * second, Some(now + second));
        slot.begin(Running { since: now, until, permit, permit_until, thread: None, found: None });
        assert!(!slot.give_up_if_stuck(now + second, second));
        assert!(permits.source().try_acquire().is_none(), "it is held for its time");
        assert!(!slot.give_up_if_stuck(now + 2 * second, second));
        assert!(permits.source().try_acquire().is_some(), "others compute meanwhile");
        assert!(slot.is_running());
        slot.put_off(5 * second);
        assert!(!slot.give_up_if_stuck(now + 66 * second, second));
        assert!(slot.give_up_if_stuck(now + 67 * second, second));
    }
}
