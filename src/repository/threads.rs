//! The threads on which models are loaded: plain ones, with a deep stack, and no more than a few at once.

use crate::engine::STACK_BYTES;
use std::collections::HashMap;
use std::io;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Loads and orders that may be under way at once, each with a thread of its own.
pub(super) const MAX_DETACHED: usize = 16;

/// Loads of one file that may hang before it is not loaded any more: one may have met a slow disk.
const MAX_HANGING: usize = 2;

/// A thread on which models are loaded.
pub(super) fn loading_thread() -> thread::Builder {
    thread::Builder::new().name("load".into()).stack_size(STACK_BYTES)
}

/// Does the work on such a thread and waits for it; where there is none, here.
pub(super) fn on_loading_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let work = Mutex::new(Some(work));
    let take = || work.lock().unwrap_or_else(PoisonError::into_inner).take();
    let done = thread::scope(|scope| {
        let spawned = loading_thread().spawn_scoped(scope, || take().map(|work| work()));
        spawned.ok().and_then(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    });
    done.unwrap_or_else(|| take().expect("no thread was started that took it")())
}

/// Does the work on such a thread and waits for it, but no longer than that: then there is no outcome, and the work is left
/// to itself.
pub(super) fn within<T: Send + 'static>(
    time: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<Option<T>> {
    let (done, outcome) = mpsc::channel();
    let thread = loading_thread().spawn(move || drop(done.send(work())))?;
    match outcome.recv_timeout(time) {
        Ok(outcome) => Ok(Some(outcome)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        // It panicked.
        Err(RecvTimeoutError::Disconnected) => {
            let panic = thread.join().expect_err("a thread that ends well has sent its outcome");
            resume_unwind(panic)
        }
    }
}

/// How many loads and orders are under way. Clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct DetachedLimit(Arc<AtomicUsize>);

impl DetachedLimit {
    /// A place for one more, unless all are taken.
    pub(super) fn take(&self) -> Option<DetachedPermit> {
        let more = |n: usize| (n < MAX_DETACHED).then_some(n + 1);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.ok().map(|_| DetachedPermit(self.clone()))
    }
}

/// One of the loads and orders under way; given back on drop.
pub(super) struct DetachedPermit(DetachedLimit);

impl Drop for DetachedPermit {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Loads of files that went on after they were given up, by the files' digests. Each keeps a thread; a file that hangs again and
/// again must not take the threads of all others. Clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct Hanging(Arc<Mutex<HashMap<String, usize>>>);

/// One load of a file.
#[derive(Debug)]
pub(super) struct Attempt {
    of: Hanging,
    digest: String,
    end: Arc<Mutex<End>>,
}

#[derive(Debug, Default)]
struct End {
    is_over: bool,
    is_given_up: bool,
}

impl Hanging {
    /// A load of this file begins: what whoever waits for it keeps, and what the load itself does. Nothing where too many
    /// of it hang.
    pub(super) fn begin(&self, digest: &str) -> Option<(Attempt, Attempt)> {
        if self.lock().get(digest).is_some_and(|n| *n >= MAX_HANGING) {
            return None;
        }
        let end = Arc::<Mutex<End>>::default();
        let attempt =
            || Attempt { of: self.clone(), digest: digest.to_owned(), end: Arc::clone(&end) };
        Some((attempt(), attempt()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    /// Nobody waits for it any more.
    pub(super) fn give_up(self) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if !end.is_over {
            end.is_given_up = true;
            *self.of.lock().entry(self.digest.clone()).or_insert(0) += 1;
        }
    }

    /// It has come to its end.
    pub(super) fn end(self) {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        end.is_over = true;
        if end.is_given_up {
            let mut hanging = self.of.lock();
            let left = hanging.get(&self.digest).map_or(0, |n| n - 1);
            match left {
                0 => drop(hanging.remove(&self.digest)),
                left => drop(hanging.insert(self.digest.clone(), left)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::PATIENCE;

    #[test]
    fn work_that_takes_too_long_is_left_to_itself() {
        assert_eq!(within(PATIENCE, || 7).unwrap(), Some(7));
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let hangs = move || may_go_on.recv_timeout(PATIENCE);
        assert_eq!(within(Duration::from_millis(1), hangs).unwrap(), None);
        drop(go_on);
    }

    #[test]
    fn a_file_whose_loads_hang_is_not_loaded_until_one_of_them_ends() {
        let hanging = Hanging::default();
        let (waits, slow) = hanging.begin("a").unwrap();
        waits.give_up();
        slow.end();
        let loads = [(); MAX_HANGING].map(|()| {
            let (waits, load) = hanging.begin("a").unwrap();
            waits.give_up();
            load
        });
        assert!(hanging.begin("a").is_none());
        assert!(hanging.begin("b").is_some());
        loads.into_iter().for_each(Attempt::end);
        assert!(hanging.begin("a").is_some());
        assert!(hanging.lock().is_empty());
        let (waits, load) = hanging.begin("a").unwrap();
        load.end();
        waits.give_up();
        assert!(hanging.lock().is_empty(), "it ended before it was given up");
    }

    #[test]
    #[should_panic(expected = "while it loads")]
    fn a_panic_is_passed_on() {
        let _ = within(PATIENCE, || panic!("while it loads"));
    }
}
