//! The figures of a model version as plain numbers, for protocols that report them in a shape of their
//! own, and the counts of runs behind them.
//!
//! They are sums since the version was first loaded, made from what is counted anyway; only runs by
//! their size and the moment of the last one are kept for this alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Runs of at most so many rows are told apart by their size. Larger ones count all the same, under
/// no size: the list of a model that takes any number of rows must not grow with its clients' ideas.
const MAX_SIZE: usize = 256;

/// How often something happened, and how long it took altogether.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DurationStatistics {
    /// How often.
    pub count: u64,
    /// Nanoseconds.
    pub ns: u64,
}

/// What is known about one version, since it was first loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelStatistics {
    /// When a run last gave an answer.
    pub last_inference: Option<SystemTime>,
    /// Rows that were answered.
    pub inference_count: u64,
    /// Runs that gave answers.
    pub execution_count: u64,
    /// Requests that were answered with a prediction, from arrival to answer.
    pub success: DurationStatistics,
    /// Requests that were not.
    pub fail: DurationStatistics,
    /// Waiting in the queue, for each request that was answered; so are the next three.
    pub queue: DurationStatistics,
    /// Putting the batch together and handing it to the device.
    pub compute_input: DurationStatistics,
    /// The model's own run.
    pub compute_infer: DurationStatistics,
    /// Getting the outputs back and cutting them apart.
    pub compute_output: DurationStatistics,
    /// Runs by their rows, the smallest first.
    pub batches: Vec<BatchStatistics>,
}

/// Runs of one size; counted once a run, however many requests shared it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchStatistics {
    /// Rows of each.
    pub batch_size: usize,
    /// Putting the batch together and handing it to the device.
    pub compute_input: DurationStatistics,
    /// The model's own run.
    pub compute_infer: DurationStatistics,
    /// Getting the outputs back and cutting them apart.
    pub compute_output: DurationStatistics,
}

/// A run that gave answers.
#[derive(Debug, Clone, Copy)]
pub struct RunRecord {
    /// Rows of all its requests.
    pub n_rows: usize,
    /// Putting the batch together and handing it to the device.
    pub input: Duration,
    /// The model's own run.
    pub compute: Duration,
    /// Getting the outputs back and cutting them apart.
    pub output: Duration,
    /// When it was over.
    pub ended_at: Instant,
}

/// Runs by their size: four additions and a store a run, on two lines of memory.
#[derive(Debug)]
pub(super) struct Runs {
    /// By rows; the first, which no run has, holds those that are larger than the list.
    sizes: Box<[Size]>,
    larger_rows: AtomicU64,
    /// Nanoseconds from `since` to the end of the last run; 0 before the first.
    last: AtomicU64,
    since: Instant,
}

#[derive(Debug, Default)]
struct Size {
    runs: AtomicU64,
    input: AtomicU64,
    compute: AtomicU64,
    output: AtomicU64,
}

impl Runs {
    pub(super) fn new() -> Self {
        Self {
            sizes: (0..=MAX_SIZE).map(|_| Size::default()).collect(),
            larger_rows: AtomicU64::new(0),
            last: AtomicU64::new(0),
            since: Instant::now(),
        }
    }

    pub(super) fn record(&self, run: &RunRecord) {
        let size = self.sizes.get(run.n_rows).unwrap_or_else(|| {
            self.larger_rows.fetch_add(run.n_rows as u64, Ordering::Relaxed);
            &self.sizes[0]
        });
        size.runs.fetch_add(1, Ordering::Relaxed);
        size.input.fetch_add(nanos(run.input), Ordering::Relaxed);
        size.compute.fetch_add(nanos(run.compute), Ordering::Relaxed);
        size.output.fetch_add(nanos(run.output), Ordering::Relaxed);
        let last = nanos(run.ended_at.saturating_duration_since(self.since));
        self.last.store(last.max(1), Ordering::Relaxed);
    }

    /// Adds what is known about runs.
    pub(super) fn report(&self, statistics: &mut ModelStatistics) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (batch_size, size) in self.sizes.iter().enumerate() {
            let count = read(&size.runs);
            if count == 0 {
                continue;
            }
            statistics.execution_count += count;
            statistics.inference_count += count * batch_size as u64;
            if batch_size == 0 {
                continue;
            }
            let duration = |ns| DurationStatistics { count, ns: read(ns) };
            statistics.batches.push(BatchStatistics {
                batch_size,
                compute_input: duration(&size.input),
                compute_infer: duration(&size.compute),
                compute_output: duration(&size.output),
            });
        }
        statistics.inference_count += read(&self.larger_rows);
        statistics.last_inference = match read(&self.last) {
            0 => None,
            // From now backwards, so that a clock that was set meanwhile gives its own time.
            last => {
                let ago = self.since.elapsed().saturating_sub(Duration::from_nanos(last));
                SystemTime::now().checked_sub(ago)
            }
        };
    }
}

pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(runs: &Runs) -> ModelStatistics {
        let mut statistics = ModelStatistics::default();
        runs.report(&mut statistics);
        statistics
    }

    #[test]
    fn runs_are_summed_by_their_size_and_large_ones_beside() {
        let runs = Runs::new();
        assert_eq!(reported(&runs), ModelStatistics::default());
        for n_rows in [3, 1, 3, MAX_SIZE, MAX_SIZE + 1, 1000] {
            let nanos = |n: usize| Duration::from_nanos(n as u64);
            let (input, compute, output) = (nanos(n_rows), nanos(10 * n_rows), nanos(1));
            runs.record(&RunRecord { n_rows, input, compute, output, ended_at: Instant::now() });
        }
        let reported = reported(&runs);
        assert_eq!(reported.execution_count, 6);
        assert_eq!(reported.inference_count, (3 + 1 + 3 + MAX_SIZE + MAX_SIZE + 1 + 1000) as u64);
        let sizes: Vec<_> = reported.batches.iter().map(|batch| batch.batch_size).collect();
        assert_eq!(sizes, [1, 3, MAX_SIZE]);
        let expected = BatchStatistics {
            batch_size: 3,
            compute_input: DurationStatistics { count: 2, ns: 6 },
            compute_infer: DurationStatistics { count: 2, ns: 60 },
            compute_output: DurationStatistics { count: 2, ns: 2 },
        };
        assert_eq!(reported.batches[1], expected);
    }

    #[test]
    fn the_last_run_is_told_by_the_clock_on_the_wall() {
        let runs = Runs::new();
        let ago = Duration::from_secs(100);
        let ended_at = Instant::now() + ago;
        let zero = Duration::ZERO;
        runs.record(&RunRecord { n_rows: 1, input: zero, compute: zero, output: zero, ended_at });
        let last = reported(&runs).last_inference.unwrap();
        assert!(last <= SystemTime::now() && last > SystemTime::now() - ago);
    }
}
