//! The last few measurements of a kind, and their median, which is read without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Turns that a median is taken of.
pub(super) const RECENT: usize = 7;

/// The last few of a kind, and their median.
#[derive(Debug, Default)]
pub(super) struct Recent {
    last: Mutex<Last>,
    /// 0 before the first.
    median: AtomicU64,
}

#[derive(Debug, Default)]
struct Last {
    values: [u64; RECENT],
    n_added: usize,
    /// What is left when they are forgotten; 0 if nothing.
    first: u64,
}

impl Recent {
    pub(super) fn add(&self, value: u64) {
        let mut last = self.last();
        let n_added = last.n_added;
        last.values[n_added % RECENT] = value.max(1);
        last.n_added += 1;
        let mut sorted = last.values;
        let known = &mut sorted[..RECENT.min(last.n_added)];
        known.sort_unstable();
        // Of two the smaller: at first too little is known to refuse by.
        self.median.store(known[(known.len() - 1) / 2], Ordering::Relaxed);
    }

    /// The same for one that is not forgotten if it is the first.
    pub(super) fn add_for_good(&self, value: u64) {
        let mut last = self.last();
        if last.first == 0 {
            last.first = value.max(1);
        }
        drop(last);
        self.add(value);
    }

    pub(super) fn forget(&self) {
        let mut last = self.last();
        let first = last.first;
        *last = Last { values: [first; RECENT], n_added: usize::from(first > 0), first };
        self.median.store(first, Ordering::Relaxed);
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self) -> Option<u64> {
        Some(self.median.load(Ordering::Relaxed)).filter(|median| *median > 0)
    }
}
