//! What one load of a model version writes to.

use super::collect::VersionSeries;
use super::number::{Counter, GaugePart};
use super::phase::Phase;
use super::record::RequestRecord;
use super::statistics::{DurationStatistics, ModelStatistics, RunRecord, nanos};
use super::versions::{Lists, Series, Versions};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Its series exist from the first load on and vanish with the last handle; nothing here looks up a label or allocates, but
/// `series`, once a load.
#[derive(Debug)]
pub struct ModelMetrics {
    inflight: GaugePart,
    memory: GaugePart,
    ready: GaugePart,
    series: Arc<Series>,
}

impl ModelMetrics {
    pub(super) fn new(versions: &Arc<Versions>, model: &str, version: &str, lists: &Lists) -> Self {
        let series = versions.series((model.to_owned(), version.to_owned()), lists);
        let (inflight, memory) = (series.inflight.part(), series.memory.part());
        Self { inflight, memory, ready: series.ready.part(), series }
    }

    /// What a room exports of this version, shared with the other loads of it.
    #[must_use]
    pub fn series<T: VersionSeries + Default>(&self) -> Arc<T> {
        self.series.of_room()
    }

    /// Counts a request that is over.
    pub fn record_request(&self, record: &RequestRecord) {
        let series = &*self.series;
        series.requests.add(record.failure);
        series.total.observe_duration(record.total);
        let sum = if record.failure.is_none() { &series.success_nanos } else { &series.fail_nanos };
        sum.add(nanos(record.total));
        for (phase, duration) in record.phases.iter() {
            if let Some(duration) = *duration {
                series.phases[phase].observe_duration(duration);
            }
        }
    }

    /// Counts what the steps before a run had to do.
    pub fn record_work(&self, tokens: u64, pixels: u64) {
        self.series.tokens.add(tokens);
        self.series.pixels.add(pixels);
    }

    /// Says in which trace a request was that is counted already.
    pub fn set_exemplar(&self, record: &RequestRecord, trace: u128, span: u64) {
        self.series.total.set_exemplar(record.total, trace, span);
    }

    /// Counts a run that gave answers, for [`ModelMetrics::statistics`].
    pub fn record_run(&self, run: &RunRecord) {
        self.series.runs.record(run);
    }

    /// What has been counted of this version since it was first loaded.
    #[must_use]
    pub fn statistics(&self) -> ModelStatistics {
        let series = &*self.series;
        let duration = |count: u64, nanos: &Counter| DurationStatistics { count, ns: nanos.get() };
        let (answered, failed) = series.requests.totals();
        let mut statistics = ModelStatistics {
            success: duration(answered, &series.success_nanos),
            fail: duration(failed, &series.fail_nanos),
            queue: series.phases[Phase::Queue].duration(),
            compute_input: series.phases[Phase::Input].duration(),
            compute_infer: series.phases[Phase::Compute].duration(),
            compute_output: series.phases[Phase::Output].duration(),
            ..ModelStatistics::default()
        };
        series.runs.report(&mut statistics);
        statistics
    }

    /// So many requests more (or fewer) are between arrival and answer; see `RequestGuard`.
    pub fn inflight_changed(&self, delta: i64) {
        self.inflight.add(delta);
    }

    /// Bytes that this load's weights take.
    pub fn set_memory(&self, bytes: u64) {
        self.memory.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Whether this load answers requests.
    pub fn set_ready(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }

    /// Whether and why not requests are put together; one of the list given at construction.
    pub fn set_batching(&self, batching: &str) {
        let names = &self.series.batching_names;
        let idx = names.iter().position(|name| *name == batching).unwrap_or(usize::MAX);
        self.series.batching.store(idx, Ordering::Relaxed);
    }

    /// How long the version took to become ready.
    pub fn set_load_duration(&self, duration: Duration) {
        self.series.load_nanos.store(nanos(duration), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::collect::{Collect as _, VersionSamples};
    use crate::telemetry::exposition::Samples;
    use crate::telemetry::families;
    use crate::telemetry::number::Gauge;
    use crate::telemetry::phase::ByPhase;
    use prometheus::proto;

    /// What a room may add.
    #[derive(Default)]
    struct OfRoom(Gauge);

    impl VersionSeries for OfRoom {
        fn collect(&self, samples: &mut VersionSamples<'_>) {
            samples.number(&families::INSTANCES, self.0.get() as f64);
        }
    }

    fn lists() -> Lists {
        Lists { codes: ["bad", "late"].into(), batching: ["safe", "off"].into() }
    }

    #[track_caller]
    fn values(table: &Arc<Versions>, family: &str) -> Vec<f64> {
        let mut out = Samples::default();
        table.collect(&mut out);
        let families = out.into_families();
        let family = families.iter().find(|f| f.name() == family);
        let value = |metric: &proto::Metric| {
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        family.map_or(vec![], |f| f.get_metric().iter().map(value).collect())
    }

    #[test]
    fn loads_of_one_version_share_its_series_and_add_to_its_gauges() {
        let table = Arc::<Versions>::default();
        let old = ModelMetrics::new(&table, "m", "1", &lists());
        let instances = old.series::<OfRoom>().0.part();
        instances.add(2);
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
        assert_eq!(values(&table, "sconce_instances"), [2.0]);
        new.series::<OfRoom>().0.part().set(7);
        drop((old, instances));
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
        let table = Arc::<Versions>::default();
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
        let table = Arc::<Versions>::default();
        let model = ModelMetrics::new(&table, "m", "1", &lists());
        model.record_request(&RequestRecord { failure: Some("late"), ..RequestRecord::default() });
        assert_eq!(values(&table, "sconce_requests_total"), [0.0, 0.0, 1.0]);
        model.record_request(&RequestRecord { failure: Some("never"), ..RequestRecord::default() });
        assert_eq!(values(&table, "sconce_requests_total"), [0.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn statistics_tell_answers_from_failures() {
        let table = Arc::<Versions>::default();
        let model = ModelMetrics::new(&table, "m", "1", &lists());
        let phase = Some(Duration::from_nanos(7));
        let whole = RequestRecord {
            phases: ByPhase::from_fn(|_| phase),
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
        assert_eq!(statistics.success, DurationStatistics { count: 2, ns: 200 });
        assert_eq!(statistics.fail, DurationStatistics { count: 2, ns: 60 });
        let ModelStatistics { queue, compute_input, compute_infer, compute_output, .. } =
            statistics;
        for phase in [queue, compute_input, compute_infer, compute_output] {
            assert_eq!(phase, DurationStatistics { count: 2, ns: 14 });
        }
        assert_eq!((statistics.execution_count, statistics.last_inference), (0, None));
    }

    #[test]
    fn one_batching_value_holds() {
        let table = Arc::<Versions>::default();
        let model = ModelMetrics::new(&table, "m", "1", &lists());
        assert_eq!(values(&table, "sconce_model_batching"), [0.0, 0.0]);
        model.set_batching("safe");
        model.set_batching("off");
        assert_eq!(values(&table, "sconce_model_batching"), [0.0, 1.0]);
    }
}
