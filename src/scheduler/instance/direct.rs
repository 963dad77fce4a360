//! Runs of very small models on the thread that asked, in place of a hop to an instance and back.
//!
//! Waking a thread and being woken by it takes longer than such a model's arithmetic. Only models
//! whose runs are known to end soon are run this way (see `SchedulerOptions::direct`), because
//! nothing can take a run away from the thread of the runtime that it holds. Should one go on all the same, the
//! watchdog sees it, and the next ones hop.

use super::account::account;
use super::runner::{Runner, Taken};
use super::slot::{Account, Running, Slot};
use crate::engine::EngineError;
use crate::scheduler::permits::PermitSource;
use crate::scheduler::shared::Shared;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

/// A run that takes a hundred times what such runs were promised to take at most.
const LONG: Duration = Duration::from_millis(50);
/// Of that, the part that must have been spent computing: what is kept from the processor is not slow.
const COMPUTED: Duration = Duration::from_millis(30);

/// Engines that no thread owns.
#[derive(Default)]
pub(in crate::scheduler) struct Direct {
    /// Whether threads that ask may run batches.
    is_on: AtomicBool,
    idle: Mutex<Vec<Borrowed>>,
    slots: Mutex<Vec<Arc<Slot>>>,
    /// Why no thread that asks runs anything any more.
    ended: Mutex<Option<String>>,
}

struct Borrowed {
    runner: Runner,
    /// The thread that used it last, and what the system calls it: asking that is a call of the system.
    last_thread: Option<(ThreadId, i32)>,
}

/// What a look at the runs has come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// One is long, and another look must tell whether it computes.
    pub(super) again: bool,
    /// Runs that are given up.
    pub(super) stuck: usize,
}

