//! The threads on which models are loaded: plain ones, with a deep stack, and no more than a few at once.

use crate::engine::STACK_BYTES;
use std::io;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Loads and orders that may be under way at once, each with a thread of its own.
pub(super) const MAX_DETACHED: usize = 16;

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
    #[should_panic(expected = "while it loads")]
    fn a_panic_is_passed_on() {
        let _ = within(PATIENCE, || panic!("while it loads"));
    }
}
