//! What threads that wait at the queue are told, and by whom.

use super::Queue;
use std::time::Instant;

/// Wakes a sleeping thread when it is dropped.
#[derive(Debug)]
#[must_use]
pub(in crate::scheduler) struct Alarm<'a>(pub(super) &'a Queue);

impl Alarm<'_> {
    /// Wakes nobody, for now: who calls this has [`Queue::wake_one`] to call.
    pub(in crate::scheduler) fn put_off(self) {
        self.0.lock().is_alarm_set = false;
        std::mem::forget(self);
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.lock().is_alarm_set = false;
        self.0.wake_one();
    }
}

/// What a thread that waited is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scheduler) enum Work {
    /// Take a batch and run it; what waits was found at this time.
    Run(Instant),
    /// Nobody waits: time for what can wait.
    Spare,
    /// End.
    Leave,
}
