//! Whose turn it is to draw random numbers: libtorch has one generator for all models.
//!
//! Who only draws goes beside others that draw. Who seeds it means what it then draws, and goes alone. Nobody waits for longer
//! than somebody waits for him, and not for a run that nobody waits for any more: one that never ends must not take other
//! models with it.

use crate::engine::{EngineError, Fault};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a turn is waited for, and how long it may last, where nobody's deadline says it: in a warm-up.
const WITHOUT_DEADLINE: Duration = Duration::from_secs(10);

/// How a run uses the generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Beside others that draw.
    Draws,
    /// It seeds it: nobody else may draw or seed until the run has ended.
    Seeds,
}

#[derive(Debug, Default)]
pub(super) struct Generator {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    holders: Vec<Holder>,
    /// Those who want to seed and wait.
    n_seeders: usize,
    next: u64,
}

#[derive(Debug)]
struct Holder {
    number: u64,
    seeds: bool,
    /// From when on nobody waits for what it draws.
    until: Instant,
}

/// A turn, until it is dropped.
#[derive(Debug)]
#[must_use]
pub(super) struct Turn<'a> {
    generator: &'a Generator,
    number: u64,
}

impl State {
    /// Whether one more may go. A run that is over its time, and may never end, keeps away who seeds, whose numbers it would
    /// mix up, and nobody else.
    fn has_room_for(&self, what: Use, now: Instant) -> bool {
        let is_overdue = |holder: &Holder| holder.until <= now;
        match what {
            Use::Seeds => self.holders.is_empty(),
            Use::Draws => {
                let is_held = self.holders.iter().any(|it| it.seeds && !is_overdue(it));
                // Those who seed would else wait for ever beside a steady stream of others.
                let lets_pass = self.n_seeders > 0 && !self.holders.iter().any(is_overdue);
                !is_held && !lets_pass
            }
        }
    }
}

impl Generator {
    /// Waits for a turn, at most until the deadline. Blocks.
    pub(super) fn turn(
        &self,
        what: Use,
        deadline: Option<Instant>,
    ) -> Result<Turn<'_>, EngineError> {
        let deadline = deadline.unwrap_or_else(|| Instant::now() + WITHOUT_DEADLINE);
        let seeds = what == Use::Seeds;
        let mut state = self.lock();
        state.n_seeders += usize::from(seeds);
        let may_go = loop {
            let now = Instant::now();
            if state.has_room_for(what, now) {
                break true;
            }
            if now >= deadline {
                break false;
            }
            let ends = state.holders.iter().map(|holder| holder.until).filter(|until| *until > now);
            let until = ends.fold(deadline, Instant::min);
            let (woken, _) = self
                .changed
                .wait_timeout(state, until - now)
                .unwrap_or_else(PoisonError::into_inner);
            state = woken;
        };
        state.n_seeders -= usize::from(seeds);
        if !may_go {
            drop(state);
            self.changed.notify_all();
            let message = "other runs draw random numbers, and did not end in time";
            return Err(EngineError::new(Fault::Environment, message));
        }
        let number = state.next;
        state.next += 1;
        state.holders.push(Holder { number, seeds, until: deadline });
        Ok(Turn { generator: self, number })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.generator.lock().holders.retain(|holder| holder.number != self.number);
        self.generator.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::until;

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(20))
    }

    fn later() -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(600))
    }

    #[test]
    fn those_who_draw_go_beside_each_other_and_those_who_seed_alone() {
        let generator = Generator::default();
        let turns = [(); 2].map(|()| generator.turn(Use::Draws, later()).unwrap());
        assert!(generator.turn(Use::Seeds, soon()).is_err());
        drop(turns);
        let turn = generator.turn(Use::Seeds, later()).unwrap();
        assert!(generator.turn(Use::Draws, soon()).is_err());
        assert!(generator.turn(Use::Seeds, soon()).is_err());
        drop(turn);
        let _turn = generator.turn(Use::Draws, soon()).unwrap();
    }

    #[test]
    fn a_run_over_its_time_keeps_away_nobody_but_who_seeds() {
        for hangs in [Use::Seeds, Use::Draws] {
            let generator = Generator::default();
            let _hanging = generator.turn(hangs, soon()).unwrap();
            // Waits for the end of the other's time, and not for its turn's.
            let _beside = generator.turn(Use::Draws, later()).unwrap();
            let beside = std::thread::scope(|scope| {
                let seeds = scope.spawn(|| generator.turn(Use::Seeds, soon()).map(drop));
                until("it waits or has waited", || {
                    seeds.is_finished() || generator.lock().n_seeders == 1
                });
                // It waits in vain, and holds up nobody meanwhile.
                let beside = generator.turn(Use::Draws, later()).map(drop);
                assert!(seeds.join().unwrap().is_err(), "{hangs:?}");
                beside
            });
            assert!(beside.is_ok(), "{hangs:?}");
        }
    }

    #[test]
    fn who_waits_to_seed_is_not_passed_by_without_end() {
        let generator = Generator::default();
        let first = generator.turn(Use::Draws, later()).unwrap();
        std::thread::scope(|scope| {
            let seeds = scope.spawn(|| generator.turn(Use::Seeds, later()).map(drop));
            until("it waits", || generator.lock().n_seeders == 1);
            assert!(generator.turn(Use::Draws, soon()).is_err());
            drop(first);
            assert!(seeds.join().unwrap().is_ok());
        });
        let _turn = generator.turn(Use::Draws, soon()).unwrap();
    }
}
