//! What the tests of all rooms share: waits that end, with what they waited for.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// How long anything may take that must happen, on a machine that is busy with other things. Nothing waits this
/// long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for what other threads do.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        std::thread::yield_now();
    }
}

/// The same in a task, which lets the other tasks of its thread go on.
#[track_caller]
pub(crate) fn until_in_task(
    what: &str,
    mut holds: impl FnMut() -> bool,
) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "{caller}: waited {PATIENCE:?} in vain: {what}");
            tokio::task::yield_now().await;
        }
    }
}

/// What another thread sends.
#[track_caller]
pub(crate) fn receive<T>(what: &str, from: &Receiver<T>) -> T {
    from.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{what} must come: {error}"))
}
