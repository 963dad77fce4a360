//! Runs of very small models on the thread that asked, in place of a hop to an instance and back.
//!
//! Waking a thread and being woken by it takes longer than such a model's arithmetic. Only models
//! whose runs are known to end soon are run this way (see `SchedulerOptions::direct`), because
//! nothing can take a run away from the thread of the runtime that it holds. Should one go on all the same, the
//! watchdog sees it, and the next ones hop.

use super::instance::Shared;
use super::run::{Health, run_batch};
use super::{Permit, PermitSource};
use crate::engine::{Engine, EngineError};
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
pub(super) struct Direct {
    /// Whether threads that ask may run batches.
    is_on: AtomicBool,
    idle: Mutex<Vec<Runner>>,
    slots: Mutex<Vec<Arc<Slot>>>,
    /// Why no thread that asks runs anything any more.
    ended: Mutex<Option<String>>,
}

struct Runner {
    engine: Box<dyn Engine>,
    slot: Arc<Slot>,
    /// The thread that used it last, and what the system calls it: asking that is a call of the system.
    last_thread: Option<(ThreadId, i32)>,
}

/// Through which the watchdog sees a run. Nobody waits for its lock but for a look that finds a long one.
#[derive(Default)]
struct Slot(Mutex<Option<Running>>);

/// A run under way. The permit lies here, so that the watchdog can give back that of a stuck one.
struct Running {
    since: Instant,
    last_deadline: Instant,
    thread: i32,
    _permit: Option<Permit>,
    /// What the thread had computed when the run was first found to be long.
    found: Option<Account>,
}

/// What a thread has computed so far, and whether it waits for something else than a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) computed: Duration,
    pub(super) is_blocked: bool,
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
    /// Lets threads that ask run batches, with as many engines as there are instances.
    pub(super) fn begin(&self, shared: &Shared, engines: usize) -> Result<(), EngineError> {
        let runner =
            |_| Ok(Runner { engine: shared.engine()?, slot: Arc::default(), last_thread: None });
        let runners: Vec<Runner> = (0..engines).map(runner).collect::<Result<_, EngineError>>()?;
        self.slots().extend(runners.iter().map(|runner| Arc::clone(&runner.slot)));
        self.idle().extend(runners);
        self.is_on.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether threads that ask may run batches.
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Why they may not any more, if so.
    pub(super) fn ended(&self) -> Option<String> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs one batch of what is queued, if an engine and a permit are free; waits for neither.
    pub(super) fn run(&self, shared: &Shared) {
        let permit = shared.permits().map(PermitSource::try_acquire);
        if permit.as_ref().is_some_and(Option::is_none) {
            return;
        }
        let Some(mut runner) = self.idle().pop() else { return };
        let since = Instant::now();
        let batch = shared.queue.take_batch(since);
        let deadlines = batch.iter().map(|queued| queued.request.context().deadline);
        let Some(last_deadline) = deadlines.max() else { return self.idle().push(runner) };
        let last_deadline = shared.stuck_after(last_deadline, since);
        let thread = runner.thread();
        let _permit = permit.flatten();
        *runner.slot.running() =
            Some(Running { since, last_deadline, thread, _permit, found: None });
        let turn = shared.queue.begin(&batch, since);
        let health = run_batch(shared, &mut *runner.engine, batch);
        turn.end();
        if runner.slot.running().take().is_none() {
            // Given up: it has been counted as stuck, and its engine is not to be trusted.
            return shared.stuck_run_ended();
        }
        match health {
            Health::Good => self.idle().push(runner),
            Health::Rebuild => match shared.engine() {
                Ok(engine) => self.idle().push(Runner { engine, ..runner }),
                Err(error) => shared.fail(error.message),
            },
            Health::Lost(reason) => shared.fail(reason),
        }
    }

    /// Looks at what runs at `now`; `account` tells of a thread. A run that goes on for long, and not because its thread
    /// is kept from the processor, ends running here; one that goes on for `grace` past its last deadline is stuck.
    pub(super) fn look(
        &self,
        (now, grace): (Instant, Duration),
        account: impl Fn(i32) -> Option<Account>,
    ) -> Look {
        let mut look = Look::default();
        for slot in &*self.slots() {
            let mut running = slot.running();
            let Some(run) = running.as_mut() else { continue };
            let took = now.saturating_duration_since(run.since);
            if now > run.last_deadline + grace {
                *running = None;
                look.stuck += 1;
                self.end(took);
            } else if took >= LONG && self.is_on() {
                let account = account(run.thread);
                match (run.found, account) {
                    (Some(before), Some(now)) if is_slow(before, now) => self.end(took),
                    (None, Some(_)) => {
                        run.found = account;
                        look.again = true;
                    }
                    (Some(_), Some(_)) => look.again = true,
                    // Nobody tells, so only what no machine is too busy for.
                    (_, None) if took >= 100 * LONG => self.end(took),
                    (_, None) => {}
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

    fn idle(&self) -> MutexGuard<'_, Vec<Runner>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runner {
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

impl Slot {
    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the thread has computed for long between two looks, or waited for something else at both.
fn is_slow(before: Account, now: Account) -> bool {
    now.computed.saturating_sub(before.computed) >= COMPUTED
        || (before.is_blocked && now.is_blocked)
}

/// What the system tells of a thread of this process.
pub(super) fn account(thread: i32) -> Option<Account> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).ok()?;
    parse(&text, rustix::param::clock_ticks_per_second())
}

fn parse(stat: &str, ticks_per_second: u64) -> Option<Account> {
    // A thread's name may hold anything, so from the last parenthesis on.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let mut times = fields.skip(10).map(str::parse::<u64>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    let computed = Duration::from_secs(1).mul_f64(ticks as f64 / ticks_per_second.max(1) as f64);
    Some(Account { computed, is_blocked: state != "R" })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A run that began at the same time as this.
    fn running(since: Instant) -> Direct {
        let slot = Arc::<Slot>::default();
        let last_deadline = since + Duration::from_secs(30);
        *slot.running() =
            Some(Running { since, last_deadline, thread: 7, _permit: None, found: None });
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
            let look = direct.look((since + after * MS, Duration::from_secs(5)), |_| Some(told));
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
            direct.look((now, Duration::from_secs(5)), |_| None)
        };
        assert_eq!(
            (look(34), look(36), look(37)),
            (Look::default(), Look { stuck: 1, again: false }, Look::default())
        );
        assert!(direct.ended().is_some());
    }

    #[test]
    fn the_account_of_a_thread_is_read_behind_its_name() {
        let text = "12 (a) R b) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        let told = Account { computed: 3000 * MS, is_blocked: true };
        assert_eq!(parse(text, 100), Some(told));
        assert_eq!(parse("12 (x) R 1", 100), None);
        assert!(
            !account(rustix::thread::gettid().as_raw_nonzero().get()).unwrap().is_blocked,
            "this thread computes"
        );
        assert_eq!(account(0), None);
    }
}
