//! What the mirror counts, and how far it is: written by its thread, read by everybody.

use super::options::SyncOutcome;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Stats {
    syncs: [AtomicU64; SyncOutcome::ALL.len()],
    pub(super) downloaded_bytes: AtomicU64,
    /// In seconds since 1970; 0 before the first one.
    last_success: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whether there was something to serve from the start, or all of the store came since.
    is_settled: bool,
    has_tried: bool,
    /// Looks at the store that were begun, and that were when the last one that is over began.
    begun: u64,
    over: u64,
    problem: Option<String>,
}

impl Stats {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What came before can serve.
    pub(super) fn settle(&self) {
        self.state().is_settled = true;
        self.changed.notify_all();
    }

    /// A look at the store begins.
    pub(super) fn begin(&self) {
        self.state().begun += 1;
    }

    /// Waits until a look that begins after this call is over. `ask` has one begin.
    pub(super) fn wait_for_look(&self, ask: impl FnOnce(), patience: Duration) {
        let state = self.state();
        let wanted = state.begun + 1;
        drop(state);
        ask();
        let is_to_come = |state: &mut State| state.over < wanted;
        let state = self.state();
        let waited = self.changed.wait_timeout_while(state, patience, is_to_come);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// `whole_at` is when the folder was as the store.
    pub(super) fn record(
        &self,
        outcome: SyncOutcome,
        problem: Option<String>,
        whole_at: Option<u64>,
    ) {
        self.syncs[outcome as usize].fetch_add(1, Ordering::Relaxed);
        if let Some(now) = whole_at {
            self.last_success.store(now, Ordering::Relaxed);
        }
        let mut state = self.state();
        state.is_settled |= whole_at.is_some();
        state.has_tried = true;
        state.over = state.begun;
        state.problem = problem;
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until the first look at the store is over, or there is something to serve without.
    pub(super) fn wait(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.state();
        while !state.is_settled && !state.has_tried {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether there is nothing that the server could rely on yet, with the last failure.
    pub(super) fn is_unsettled(&self) -> Option<Option<String>> {
        let state = self.state();
        (!state.is_settled).then(|| state.problem.clone())
    }

    pub(super) fn problem(&self) -> Option<String> {
        self.state().problem.clone()
    }

    pub(super) fn syncs(&self, outcome: SyncOutcome) -> u64 {
        self.syncs[outcome as usize].load(Ordering::Relaxed)
    }

    pub(super) fn last_success(&self) -> u64 {
        self.last_success.load(Ordering::Relaxed)
    }
}
