//! A request in progress, from the call of the service to the last byte of its answer.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::task::AbortHandle;

use super::activity::Activity;

/// Held by the service's future, then by the answer's body, then by the bytes of it that are queued: the
/// last of them to be dropped ends it.
#[derive(Debug)]
pub(super) struct Exchange {
    activity: Arc<Activity>,
    number: u64,
    /// On HTTP/2, the task that sends the answer.
    task: Mutex<Option<AbortHandle>>,
}

impl Exchange {
    pub(super) fn new(activity: Arc<Activity>, number: u64) -> Self {
        Self { activity, number, task: Mutex::default() }
    }

    /// What its connection is doing.
    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }

    pub(super) fn runs_in(&self, task: AbortHandle) {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }

    pub(super) fn chunk_queued(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.activity.chunk_queued(self.number, task);
    }

    pub(super) fn chunk_progressed(&self, n_bytes: usize) {
        self.activity.chunk_progressed(self.number, n_bytes);
    }

    pub(super) fn chunk_done(&self) {
        self.activity.chunk_done(self.number);
    }

    /// Ready when nothing of the answer waits for its client any more.
    pub(super) fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.activity.poll_sent(self.number, cx)
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.activity.finished();
    }
}
