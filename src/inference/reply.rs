//! The way back: from the thread that ran a model to the task that waits for the answer.
//!
//! A type of our own around a one-shot channel, so that an answer in several parts can be added
//! without changing what the scheduler's rooms see.

use super::error::{ErrorCode, InferError};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// The sending half. Dropped without an answer, it tells the waiter so: nobody waits in vain.
#[derive(Debug)]
pub struct Reply<T>(oneshot::Sender<Result<T, InferError>>);

/// The waiting half. Dropped, it tells the sender that nobody listens any more.
#[derive(Debug)]
pub struct Pending<T>(oneshot::Receiver<Result<T, InferError>>);

/// A connected pair.
#[must_use]
pub fn reply<T>() -> (Reply<T>, Pending<T>) {
    let (sender, receiver) = oneshot::channel();
    (Reply(sender), Pending(receiver))
}

impl<T> Reply<T> {
    /// Whether the waiter has gone: running the request would serve nobody.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.0.is_closed()
    }

    /// Answers. A waiter that has gone is no fault.
    pub fn send(self, answer: Result<T, InferError>) {
        drop(self.0.send(answer));
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, InferError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|received| match received {
            Ok(answer) => answer,
            Err(_) => Err(InferError::new(
                ErrorCode::Internal,
                "the request was dropped without an answer",
            )),
        })
    }
}
