//! Numbers that rooms count: single atomic additions, so that no request waits for a scrape.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// So many more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// How many there have been.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number to which each load of a model version adds a part of its own: while a version is reloaded, its old and its new
/// load live side by side.
#[derive(Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// A part of nothing yet.
    #[must_use]
    pub fn part(&self) -> GaugePart {
        GaugePart { whole: Arc::clone(&self.0), own: AtomicI64::new(0) }
    }

    /// The sum of all parts.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One load's part of a gauge, taken away when it is dropped.
#[derive(Debug)]
pub struct GaugePart {
    whole: Arc<AtomicI64>,
    own: AtomicI64,
}

impl GaugePart {
    /// So much more, or less.
    pub fn add(&self, delta: i64) {
        self.own.fetch_add(delta, Ordering::Relaxed);
        self.whole.fetch_add(delta, Ordering::Relaxed);
    }

    /// So much in all.
    pub fn set(&self, value: i64) {
        let before = self.own.swap(value, Ordering::Relaxed);
        self.whole.fetch_add(value - before, Ordering::Relaxed);
    }
}

impl Drop for GaugePart {
    fn drop(&mut self) {
        self.set(0);
    }
}
