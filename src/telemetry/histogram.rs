//! A histogram for the request path: two additions an observation, and a scrape never waits.
//!
//! The registry's own histogram makes an observation of five atomic operations, one of them a
//! loop, and its scrape spins until every observer that was interrupted half-way has been scheduled
//! again, which takes milliseconds where a container's processor time is up. Here the count is the
//! sum of the buckets, so it always agrees with them; only `_sum` may be a few observations ahead
//! or behind, which no query can notice.

use super::statistics::{DurationStatistics, nanos};
use prometheus::proto;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Upper bounds of durations, in nanoseconds: from a phase of a tiny model to the longest deadline.
const DURATIONS: &[u64] = &[
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
];

/// Upper bounds of what takes people's time, in seconds: from a second to thirty days.
const DELAYS: &[u64] = &[1, 10, 60, 600, 3600, 21_600, 86_400, 3 * 86_400, 7 * 86_400, 30 * 86_400];

/// Upper bounds of rows in a batch.
const ROWS: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/// Counts of observations by size.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// How many of what is counted make one of the exported unit.
    per_unit: f64,
    sum: AtomicU64,
    /// One a bound, and one for what lies beyond the last; not cumulative.
    buckets: Box<[AtomicU64]>,
    /// The last of each bucket that had one.
    exemplars: Mutex<Vec<(usize, Exemplar)>>,
}

/// An observation that somebody can look at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Exemplar {
    /// The trace and the span in which it was made.
    pub(super) trace: u128,
    pub(super) span: u64,
    /// In the exported unit.
    pub(super) value: f64,
    pub(super) at: SystemTime,
}

impl Histogram {
    /// Counts nanoseconds, exports seconds.
    #[must_use]
    pub fn of_durations() -> Self {
        Self::new(DURATIONS, 1e9)
    }

    /// Counts seconds, of what takes up to a month.
    #[must_use]
    pub fn of_delays() -> Self {
        Self::new(DELAYS, 1.0)
    }

    /// Counts rows.
    #[must_use]
    pub fn of_rows() -> Self {
        Self::new(ROWS, 1.0)
    }

    fn new(bounds: &'static [u64], per_unit: f64) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, per_unit, sum: AtomicU64::new(0), buckets, exemplars: Mutex::default() }
    }

    /// Counts one.
    pub fn observe(&self, value: u64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        // Nanoseconds fill the sum after 584 years of measured time.
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Counts one, of a histogram of durations.
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(nanos(duration));
    }

    /// Says in which trace an observation was made, of a histogram of durations. It was counted already.
    pub(super) fn set_exemplar(&self, duration: Duration, trace: u128, span: u64) {
        let counted = nanos(duration);
        let bucket = self.bounds.partition_point(|&bound| bound < counted);
        let (value, at) = (counted as f64 / self.per_unit, SystemTime::now());
        let exemplar = Exemplar { trace, span, value, at };
        let mut exemplars = self.exemplars.lock().unwrap_or_else(PoisonError::into_inner);
        match exemplars.iter_mut().find(|(known, _)| *known == bucket) {
            Some((_, last)) => *last = exemplar,
            None => exemplars.push((bucket, exemplar)),
        }
    }

    /// By the places of their buckets; that beyond the last bound has one too.
    pub(super) fn exemplars(&self) -> Vec<(usize, Exemplar)> {
        self.exemplars.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many observations there were, and their sum in what is counted.
    pub(super) fn duration(&self) -> DurationStatistics {
        let count = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).sum();
        DurationStatistics { count, ns: self.sum.load(Ordering::Relaxed) }
    }

    /// What the registry exports.
    pub(super) fn snapshot(&self) -> proto::Histogram {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(self.bounds.len());
        for (observed, &bound) in self.buckets.iter().zip(self.bounds) {
            count += observed.load(Ordering::Relaxed);
            let mut bucket = proto::Bucket::default();
            bucket.set_cumulative_count(count);
            bucket.set_upper_bound(bound as f64 / self.per_unit);
            buckets.push(bucket);
        }
        count += self.buckets[self.bounds.len()].load(Ordering::Relaxed);
        let mut out = proto::Histogram::default();
        out.set_bucket(buckets);
        out.set_sample_count(count);
        out.set_sample_sum(self.sum.load(Ordering::Relaxed) as f64 / self.per_unit);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_counts_at_and_below_its_bound() {
        let histogram = Histogram::of_durations();
        for nanos in [0, 10_000, 10_001, 61_000_000_000] {
            histogram.observe_duration(Duration::from_nanos(nanos));
        }
        let snapshot = histogram.snapshot();
        let cumulative = |bound: f64| {
            let bucket = snapshot.get_bucket().iter().find(|b| b.upper_bound() == bound);
            bucket.expect("the bound is exactly the decimal number").cumulative_count()
        };
        assert_eq!(cumulative(0.00001), 2);
        assert_eq!(cumulative(0.000025), 3);
        assert_eq!(cumulative(60.0), 3);
        assert_eq!(histogram.duration(), DurationStatistics { count: 4, ns: 61_000_020_001 });
        assert_eq!(snapshot.get_sample_count(), 4, "what is beyond the last bound counts too");
        assert!((snapshot.get_sample_sum() - 61.000_020_001).abs() < 1e-9);
    }

    #[test]
    fn bounds_rise() {
        for bounds in [DURATIONS, ROWS] {
            assert!(bounds.is_sorted_by(|a, b| a < b));
        }
    }
}
