//! The one set of metrics of a process, and its text for Prometheus.

use super::exposition::{Exposition, Family};
use super::families;
use super::http::HttpMetrics;
use super::model::{CodeCounters, Lists, ModelMetrics, ModelTable, UNKNOWN};
use super::process;
use prometheus::core::{Collector, Desc};
use prometheus::{Registry, TextEncoder, proto};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the metrics say about the build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildFacts {
    /// Version of the program.
    pub version: String,
    /// Version of the library that runs the models; empty without one.
    pub libtorch: String,
}

/// The closed lists from which label values come, and the facts that never change.
#[derive(Debug, Clone, Default)]
pub struct MetricsOptions {
    /// What was built.
    pub build: BuildFacts,
    /// Every route, as the router writes it.
    pub routes: Vec<&'static str>,
    /// Every error code.
    pub codes: Vec<&'static str>,
    /// Every answer to whether requests are put together.
    pub batching: Vec<&'static str>,
}

/// A number that another room keeps, read at each scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// 1 while the server is ready.
    Ready,
    /// 1 while it shuts down.
    Draining,
    /// Bytes held by requests now.
    InflightBytes,
    /// Bytes that requests may hold at once.
    InflightBytesLimit,
    /// Log lines dropped.
    LogLinesDropped,
    /// Open connections of a listener.
    HttpConnections {
        /// Which listener.
        listener: &'static str,
    },
    /// Connections that a listener accepted.
    HttpAccepted {
        /// Which listener.
        listener: &'static str,
    },
    /// Connections that a listener ended on its own account.
    HttpClosed {
        /// Which listener.
        listener: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// Streams that a listener reset because their client was too slow.
    HttpStreamsReset {
        /// Which listener.
        listener: &'static str,
    },
    /// Times that a listener waited at its connection cap.
    HttpCapacityWaits {
        /// Which listener.
        listener: &'static str,
    },
    /// Times that a listener failed to accept.
    HttpAcceptErrors {
        /// Which listener.
        listener: &'static str,
    },
}

impl Reading {
    fn family_and_labels(&self) -> (&'static Family, Vec<&'static str>) {
        match *self {
            Self::Ready => (&families::READY, vec![]),
            Self::Draining => (&families::DRAINING, vec![]),
            Self::InflightBytes => (&families::INFLIGHT_BYTES, vec![]),
            Self::InflightBytesLimit => (&families::INFLIGHT_BYTES_LIMIT, vec![]),
            Self::LogLinesDropped => (&families::LOG_LINES_DROPPED, vec![]),
            Self::HttpConnections { listener } => (&families::HTTP_CONNECTIONS, vec![listener]),
            Self::HttpAccepted { listener } => (&families::HTTP_ACCEPTED, vec![listener]),
            Self::HttpClosed { listener, reason } => {
                (&families::HTTP_CLOSED, vec![listener, reason])
            }
            Self::HttpStreamsReset { listener } => (&families::HTTP_STREAMS_RESET, vec![listener]),
            Self::HttpCapacityWaits { listener } => {
                (&families::HTTP_CAPACITY_WAITS, vec![listener])
            }
            Self::HttpAcceptErrors { listener } => (&families::HTTP_ACCEPT_ERRORS, vec![listener]),
        }
    }
}

/// How the trial of a model file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialOutcome {
    /// The model may be served.
    Passed,
    /// The file is no model, or one that may not be served.
    Failed,
    /// The child process died.
    Crashed,
    /// The child process took too long.
    TimedOut,
    /// An earlier verdict held, no child was needed.
    Known,
}

impl TrialOutcome {
    const NAMES: [&'static str; 5] = ["passed", "failed", "crashed", "timed_out", "known"];
}

type ReadFn = Box<dyn Fn() -> u64 + Send + Sync>;

/// All that is exported. Cheap to clone: clones share everything.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
    registry: Registry,
}

struct Inner {
    build: BuildFacts,
    lists: Lists,
    models: Arc<ModelTable>,
    unresolved: CodeCounters,
    http: HttpMetrics,
    trials: [AtomicU64; TrialOutcome::NAMES.len()],
    /// Kept by the app, which adds a few at start; the lock is held while they are read.
    readings: Mutex<Vec<(Reading, ReadFn)>>,
}

impl Metrics {
    /// Metrics with no model and no reading yet.
    ///
    /// # Panics
    ///
    /// Never: the table of families is a constant, and a test registers it.
    #[must_use]
    pub fn new(options: MetricsOptions) -> Self {
        let codes: Arc<[_]> = options.codes.into();
        let inner = Arc::new(Inner {
            build: options.build,
            models: Arc::default(),
            unresolved: CodeCounters::new(Arc::clone(&codes)),
            lists: Lists { codes, batching: options.batching.into() },
            http: HttpMetrics::new(&options.routes),
            trials: Default::default(),
            readings: Mutex::default(),
        });
        let registry = Registry::new();
        let descriptions = families::ALL.iter().map(Family::describe);
        let descriptions = descriptions.collect::<Result<_, _>>();
        let descriptions = descriptions.expect("the names and labels of the table are valid");
        let scrape = Scrape { inner: Arc::clone(&inner), descriptions };
        registry.register(Box::new(scrape)).expect("a new registry knows no other name");
        Self { inner, registry }
    }

    /// The handle through which one load of a model version writes. Call it once for each load;
    /// the series vanish when the last handle of the version is dropped.
    #[must_use]
    pub fn model(&self, model: &str, version: &str) -> Arc<ModelMetrics> {
        let inner = &self.inner;
        Arc::new(ModelMetrics::new(&inner.models, model, version, &inner.lists))
    }

    /// Counts a request that named no served model. What it did name is not a label.
    pub fn record_unresolved(&self, code: &str) {
        self.inner.unresolved.add(Some(code));
    }

    /// Counts responses.
    #[must_use]
    pub fn http(&self) -> &HttpMetrics {
        &self.inner.http
    }

    /// Counts a trial.
    pub fn record_trial(&self, outcome: TrialOutcome) {
        self.inner.trials[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Has a number of another room read at each scrape; must not block. Called a second time, the
    /// new source takes the old one's place.
    pub fn read_at_scrape(
        &self,
        reading: Reading,
        source: impl Fn() -> u64 + Send + Sync + 'static,
    ) {
        let mut readings = self.inner.readings.lock().unwrap_or_else(PoisonError::into_inner);
        readings.retain(|(known, _)| *known != reading);
        readings.push((reading, Box::new(source)));
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
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("build", &self.inner.build).finish_non_exhaustive()
    }
}

/// Gathers everything when Prometheus asks.
struct Scrape {
    inner: Arc<Inner>,
    descriptions: Vec<Desc>,
}

impl Collector for Scrape {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let mut out = Exposition::default();
        let inner = &*self.inner;
        out.number(&families::BUILD_INFO, &[&inner.build.version, &inner.build.libtorch], 1.0);
        for (name, count) in TrialOutcome::NAMES.iter().zip(&inner.trials) {
            out.number(&families::TRIALS, &[name], count.load(Ordering::Relaxed) as f64);
        }
        for (reading, source) in
            inner.readings.lock().unwrap_or_else(PoisonError::into_inner).iter()
        {
            let (family, labels) = reading.family_and_labels();
            out.number(family, &labels, source() as f64);
        }
        inner.http.expose(&mut out);
        inner.unresolved.expose(&mut out, UNKNOWN, UNKNOWN);
        inner.models.expose(&mut out);
        process::expose(&mut out);
        out.into_families()
    }
}
