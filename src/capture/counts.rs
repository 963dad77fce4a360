//! What became of the requests that were to be captured.

use crate::telemetry::Counter;
use crate::telemetry::background::Deliveries;
use std::sync::atomic::AtomicU64;

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordOutcome {
    /// It is in a file.
    Written,
    /// Too many waited.
    Dropped,
    /// The file could not be written, or the disk has too little room.
    Failed,
}

impl RecordOutcome {
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

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    records: [Counter; RecordOutcome::ALL.len()],
    /// On their way to the sink.
    pub(super) sent: Deliveries,
    /// Bytes of all files.
    pub(super) bytes: AtomicU64,
}

impl Counts {
    pub(super) fn add(&self, outcome: RecordOutcome, n: u64) {
        self.records[outcome as usize].add(n);
    }

    pub(super) fn get(&self, outcome: RecordOutcome) -> u64 {
        self.records[outcome as usize].get()
    }
}
