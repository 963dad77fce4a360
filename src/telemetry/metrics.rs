//! The one registry of a process, and its text for Prometheus.

use super::codes::Unresolved;
use super::collect::Collect;
use super::exposition::{Family, Samples};
use super::families;
use super::http::HttpMetrics;
use super::model::ModelMetrics;
use super::openmetrics;
use super::process::Process;
use super::readings::Readings;
use super::trials::{TrialOutcome, Trials};
use super::versions::{Lists, Versions};
use prometheus::core::{Collector, Desc};
use prometheus::{Registry, TextEncoder, proto};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The content type of [`Metrics::render_open`].
pub const OPEN_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the metrics say about the build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildInfo {
    /// Version of the program.
    pub version: String,
    /// Version of the library that runs the models; empty without one.
    pub libtorch: String,
}

/// The closed lists from which label values come, and the facts that never change.
#[derive(Debug, Clone, Default)]
pub struct MetricsOptions {
    /// What was built.
    pub build: BuildInfo,
    /// Every route, as the router writes it.
    pub routes: Vec<&'static str>,
    /// Every error code.
    pub codes: Vec<&'static str>,
    /// Every answer to whether requests are put together.
    pub batching: Vec<&'static str>,
}

/// All that is exported. Cheap to clone: clones share everything.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
    registry: Registry,
}

struct Inner {
    lists: Lists,
    versions: Arc<Versions>,
    unresolved: Arc<Unresolved>,
    http: Arc<HttpMetrics>,
    trials: Arc<Trials>,
    readings: Arc<Readings>,
    collectors: Arc<Collectors>,
}

/// Who is asked at a scrape; the lock is held meanwhile.
type Collectors = Mutex<Vec<Arc<dyn Collect>>>;

impl Metrics {
    /// Metrics with no model and no reading yet.
    ///
    /// # Panics
    ///
    /// Never: the table of families is a constant, and a test registers it.
    #[must_use]
    pub fn new(options: MetricsOptions) -> Self {
        let codes: Arc<[_]> = options.codes.into();
        let descriptions = families::all().map(Family::describe).collect::<Result<_, _>>();
        let descriptions = descriptions.expect("the names and labels of the table are valid");
        let collectors = Arc::<Collectors>::default();
        let registry = Registry::new();
        let scrape = Scrape { collectors: Arc::clone(&collectors), descriptions };
        registry.register(Box::new(scrape)).expect("a new registry knows no other name");
        let inner = Inner {
            versions: Arc::default(),
            unresolved: Arc::new(Unresolved::new(Arc::clone(&codes))),
            lists: Lists { codes, batching: options.batching.into() },
            http: Arc::new(HttpMetrics::new(&options.routes)),
            trials: Arc::default(),
            readings: Arc::default(),
            collectors,
        };
        let metrics = Self { inner: Arc::new(inner), registry };
        metrics.register(Arc::new(options.build));
        metrics.register(Arc::new(Process));
        metrics.register(Arc::<Trials>::clone(&metrics.inner.trials));
        metrics.register(Arc::<Readings>::clone(&metrics.inner.readings));
        metrics.register(Arc::<HttpMetrics>::clone(&metrics.inner.http));
        metrics.register(Arc::<Unresolved>::clone(&metrics.inner.unresolved));
        metrics.register(Arc::<Versions>::clone(&metrics.inner.versions));
        metrics
    }

    /// Has a room asked for what it counts, at each scrape from now on.
    pub fn register(&self, collector: Arc<dyn Collect>) {
        let mut collectors = self.inner.collectors.lock().unwrap_or_else(PoisonError::into_inner);
        collectors.push(collector);
    }

    /// The handle through which one load of a model version writes. Call it once for each load;
    /// the series vanish when the last handle of the version is dropped.
    #[must_use]
    pub fn model(&self, model: &str, version: &str) -> Arc<ModelMetrics> {
        let inner = &self.inner;
        Arc::new(ModelMetrics::new(&inner.versions, model, version, &inner.lists))
    }

    /// Counts a request that named no served model. What it did name is not a label.
    pub fn record_unresolved(&self, code: &str) {
        self.inner.unresolved.add(code);
    }

    /// Counts responses.
    #[must_use]
    pub fn http(&self) -> &HttpMetrics {
        &self.inner.http
    }

    /// Counts a trial.
    pub fn record_trial(&self, outcome: TrialOutcome) {
        self.inner.trials.add(outcome);
    }

    /// Has a number that somebody keeps anyway read at each scrape; must not block. Called a second time for the same family
    /// and labels, the new source takes the old one's place.
    pub fn read_at_scrape(
        &self,
        family: &'static Family,
        labels: &[&'static str],
        source: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        self.inner.readings.set(family, labels, Box::new(source));
    }

    /// Everything, in Prometheus' text format; see [`CONTENT_TYPE`]. Reads a few files of `/proc`.
    ///
    /// # Panics
    ///
    /// Never: the encoder refuses only families without a name, and ours come from the table.
    #[must_use]
    pub fn render(&self) -> String {
        let families = self.registry.gather();
        TextEncoder::new()
            .encode_to_string(&families)
            .expect("every family of the table has a name")
    }

    /// The same as OpenMetrics, with exemplars; see [`OPEN_CONTENT_TYPE`].
    #[must_use]
    pub fn render_open(&self) -> String {
        openmetrics::write(gather(&self.inner.collectors).into_sampled())
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("versions", &self.inner.versions).finish_non_exhaustive()
    }
}

impl Collect for BuildInfo {
    fn collect(&self, samples: &mut Samples) {
        samples.number(&families::BUILD_INFO, &[&self.version, &self.libtorch], 1.0);
    }
}

/// Asks everybody when Prometheus asks.
struct Scrape {
    collectors: Arc<Collectors>,
    descriptions: Vec<Desc>,
}

impl Collector for Scrape {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        gather(&self.collectors).into_families()
    }
}

fn gather(collectors: &Collectors) -> Samples {
    let mut samples = Samples::default();
    for collector in collectors.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        collector.collect(&mut samples);
    }
    samples
}
