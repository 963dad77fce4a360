//! Looks for runs that go on long after everybody has stopped waiting for them.
//!
//! A thread of its own and not a timer of the async runtime: it must work when that is busy, and a
//! stuck run whose client has hung up has no task left that could notice.

use super::pool::Pool;
use super::runner::LENT_FOR;
use crate::engine::{EngineError, Fault};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it looks, whatever the grace: often enough for short ones, rare enough to cost nothing.
const SHORTEST_PERIOD: Duration = Duration::from_millis(20);
const LONGEST_PERIOD: Duration = Duration::from_secs(1);

/// A look that comes so late was held up with everything else: the machine slept, or the process was frozen.
const STANDSTILL: Duration = Duration::from_secs(1);

/// When it looks again at a run that may only have been kept from the processor.
const SOON: Duration = Duration::from_millis(100);

pub(in crate::scheduler) struct Watchdog {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub(in crate::scheduler) fn spawn(pool: &Arc<Pool>) -> Result<Self, EngineError> {
        let (stop, stopped) = mpsc::channel();
        let period = pool.shared.options.stuck_grace / 4;
        let longest = if pool.shared.is_isolated() { LENT_FOR } else { LONGEST_PERIOD };
        let period = period.clamp(SHORTEST_PERIOD, longest);
        // Weak, so that the watched can go while the watcher sleeps.
        let pool: Weak<Pool> = Arc::downgrade(pool);
        let watch = move || {
            let mut next = period;
            let mut slept_at = Instant::now();
            while stopped.recv_timeout(next) == Err(RecvTimeoutError::Timeout) {
                let Some(pool) = pool.upgrade() else { return };
                if let Some(stood_still) = standstill(slept_at.elapsed(), next) {
                    pool.put_off(stood_still);
                }
                pool.shared.job.model.notice_ends();
                let now = Instant::now();
                pool.replace_stuck(now);
                let again = pool.look_at_direct_runs(now);
                next = match (again, pool.is_running()) {
                    (true, _) => period.min(SOON),
                    (false, true) => period.min(LENT_FOR),
                    (false, false) => period,
                };
                slept_at = Instant::now();
            }
        };
        let thread = std::thread::Builder::new().name("watchdog".to_owned()).spawn(watch).map_err(
            |error| EngineError::new(Fault::Internal, format!("cannot start a thread: {error}")),
        )?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Ends it and waits for that.
    pub(in crate::scheduler) fn stop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing of its own that could panic; a panic would have been printed.
            drop(thread.join());
        }
    }
}

/// For how long nothing of the process ran, where a sleep of `wanted` took `slept`: runs cannot have gone on meanwhile.
fn standstill(slept: Duration, wanted: Duration) -> Option<Duration> {
    slept.checked_sub(wanted).filter(|late| *late >= STANDSTILL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_that_comes_much_too_late_was_held_up_with_the_runs() {
        let (second, wanted) = (Duration::from_secs(1), Duration::from_millis(250));
        assert_eq!(standstill(wanted, wanted), None);
        assert_eq!(standstill(second, wanted), None);
        assert_eq!(standstill(38 * second + wanted, wanted), Some(38 * second));
        assert_eq!(standstill(Duration::ZERO, wanted), None);
    }
}
