//! Work that takes too long for a thread that serves connections.

use crate::inference::{ErrorCode, InferError};
use std::time::Instant;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

/// Texts of bodies and answers from this size on are decoded and encoded on a thread for blocking
/// work: a millisecond of parsing on the runtime is a millisecond of waiting for every other
/// connection.
pub const LARGE_BYTES: usize = 256 * 1024;

/// Does work on so many bytes, elsewhere where they are many. There it may have to wait, and its caller does so until the
/// deadline: work that nobody waits for any more is not begun, and what is being done by then ends unheard.
///
/// # Errors
///
/// `deadline_exceeded`, and `internal` for work that panicked.
pub async fn off_runtime<T: Send + 'static>(
    bytes: usize,
    deadline: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, InferError> {
    if bytes < LARGE_BYTES { Ok(work()) } else { elsewhere(deadline, work).await }
}

/// Does work on a thread for blocking work, however much it is. See [`off_runtime`].
pub(super) async fn elsewhere<T: Send + 'static>(
    deadline: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, InferError> {
    /// Takes the work back with its caller, unless it has begun.
    struct Waiting<T>(JoinHandle<T>);

    impl<T> Drop for Waiting<T> {
        fn drop(&mut self) {
            self.0.abort();
        }
    }

    let work = move || (Instant::now() < deadline).then(work);
    let mut waiting = Waiting(tokio::task::spawn_blocking(work));
    match timeout_at(deadline.into(), &mut waiting.0).await {
        Ok(Ok(Some(outcome))) => Ok(outcome),
        Ok(Ok(None)) | Err(_) => Err(late()),
        Ok(Err(_)) => {
            Err(InferError::new(ErrorCode::Internal, "the server failed on this request"))
        }
    }
}

/// The report of a caller who waits no longer.
#[must_use]
pub fn late() -> InferError {
    let message = "the deadline passed while the body was being read or the answer written";
    InferError::new(ErrorCode::DeadlineExceeded, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::ByteBudget;
    use crate::testing::{receive, until_in_task};
    use std::sync::mpsc;
    use std::time::Duration;
    use tokio::runtime::{Builder, Runtime};

    /// A reactor with one thread for large bodies.
    fn reactor() -> Runtime {
        Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap()
    }

    fn never() {
        panic!("nobody waits for it");
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[test]
    fn who_waits_for_large_work_gets_an_answer_at_the_deadline() {
        reactor().block_on(async {
            let budget = ByteBudget::new(100);
            let mut lease = budget.lease();
            lease.grow(60).unwrap();
            let (begun, has_begun) = mpsc::channel();
            let (go_on, may_go_on) = mpsc::channel::<()>();
            let work = move || {
                begun.send(()).unwrap();
                may_go_on.recv().unwrap();
                lease
            };
            let error = off_runtime(LARGE_BYTES, soon(), work).await.unwrap_err();
            assert_eq!(error.code, ErrorCode::DeadlineExceeded);
            receive("the beginning", &has_begun);
            assert_eq!(budget.used(), 60, "what the work holds is booked while it goes on");
            let error = off_runtime(LARGE_BYTES, soon(), never).await.unwrap_err();
            assert_eq!(error.code, ErrorCode::DeadlineExceeded, "also for what has not begun");
            go_on.send(()).unwrap();
            until_in_task("the end of the work", || budget.used() == 0).await;
            let far = Instant::now() + crate::testing::PATIENCE;
            assert_eq!(off_runtime(LARGE_BYTES, far, || 7).await.unwrap(), 7);
        });
    }

    #[test]
    fn work_is_not_begun_for_a_caller_who_has_left() {
        reactor().block_on(async {
            let far = Instant::now() + crate::testing::PATIENCE;
            let (go_on, may_go_on) = mpsc::channel::<()>();
            let first = tokio::spawn(off_runtime(LARGE_BYTES, far, move || {
                may_go_on.recv().unwrap();
            }));
            let left = tokio::spawn(off_runtime(LARGE_BYTES, far, never));
            tokio::task::yield_now().await;
            left.abort();
            assert!(left.await.unwrap_err().is_cancelled());
            go_on.send(()).unwrap();
            first.await.unwrap().unwrap();
            off_runtime(LARGE_BYTES, far, || ()).await.expect("the thread goes on");
        });
    }
}
