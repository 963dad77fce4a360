//! The process of a model that has one of its own, as far as running in it goes: who runs beside whom.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

#[derive(Debug, Default)]
pub(super) struct ModelProcess {
    /// Held by what runs there, alone by what must have it for itself.
    turns: RwLock<()>,
    /// Runs that are under way.
    running: AtomicUsize,
    /// Runs that have begun, ever.
    begun: AtomicU64,
}

impl ModelProcess {
    /// A run beside what else runs there.
    pub(super) fn beside(&self) -> Beside<'_> {
        let turn = self.turns.read().unwrap_or_else(PoisonError::into_inner);
        let was_empty = self.running.fetch_add(1, Ordering::SeqCst) == 0;
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        Beside { process: self, number, was_empty, _turn: turn }
    }

    /// A run of what has run there before: it is suspected of nothing, and nobody is suspected less for it.
    pub(super) fn unsuspected(&self) -> RwLockReadGuard<'_, ()> {
        self.turns.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run that has it for itself.
    pub(super) fn apart(&self) -> RwLockWriteGuard<'_, ()> {
        self.turns.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held during a run that others may run beside.
pub(super) struct Beside<'a> {
    process: &'a ModelProcess,
    number: u64,
    was_empty: bool,
    _turn: RwLockReadGuard<'a, ()>,
}

impl Beside<'_> {
    /// Whether nothing else has run there since this run began: then the end of the process can be no other run's doing.
    pub(super) fn is_alone(&self) -> bool {
        self.was_empty && self.process.begun.load(Ordering::SeqCst) == self.number
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        self.process.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_alone_that_nothing_overlaps() {
        let process = ModelProcess::default();
        let first = process.beside();
        assert!(first.is_alone());
        let second = process.beside();
        assert!(!first.is_alone() && !second.is_alone());
        drop(first);
        assert!(!second.is_alone(), "the first may have left something behind in its time");
        drop(second);
        assert!(process.beside().is_alone());
        let first = process.beside();
        drop(process.beside());
        assert!(!first.is_alone(), "another has come and gone");
        drop(first);
        let warming = process.unsuspected();
        assert!(process.beside().is_alone());
        drop(warming);
    }
}
