//! How many bytes of tensors wait to be written: bounded, since a disk may be slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of all records that wait.
const MAX_HELD: usize = 64 << 20;

/// The bytes that wait. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<AtomicUsize>);

/// Those of one record, until it is written or dropped.
#[derive(Debug)]
pub(super) struct Share {
    held: Held,
    bytes: usize,
}

impl Held {
    /// A part of none yet.
    pub(super) fn share(&self) -> Share {
        Share { held: self.clone(), bytes: 0 }
    }
}

impl Share {
    /// Holds more; whether there is room for it.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let add = |held: usize| held.checked_add(bytes).filter(|held| *held <= MAX_HELD);
        let has_room = self.held.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok();
        self.bytes += if has_room { bytes } else { 0 };
        has_room
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_and_goes_with_its_record() {
        let held = Held::default();
        let (mut one, mut other) = (held.share(), held.share());
        assert!(one.grow(MAX_HELD - 1) && other.grow(1));
        assert!(!other.grow(1) && !other.grow(usize::MAX));
        drop(one);
        assert!(other.grow(MAX_HELD - 1));
        drop(other);
        assert_eq!(held.0.load(Ordering::Relaxed), 0);
    }
}
