//! What the scheduler exports of a version: its queue, its runs, its instances. The one place for a new metric of this room.

use crate::engine::{Death, Fault};
use crate::telemetry::families;
use crate::telemetry::{
    Counter, Gauge, GaugePart, Histogram, ModelMetrics, VersionSamples, VersionSeries,
};
use std::sync::Arc;

/// What came of running a row of a batch again alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verification {
    /// The same answer.
    Same,
    /// Another answer.
    Different,
    /// It was not run, or the model raised.
    Skipped,
}

impl Verification {
    const NAMES: [&'static str; 3] = ["same", "different", "skipped"];
}

/// How a process ended that ran a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Crashed,
    Killed,
    OutOfMemory,
    TimedOut,
}

impl Cause {
    const NAMES: [&'static str; 4] = ["crashed", "killed", "out_of_memory", "timed_out"];

    const fn of(fault: Fault) -> Self {
        match fault {
            Fault::Died(Death::Terminated) => Self::Killed,
            Fault::Died(Death::OutOfMemory) => Self::OutOfMemory,
            Fault::TimedOut => Self::TimedOut,
            _ => Self::Crashed,
        }
    }
}

/// The series of a version, which all its loads share.
#[derive(Debug)]
struct Series {
    batch_rows: Histogram,
    run_positions: Counter,
    padding_positions: Counter,
    queue: Gauge,
    queue_capacity: Gauge,
    instances: Gauge,
    restarts: Counter,
    stuck_runs: Counter,
    /// In the order of [`Cause::NAMES`].
    deaths: [Counter; Cause::NAMES.len()],
    killers: Counter,
    /// In the order of [`Verification::NAMES`].
    verifications: [Counter; Verification::NAMES.len()],
}

impl Default for Series {
    fn default() -> Self {
        Self {
            batch_rows: Histogram::of_rows(),
            run_positions: Counter::default(),
            padding_positions: Counter::default(),
            queue: Gauge::default(),
            queue_capacity: Gauge::default(),
            instances: Gauge::default(),
            restarts: Counter::default(),
            stuck_runs: Counter::default(),
            deaths: Default::default(),
            killers: Counter::default(),
            verifications: Default::default(),
        }
    }
}

impl VersionSeries for Series {
    fn collect(&self, samples: &mut VersionSamples<'_>) {
        samples.histogram(&families::BATCH_ROWS, &self.batch_rows);
        let counters = [
            (&families::RUN_POSITIONS, &self.run_positions),
            (&families::PADDING_POSITIONS, &self.padding_positions),
            (&families::INSTANCE_RESTARTS, &self.restarts),
            (&families::STUCK_RUNS, &self.stuck_runs),
            (&families::MODEL_KILLERS, &self.killers),
        ];
        for (family, counter) in counters {
            samples.number(family, counter.get() as f64);
        }
        let gauges = [
            (&families::QUEUE_LENGTH, &self.queue),
            (&families::QUEUE_CAPACITY, &self.queue_capacity),
            (&families::INSTANCES, &self.instances),
        ];
        for (family, gauge) in gauges {
            samples.number(family, gauge.get() as f64);
        }
        for (cause, counter) in Cause::NAMES.iter().zip(&self.deaths) {
            samples.labeled(&families::MODEL_DEATHS, cause, counter.get() as f64);
        }
        for (outcome, counter) in Verification::NAMES.iter().zip(&self.verifications) {
            samples.labeled(&families::BATCHING_VERIFICATIONS, outcome, counter.get() as f64);
        }
    }
}

/// What one load of a version writes to.
#[derive(Debug)]
pub(super) struct SchedulerMetrics {
    queue: GaugePart,
    queue_capacity: GaugePart,
    instances: GaugePart,
    series: Arc<Series>,
}

impl SchedulerMetrics {
    pub(super) fn new(version: &ModelMetrics) -> Self {
        let series = version.series::<Series>();
        let (queue, queue_capacity) = (series.queue.part(), series.queue_capacity.part());
        Self { queue, queue_capacity, instances: series.instances.part(), series }
    }

    /// Counts a run of the model, whatever comes of it.
    pub(super) fn observe_batch(&self, n_rows: usize) {
        self.series.batch_rows.observe(n_rows as u64);
    }

    /// Counts the positions of a run's padded dimension over all rows, and those that are padding.
    pub(super) fn observe_padding(&self, positions: usize, padding: usize) {
        self.series.run_positions.add(positions as u64);
        self.series.padding_positions.add(padding as u64);
    }

    /// So many requests more (or fewer) wait in the queue.
    pub(super) fn queue_changed(&self, delta: i64) {
        self.queue.add(delta);
    }

    /// Requests that may wait in this load's queue at once.
    pub(super) fn set_queue_capacity(&self, capacity: usize) {
        self.queue_capacity.set(i64::try_from(capacity).unwrap_or(i64::MAX));
    }

    /// So many instances more (or fewer) run the model.
    pub(super) fn instances_changed(&self, delta: i64) {
        self.instances.add(delta);
    }

    /// An engine was rebuilt after a fault.
    pub(super) fn instance_restarted(&self) {
        self.series.restarts.add(1);
    }

    /// A run went on past deadline and grace.
    pub(super) fn run_stuck(&self) {
        self.series.stuck_runs.add(1);
    }

    /// The process that ran the model ended.
    pub(super) fn process_ended(&self, fault: Fault) {
        self.series.deaths[Cause::of(fault) as usize].add(1);
    }

    /// A request ended it, or was refused since its inputs had ended it before.
    pub(super) fn killer(&self) {
        self.series.killers.add(1);
    }

    /// Counts a row that was, or was to be, run again alone.
    pub(super) fn verified(&self, outcome: Verification) {
        self.series.verifications[outcome as usize].add(1);
    }
}