impl Direct {
    /// Lets threads that ask run batches, with so many engines.
    pub(super) fn begin(&self, shared: &Shared, n_engines: usize) -> Result<(), EngineError> {
        for _ in 0..n_engines {
            let slot = Arc::<Slot>::default();
            let runner = Runner::new(shared, Arc::clone(&slot))?;
            self.slots().push(slot);
            self.idle().push(Borrowed { runner, last_thread: None });
        }
        self.is_on.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether threads that ask may run batches.
    pub(in crate::scheduler) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Why they may not any more, if so.
    pub(super) fn ended(&self) -> Option<String> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Batches that are being run.
    pub(super) fn n_running(&self) -> usize {
        self.slots().iter().filter(|slot| slot.is_running()).count()
    }

    /// Runs one batch of what is queued, if an engine and a permit are free; waits for neither.
    pub(in crate::scheduler) fn run(&self, shared: &Shared) {
        let permit = shared.permits().map(PermitSource::try_acquire);
        if permit.as_ref().is_some_and(Option::is_none) {
            return;
        }
        let Some(mut borrowed) = self.idle().pop() else { return };
        let since = Instant::now();
        let batch = shared.queue.take_batch(since);
        let thread = Some(borrowed.thread());
        let taken = Taken { batch, since, permit: permit.flatten(), thread };
        if borrowed.runner.run(shared, taken) {
            self.idle().push(borrowed);
        }
    }

    /// Gives what runs so much more time.
    pub(super) fn put_off(&self, by: Duration) {
        self.slots().iter().for_each(|slot| slot.put_off(by));
    }

    /// Looks at what runs at `now`. A run that goes on for long, and not because its thread is kept from the processor, ends
    /// running here; one that goes on for `grace` past its last deadline is stuck.
    pub(super) fn look(&self, now: Instant, grace: Duration) -> Look {
        self.look_with(now, grace, account)
    }

    fn look_with(
        &self,
        now: Instant,
        grace: Duration,
        account: impl Fn(i32) -> Option<Account>,
    ) -> Look {
        let mut look = Look::default();
        for slot in &*self.slots() {
            let took = |run: &Running| now.saturating_duration_since(run.since);
            let Some(so_far) = slot.look(|run| took(run)) else { continue };
            if slot.give_up_if_stuck(now, grace) {
                look.stuck += 1;
                self.end(so_far);
            } else if so_far >= LONG && self.is_on() {
                // Asked anew: another run may have begun meanwhile.
                match slot.look(|run| (took(run), judge(run, took(run), &account))) {
                    Some((took, Judgement::Slow)) => self.end(took),
                    Some((_, Judgement::LookAgain)) => look.again = true,
                    Some((_, Judgement::NotSlow)) | None => {}
                }
            }
        }
        look
    }

    fn end(&self, took: Duration) {
        let text = format!(
            "a run had taken {took:.1?} and went on, at most half a millisecond was expected"
        );
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
        self.is_on.store(false, Ordering::Release);
    }

    fn slots(&self) -> MutexGuard<'_, Vec<Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Borrowed>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Borrowed {
    /// What the system calls this thread.
    fn thread(&mut self) -> i32 {
        let own = std::thread::current().id();
        match self.last_thread {
            Some((thread, name)) if thread == own => name,
            _ => {
                let name = rustix::thread::gettid().as_raw_nonzero().get();
                self.last_thread = Some((own, name));
                name
            }
        }
    }
}

/// What is known of a run.
enum Judgement {
    /// It goes on for long, since it computes or waits for something else than a processor.
    Slow,
    /// It goes on for long, and another look must say why.
    LookAgain,
    /// Nothing says that it is slow.
    NotSlow,
}

fn judge(run: &mut Running, took: Duration, account: impl Fn(i32) -> Option<Account>) -> Judgement {
    if took < LONG {
        return Judgement::NotSlow;
    }
    match (run.found, run.thread.and_then(account)) {
        (Some(before), Some(now)) if is_slow(before, now) => Judgement::Slow,
        (None, found @ Some(_)) => {
            run.found = found;
            Judgement::LookAgain
        }
        (Some(_), Some(_)) => Judgement::LookAgain,
        // Nobody tells, so only what no machine is too busy for.
        (_, None) if took >= 100 * LONG => Judgement::Slow,
        (_, None) => Judgement::NotSlow,
    }
}

/// Whether the thread has computed for long between two looks, or waited for something else at both.
fn is_slow(before: Account, now: Account) -> bool {
    now.computed.saturating_sub(before.computed) >= COMPUTED
        || (before.is_blocked && now.is_blocked)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A run that began at the same time as this.
    fn running(since: Instant) -> Direct {
        let slot = Arc::<Slot>::default();
        let until = since + Duration::from_secs(30);
        slot.begin(Running {
            since,
            until,
            thread: Some(7),
            permit: None,
            permit_until: None,
            found: None,
        });
        let (slots, is_on) = (Mutex::new(vec![slot]), AtomicBool::new(true));
        Direct { slots, is_on, ..Direct::default() }
    }

    /// Looks at a run after so many milliseconds each, with what its thread has computed by then and whether it is
    /// blocked; says at which look running here was ended.
    fn ended_at(looks: &[(u32, u32, bool)]) -> Option<usize> {
        let since = Instant::now();
        let direct = running(since);
        looks.iter().position(|&(after, computed, is_blocked)| {
            let told = Account { computed: computed * MS, is_blocked };
            let grace = Duration::from_secs(5);
            let look = direct.look_with(since + after * MS, grace, |_| Some(told));
            assert_eq!(look.stuck, 0);
            assert!(!look.again || direct.ended().is_none());
            direct.ended().is_some()
        })
    }

    #[test]
    fn only_what_computes_or_blocks_for_long_is_long() {
        assert_eq!(ended_at(&[(49, 49, false), (60, 60, false), (110, 110, false)]), Some(2));
        assert_eq!(ended_at(&[(60, 1, true), (160, 1, true)]), Some(1), "it waits for something");
        let preempted = [(60, 1, false), (160, 1, false), (900, 20, false)];
        assert_eq!(ended_at(&preempted), None, "it is kept from the processor");
        assert_eq!(ended_at(&[(60, 1, true), (160, 1, false), (260, 2, true)]), Some(2));
    }

    #[test]
    fn a_run_past_its_deadline_is_stuck_and_counted_once() {
        let since = Instant::now();
        let direct = running(since);
        let look = |after: u64| {
            let now = since + Duration::from_secs(after);
            direct.look_with(now, Duration::from_secs(5), |_| None)
        };
        assert_eq!(
            (look(34), look(36), look(37)),
            (Look::default(), Look { stuck: 1, again: false }, Look::default())
        );
        assert!(direct.ended().is_some());
    }
}
