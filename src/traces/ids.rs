//! Ids of traces and spans: unique among the processes of a fleet, and nothing that could be told from one another.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// Where a span belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SpanIds {
    pub(super) trace: u128,
    pub(super) span: u64,
}

/// Makes ids. What is drawn at the start is the system's random numbers, what is counted goes through a keyed hash.
#[derive(Debug, Default)]
pub(super) struct Ids {
    key: RandomState,
    next: AtomicU64,
}

impl Ids {
    /// A span's, never zero.
    pub(super) fn span(&self) -> u64 {
        self.hash(self.next.fetch_add(1, Ordering::Relaxed), 0)
    }

    /// A trace's, never zero.
    pub(super) fn trace(&self) -> u128 {
        self.wide(self.next.fetch_add(1, Ordering::Relaxed), 1)
    }

    /// Those of the span of a run: every request that it answered finds the same.
    pub(super) fn of_run(&self, number: u64) -> SpanIds {
        SpanIds { trace: self.wide(number, 3), span: self.hash(number, 5) }
    }

    fn wide(&self, number: u64, kind: u8) -> u128 {
        u128::from(self.hash(number, kind)) << 64 | u128::from(self.hash(number, kind + 1))
    }

    fn hash(&self, number: u64, kind: u8) -> u64 {
        self.key.hash_one((number, kind)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_differ_between_kinds_and_processes() {
        let (one, other) = (Ids::default(), Ids::default());
        let of = |ids: &Ids| {
            let run = ids.of_run(7);
            assert_eq!(run, ids.of_run(7));
            [ids.span(), ids.span(), run.span, ids.trace() as u64, (ids.trace() >> 64) as u64]
        };
        let all: HashSet<u64> = [of(&one), of(&other)].concat().into_iter().collect();
        assert_eq!(all.len(), 10);
        assert!(!all.contains(&0));
    }
}
