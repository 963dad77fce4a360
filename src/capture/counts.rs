//! What became of the requests that were to be captured.

use crate::telemetry::Counter;
use std::sync::atomic::AtomicU64;

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is in a file.
    Written,
    /// Too many waited.
    Dropped,
    /// The file could not be written, or the disk has too little room.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Written, Self::Dropped, Self::Failed];

    /// Its label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
        }
    }
}

/// What became of a record on its way to the sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// The receiver has taken its events.
    Sent,
    /// Too many waited.
    Dropped,
    /// The receiver did not take one of them.
    Failed,
}

impl Delivery {
    /// All of them.
    pub(super) const ALL: [Self; 3] = [Self::Sent, Self::Dropped, Self::Failed];

    /// Its label.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
        }
    }
}

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    records: [Counter; Outcome::ALL.len()],
    sent: [Counter; Delivery::ALL.len()],
    /// Bytes of all files.
    pub(super) bytes: AtomicU64,
}

impl Counts {
    pub(super) fn add(&self, outcome: Outcome, n: u64) {
        self.records[outcome as usize].add(n);
    }

    pub(super) fn get(&self, outcome: Outcome) -> u64 {
        self.records[outcome as usize].get()
    }

    pub(super) fn add_sent(&self, outcome: Delivery) {
        self.sent[outcome as usize].add(1);
    }

    pub(super) fn get_sent(&self, outcome: Delivery) -> u64 {
        self.sent[outcome as usize].get()
    }
}
