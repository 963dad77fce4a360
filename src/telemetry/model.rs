//! The series of one model version, resolved when it is loaded and gone when it is unloaded.
//!
//! While a version is reloaded, its old and its new load live side by side: they share the series
//! (counters go on), each adds its own part to the gauges and takes it away when it is dropped.

use super::exposition::Exposition;
use super::families;
use super::histogram::Histogram;
use super::request::RequestRecord;
use super::statistics::{ModelStatistics, RunRecord, Runs, Tally, nanos};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// The code of an answered request.
const OK: &str = "ok";

/// Where a code counts that is not in the list: a fault of ours, shown so that it is found.
const OTHER: &str = "other";

type Key = (String, String);

/// Which model versions have series now.
#[derive(Debug, Default)]
pub(super) struct ModelTable {
    live: Mutex<BTreeMap<Key, Weak<Series>>>,
}

impl ModelTable {
    // A std mutex: held for a look-up only, and never while a series is dropped, which locks it too.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Weak<Series>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The series of a version: those that are there, or new ones.
    fn series(self: &Arc<Self>, key: Key, lists: &Lists) -> Arc<Series> {
        let mut live = self.lock();
        if let Some(series) = live.get(&key).and_then(Weak::upgrade) {
            return series;
        }
        let series = Arc::new(Series::new(Arc::clone(self), key.clone(), lists.clone()));
        live.insert(key, Arc::downgrade(&series));
        series
    }

    pub(super) fn expose(&self, out: &mut Exposition) {
        // Upgraded first and dropped after the lock is gone: the last owner may go meanwhile, and
        // its drop, which would then be ours, takes the lock.
        let live: Vec<_> = self.lock().values().filter_map(Weak::upgrade).collect();
        for series in &live {
            series.expose(out);
        }
    }
}

/// The closed lists of label values.
#[derive(Debug, Clone)]
pub(super) struct Lists {
    pub(super) codes: Arc<[&'static str]>,
    pub(super) batching: Arc<[&'static str]>,
}

/// Requests by code: the first counts answers, the last what is in no list.
#[derive(Debug)]
pub(super) struct CodeCounters {
    codes: Arc<[&'static str]>,
    counts: Box<[AtomicU64]>,
}

impl CodeCounters {
    pub(super) fn new(codes: Arc<[&'static str]>) -> Self {
        let counts = (0..codes.len() + 2).map(|_| AtomicU64::new(0)).collect();
        Self { codes, counts }
    }

    pub(super) fn add(&self, failure: Option<&str>) {
        let idx = match failure {
            None => 0,
            // Errors are rare, and the list is short.
            Some(code) => {
                1 + self.codes.iter().position(|c| *c == code).unwrap_or(self.codes.len())
            }
        };
        self.counts[idx].fetch_add(1, Ordering::Relaxed);
    }

    /// How many were answered, and how many were not.
    fn totals(&self) -> (u64, u64) {
        let mut counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        (counts.next().unwrap_or(0), counts.sum())
    }

    pub(super) fn expose(&self, out: &mut Exposition, model: &str, version: &str) {
        let names = std::iter::once(OK).chain(self.codes.iter().copied()).chain([OTHER]);
        for (name, count) in names.zip(&self.counts) {
            let count = count.load(Ordering::Relaxed);
            if name != OTHER || count > 0 {
                out.number(&families::REQUESTS, &[model, version, name], count as f64);
            }
        }
    }
}

/// Gauges to which each load of a version adds its own part.
#[derive(Debug, Clone, Copy)]
enum Level {
    Queue,
    QueueCapacity,
    Inflight,
    Instances,
    Memory,
    /// How many loads of the version answer; exported as 0 or 1.
    Ready,
}

type Levels = [AtomicI64; 6];

/// What one version of one model exports.
#[derive(Debug)]
struct Series {
    table: Arc<ModelTable>,
    key: Key,
    batching_names: Arc<[&'static str]>,
    requests: CodeCounters,
    total: Histogram,
    /// Nanoseconds of the requests that were answered, and of those that were not: `total` holds both.
    success_nanos: AtomicU64,
    fail_nanos: AtomicU64,
    runs: Runs,
    decode: Histogram,
    queue: Histogram,
    input: Histogram,
    compute: Histogram,
    output: Histogram,
    encode: Histogram,
    batch_rows: Histogram,
    run_positions: AtomicU64,
    padding_positions: AtomicU64,
    levels: Levels,
    restarts: AtomicU64,
    stuck_runs: AtomicU64,
    /// Position in `batching_names`; beyond it until the value is known.
    batching: AtomicUsize,
    load_nanos: AtomicU64,
    /// In the order of [`Verification::ALL`].
    verifications: [AtomicU64; 3],
}

/// What came of running a row of a batch again alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// The same answer.
    Same,
    /// Another answer.
    Different,
    /// It was not run, or the model raised.
    Skipped,
}

impl Verification {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Same, "same"), (Self::Different, "different"), (Self::Skipped, "skipped")];
}

impl Series {
    fn new(table: Arc<ModelTable>, key: Key, lists: Lists) -> Self {
        Self {
            table,
            key,
            batching_names: lists.batching,
            requests: CodeCounters::new(lists.codes),
            total: Histogram::of_durations(),
            success_nanos: AtomicU64::new(0),
            fail_nanos: AtomicU64::new(0),
            runs: Runs::new(),
            decode: Histogram::of_durations(),
            queue: Histogram::of_durations(),
            input: Histogram::of_durations(),
            compute: Histogram::of_durations(),
            output: Histogram::of_durations(),
            encode: Histogram::of_durations(),
            batch_rows: Histogram::of_rows(),
            run_positions: AtomicU64::new(0),
            padding_positions: AtomicU64::new(0),
            levels: Levels::default(),
            restarts: AtomicU64::new(0),
            stuck_runs: AtomicU64::new(0),
            batching: AtomicUsize::new(usize::MAX),
            load_nanos: AtomicU64::new(0),
            verifications: Default::default(),
        }
    }

    fn expose(&self, out: &mut Exposition) {
        let (model, version) = (self.key.0.as_str(), self.key.1.as_str());
        self.requests.expose(out, model, version);
        let labels = &[model, version];
        let mut histogram =
            |family, histogram: &Histogram| out.histogram(family, labels, histogram.snapshot());
        histogram(&families::REQUEST_DURATION, &self.total);
        histogram(&families::DECODE_DURATION, &self.decode);
        histogram(&families::QUEUE_DURATION, &self.queue);
        histogram(&families::INPUT_DURATION, &self.input);
        histogram(&families::COMPUTE_DURATION, &self.compute);
        histogram(&families::OUTPUT_DURATION, &self.output);
        histogram(&families::ENCODE_DURATION, &self.encode);
        histogram(&families::BATCH_ROWS, &self.batch_rows);
        let level = |level: Level| self.levels[level as usize].load(Ordering::Relaxed) as f64;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        out.number(&families::RUN_POSITIONS, labels, count(&self.run_positions));
        out.number(&families::PADDING_POSITIONS, labels, count(&self.padding_positions));
        out.number(&families::QUEUE_LENGTH, labels, level(Level::Queue));
        out.number(&families::QUEUE_CAPACITY, labels, level(Level::QueueCapacity));
        out.number(&families::INFLIGHT_REQUESTS, labels, level(Level::Inflight));
        out.number(&families::INSTANCES, labels, level(Level::Instances));
        out.number(&families::INSTANCE_RESTARTS, labels, count(&self.restarts));
        out.number(&families::STUCK_RUNS, labels, count(&self.stuck_runs));
        out.number(&families::MODEL_MEMORY, labels, level(Level::Memory));
        out.number(&families::MODEL_READY, labels, level(Level::Ready).min(1.0));
        out.number(&families::MODEL_LOAD_DURATION, labels, count(&self.load_nanos) / 1e9);
        for ((_, outcome), counter) in Verification::ALL.iter().zip(&self.verifications) {
            let labels = &[model, version, outcome];
            out.number(&families::BATCHING_VERIFICATIONS, labels, count(counter));
        }
        let holds = self.batching.load(Ordering::Relaxed);
        for (idx, name) in self.batching_names.iter().enumerate() {
            let value = if idx == holds { 1.0 } else { 0.0 };
            out.number(&families::MODEL_BATCHING, &[model, version, name], value);
        }
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        let mut live = self.table.lock();
        // A new load may have found our entry dead and put its own there before we got the lock.
        if live.get(&self.key).is_some_and(|entry| std::ptr::eq(entry.as_ptr(), self)) {
            live.remove(&self.key);
        }
    }
}

/// What one load of a model version writes to. Its series exist from the first load on and vanish
/// with the last handle; nothing here looks up a label or allocates.
#[derive(Debug)]
pub struct ModelMetrics {
    series: Arc<Series>,
    own: Levels,
}

impl ModelMetrics {
    pub(super) fn new(table: &Arc<ModelTable>, model: &str, version: &str, lists: &Lists) -> Self {
        let series = table.series((model.to_owned(), version.to_owned()), lists);
        Self { series, own: Levels::default() }
    }

    /// Counts a request that is over.
    pub fn record_request(&self, record: &RequestRecord) {
        let series = &*self.series;
        series.requests.add(record.failure);
        series.total.observe_duration(record.total);
        let sum = if record.failure.is_none() { &series.success_nanos } else { &series.fail_nanos };
        sum.fetch_add(nanos(record.total), Ordering::Relaxed);
        let phases = [
            (&series.decode, record.decode),
            (&series.queue, record.queue),
            (&series.input, record.input),
            (&series.compute, record.compute),
            (&series.output, record.output),
            (&series.encode, record.encode),
        ];
        for (histogram, duration) in phases {
            if let Some(duration) = duration {
                histogram.observe_duration(duration);
            }
        }
    }

    /// Counts a run that gave answers, for [`ModelMetrics::statistics`].
    pub fn record_run(&self, run: &RunRecord) {
        self.series.runs.record(run);
    }

    /// What has been counted of this version since it was first loaded.
    #[must_use]
    pub fn statistics(&self) -> ModelStatistics {
        let series = &*self.series;
        let ns = |sum: &AtomicU64| sum.load(Ordering::Relaxed);
        let (answered, failed) = series.requests.totals();
        let mut statistics = ModelStatistics {
            success: Tally { count: answered, ns: ns(&series.success_nanos) },
            fail: Tally { count: failed, ns: ns(&series.fail_nanos) },
            queue: series.queue.tally(),
            compute_input: series.input.tally(),
            compute_infer: series.compute.tally(),
            compute_output: series.output.tally(),
            ..ModelStatistics::default()
        };
        series.runs.tell(&mut statistics);
        statistics
    }

    /// Counts a run of the model, whatever comes of it.
    pub fn observe_batch(&self, n_rows: usize) {
        self.series.batch_rows.observe(n_rows as u64);
    }

    /// Counts the positions of a run's padded dimension over all rows, and those that are padding.
    pub fn observe_padding(&self, positions: usize, padding: usize) {
        self.series.run_positions.fetch_add(positions as u64, Ordering::Relaxed);
        self.series.padding_positions.fetch_add(padding as u64, Ordering::Relaxed);
    }

    /// So many requests more (or fewer) wait in the queue.
    pub fn queue_changed(&self, delta: i64) {
        self.add(Level::Queue, delta);
    }

    /// Requests that may wait in this load's queue at once.
    pub fn set_queue_capacity(&self, capacity: usize) {
        self.set(Level::QueueCapacity, i64::try_from(capacity).unwrap_or(i64::MAX));
    }

    /// So many requests more (or fewer) are between arrival and answer; see `RequestGuard`.
    pub fn inflight_changed(&self, delta: i64) {
        self.add(Level::Inflight, delta);
    }

    /// So many instances more (or fewer) run the model.
    pub fn instances_changed(&self, delta: i64) {
        self.add(Level::Instances, delta);
    }

    /// An instance was rebuilt after a fault.
    pub fn instance_restarted(&self) {
        self.series.restarts.fetch_add(1, Ordering::Relaxed);
    }

    /// A run went on past deadline and grace.
    pub fn run_stuck(&self) {
        self.series.stuck_runs.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes that this load's weights take.
    pub fn set_memory(&self, bytes: u64) {
        self.set(Level::Memory, i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Whether this load answers requests.
    pub fn set_ready(&self, ready: bool) {
        self.set(Level::Ready, i64::from(ready));
    }

    /// Whether and why not requests are put together; one of the list given at construction.
    pub fn set_batching(&self, batching: &str) {
        let names = &self.series.batching_names;
        let idx = names.iter().position(|name| *name == batching).unwrap_or(usize::MAX);
        self.series.batching.store(idx, Ordering::Relaxed);
    }

    /// Counts a row that was, or was to be, run again alone.
    pub fn verified(&self, outcome: Verification) {
        self.series.verifications[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How long the version took to become ready.
    pub fn set_load_duration(&self, duration: Duration) {
        self.series.load_nanos.store(nanos(duration), Ordering::Relaxed);
    }

    fn add(&self, level: Level, delta: i64) {
        self.own[level as usize].fetch_add(delta, Ordering::Relaxed);
        self.series.levels[level as usize].fetch_add(delta, Ordering::Relaxed);
    }

    fn set(&self, level: Level, value: i64) {
        let before = self.own[level as usize].swap(value, Ordering::Relaxed);
        self.series.levels[level as usize].fetch_add(value - before, Ordering::Relaxed);
    }
}

impl Drop for ModelMetrics {
    fn drop(&mut self) {
        for (own, shared) in self.own.iter().zip(&self.series.levels) {
            shared.fetch_sub(own.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// The name under which requests count that named no served model.
pub(super) const UNKNOWN: &str = "<unknown>";

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::proto;

    fn lists() -> Lists {
        Lists { codes: ["bad", "late"].into(), batching: ["safe", "off"].into() }
    }

    #[track_caller]
    fn values(table: &Arc<ModelTable>, family: &str) -> Vec<f64> {
        let mut out = Exposition::default();
        table.expose(&mut out);
        let families = out.into_families();
        let family = families.iter().find(|f| f.name() == family);
        let value = |metric: &proto::Metric| {
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        family.map_or(vec![], |f| f.get_metric().iter().map(value).collect())
    }

    #[test]
    fn loads_of_one_version_share_its_series_and_add_to_its_gauges() {
        let table = Arc::<ModelTable>::default();
        let old = ModelMetrics::new(&table, "m", "1", &lists());
        old.instances_changed(2);
        old.set_ready(true);
        old.set_memory(100);
        old.record_request(&RequestRecord::default());
        let new = ModelMetrics::new(&table, "m", "1", &lists());
        new.set_memory(150);
        new.set_memory(110);
        assert_eq!(values(&table, "sconce_model_ready"), [1.0], "the old load still answers");
        new.set_ready(true);
        assert_eq!(values(&table, "sconce_model_ready"), [1.0], "ready is 0 or 1");
        assert_eq!(values(&table, "sconce_model_memory_bytes"), [210.0]);
        drop(old);
        assert_eq!(values(&table, "sconce_model_ready"), [1.0]);
        assert_eq!(values(&table, "sconce_model_memory_bytes"), [110.0]);
        assert_eq!(values(&table, "sconce_instances"), [0.0], "a drop takes its own part away");
        assert_eq!(values(&table, "sconce_requests_total"), [1.0, 0.0, 0.0], "counters go on");
        drop(new);
        let left = values(&table, "sconce_model_ready");
        assert!(left.is_empty(), "the series vanish with the last load");
        assert!(table.lock().is_empty());
    }

    #[test]
    fn a_late_drop_leaves_the_series_of_a_new_load_alone() {
        let table = Arc::<ModelTable>::default();
        let old = table.series(("m".to_owned(), "1".to_owned()), &lists());
        // As if the new load had come between the last handle's end and its drop taking the lock.
        table.lock().clear();
        let new = ModelMetrics::new(&table, "m", "1", &lists());
        drop(old);
        new.set_ready(true);
        assert_eq!(values(&table, "sconce_model_ready"), [1.0]);
    }

    #[test]
    fn a_code_outside_the_list_counts_as_other() {
        let table = Arc::<ModelTable>::default();
        let model = ModelMetrics::new(&table, "m", "1", &lists());
        model.record_request(&RequestRecord { failure: Some("late"), ..RequestRecord::default() });
        assert_eq!(values(&table, "sconce_requests_total"), [0.0, 0.0, 1.0]);
        model.record_request(&RequestRecord { failure: Some("never"), ..RequestRecord::default() });
        assert_eq!(values(&table, "sconce_requests_total"), [0.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn statistics_tell_answers_from_failures() {
        let table = Arc::<ModelTable>::default();
        let model = ModelMetrics::new(&table, "m", "1", &lists());
        let phase = Some(Duration::from_nanos(7));
        let whole = RequestRecord {
            queue: phase,
            input: phase,
            compute: phase,
            output: phase,
            total: Duration::from_nanos(100),
            ..RequestRecord::default()
        };
        model.record_request(&whole);
        model.record_request(&whole);
        let total = Duration::from_nanos(30);
        for failure in ["late", "never"] {
            let failure = Some(failure);
            model.record_request(&RequestRecord { failure, total, ..RequestRecord::default() });
        }
        let statistics = model.statistics();
        assert_eq!(statistics.success, Tally { count: 2, ns: 200 });
        assert_eq!(statistics.fail, Tally { count: 2, ns: 60 });
        let ModelStatistics { queue, compute_input, compute_infer, compute_output, .. } =
            statistics;
        for phase in [queue, compute_input, compute_infer, compute_output] {
            assert_eq!(phase, Tally { count: 2, ns: 14 });
        }
        assert_eq!((statistics.execution_count, statistics.last_inference), (0, None));
    }

    #[test]
    fn one_batching_value_holds() {
        let table = Arc::<ModelTable>::default();
        let model = ModelMetrics::new(&table, "m", "1", &lists());
        assert_eq!(values(&table, "sconce_model_batching"), [0.0, 0.0]);
        model.set_batching("safe");
        model.set_batching("off");
        assert_eq!(values(&table, "sconce_model_batching"), [0.0, 1.0]);
    }
}
