//! The composition root: from a configuration to a running server, and down again.
//!
//! State is built here and handed down; nothing below reaches for a global. Ports are bound before
//! models are loaded, so that probes are answered from the first moment and a port in use is told
//! at once.

use crate::config::Config;
use crate::engine::remote::RemoteLoader;
use crate::engine::{Loader, STACK_BYTES};
use crate::http::{self, App};
use crate::inference::{Batching, ByteBudget, ErrorCode};
use crate::listener::{
    self, BindError, ConnectionStats, DrainPhase, DrainReport, Listener, ListenerOptions, Threads,
};
use crate::pipeline::Door;
use crate::protocol::predict;
use crate::repository::{
    self, Overrides, Repository, RepositoryError, SampleDecoder, VersionState, VersionStatus,
};
use crate::rollout::Rollouts;
use crate::rollout::golden::Goldens;
use crate::scheduler::Permits;
use crate::shutdown::{self, Outcome, Shutdown};
use crate::store::{self, Mirror, StoreError};
use crate::telemetry::events::{self, EventKind, Events};
use crate::telemetry::logging::{LogError, LogGuard, RequestLog};
use crate::telemetry::request_id::RequestIds;
use crate::telemetry::{BuildFacts, Family, Metrics, MetricsOptions, families};
use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long unloading may take at the end: the process ends anyway, this is for a clean log, and a run that hangs never
/// gives its model back.
const UNLOAD_PATIENCE: Duration = Duration::from_millis(500);

/// How long the first look at a store may take before the server starts without: a liveness probe must not end it
/// meanwhile. What has not come by then comes later.
const STORE_PATIENCE: Duration = Duration::from_secs(20);

/// Why the server does not run.
#[derive(Debug, Error)]
pub enum AppError {
    /// There is no log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The program was built without an engine, or asks for a device that is not there.
    #[error("{0}")]
    Engine(String),
    /// The models folder cannot be read.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The store that models come from cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A port cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system denies something that every server needs.
    #[error("the server cannot start: {0}")]
    System(#[from] io::Error),
}

/// The engines of this build: in this process, and in a child for what has not been tried.
#[derive(Clone)]
pub struct Engines {
    /// Loads what has been tried.
    pub loader: Arc<dyn Loader>,
    /// Loads what has not.
    pub trial_loader: Arc<dyn Loader>,
    /// The version of libtorch.
    pub libtorch: String,
    /// Digests of the libraries that were loaded for models.
    pub libraries: String,
}

impl std::fmt::Debug for Engines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engines").field("libtorch", &self.libtorch).finish_non_exhaustive()
    }
}

/// What has to be settled before the process has more than one thread.
pub fn prepare_process() {
    #[cfg(feature = "torch")]
    crate::engine::torch::prepare_process();
}

/// Bounds what models may take, by the configuration.
fn bound_memory(config: &Config) {
    #[cfg(feature = "torch")]
    crate::engine::torch::bound_memory(crate::engine::torch::MemoryBounds {
        process: config.limits.memory_bytes.0,
        buffers: config.limits.inflight_bytes.0,
        runs: config.threads.cpu_quota,
    });
    #[cfg(not(feature = "torch"))]
    let _ = config;
}

/// Ends the process, whose threads may be running models: nothing is waited for any more.
#[cfg(feature = "torch")]
fn end_process() -> ! {
    crate::engine::torch::end_process(0)
}

/// Ends the process.
#[cfg(not(feature = "torch"))]
fn end_process() -> ! {
    std::process::exit(0)
}

/// The loader of this build, with these libraries loaded for its models.
///
/// # Errors
///
/// The program was built without libtorch, or a library cannot be loaded.
#[cfg(feature = "torch")]
pub fn loader(libraries: &[PathBuf]) -> Result<(Arc<dyn Loader>, String), AppError> {
    use crate::engine::torch::TorchLoader;
    use crate::engine::{Format, Loaders};
    let loader = TorchLoader::new();
    loader.log_messages();
    if let Some(reason) = loader.no_cuda() {
        tracing::debug!(reason, "CUDA is not available");
    }
    for path in libraries {
        // A bare name would be looked for where the system's libraries lie.
        let loaded = std::path::absolute(path).map_err(|error| error.to_string());
        let loaded = loaded.and_then(|path| loader.load_library(&path).map_err(|it| it.message));
        loaded.map_err(|reason| {
            AppError::Engine(format!("libraries: {path:?} cannot be loaded: {reason}"))
        })?;
    }
    let loaders = Loaders::new().with(Format::TorchScript, Arc::new(loader));
    Ok((Arc::new(loaders), TorchLoader::libtorch_version()))
}

/// The loader of this build.
///
/// # Errors
///
/// The program was built without libtorch.
#[cfg(not(feature = "torch"))]
pub fn loader(_libraries: &[PathBuf]) -> Result<(Arc<dyn Loader>, String), AppError> {
    Err(AppError::Engine(
        "this program was built without libtorch and cannot run models".to_owned(),
    ))
}

impl Engines {
    /// The engines of this build, as the configuration wants them.
    ///
    /// # Errors
    ///
    /// There is no engine, not the device that the configuration names, or a library cannot be loaded.
    pub fn new(config: &Config) -> Result<Self, AppError> {
        let libraries = digests(&config.general.libraries)?;
        bound_memory(config);
        let (loader, libtorch) = loader(&config.general.libraries)?;
        let devices = loader.devices();
        if let Some(device) = config.fixed_device().filter(|device| !devices.contains(device)) {
            let there: Vec<_> = devices.iter().map(ToString::to_string).collect();
            let message =
                format!("device {device} is not there, this machine has {}", there.join(", "));
            return Err(AppError::Engine(message));
        }
        let trial_loader = Arc::new(RemoteLoader::new(config.remote_options(devices)?));
        Ok(Self { loader, trial_loader, libtorch, libraries })
    }

    /// Opens the repository over them.
    ///
    /// # Errors
    ///
    /// The models folder cannot be read.
    pub fn open(self, config: &Config, metrics: Metrics) -> Result<Repository, AppError> {
        self.open_with(config, metrics, Overrides::default(), None)
    }

    /// The same, with settings that go before those of model.toml, and a place for what happens: the server's. Without one it
    /// is a tool that looks on, and writes no decisions down.
    ///
    /// # Errors
    ///
    /// The models folder cannot be read.
    pub fn open_with(
        self,
        config: &Config,
        metrics: Metrics,
        overrides: Overrides,
        events: Option<Events>,
    ) -> Result<Repository, AppError> {
        let parts = repository::RepositoryParts {
            options: repository::RepositoryOptions {
                overrides,
                keeps_decisions: events.is_some(),
                ..config.repository_options(self.libtorch, self.libraries)
            },
            trial_loader: self.trial_loader,
            loader: self.loader,
            decode_sample: sample_decoder(),
            permits: Permits::new(config.threads.cpu_quota),
            metrics,
            verifier: Some(Arc::new(Goldens)),
            events: events.unwrap_or_default(),
        };
        Ok(Repository::open(parts)?)
    }
}

/// Keeps the models of the store that the configuration names in a folder, for as long as what is returned lives. Waits until
/// there is something to serve, the store turns out to be away, or the patience is over.
///
/// # Errors
///
/// The store cannot be used. That it is away is none.
pub fn mirror(config: &Config, patience: Duration) -> Result<Option<Mirror>, AppError> {
    let Some(options) = config.mirror_options() else { return Ok(None) };
    let mirror = Mirror::start(options)?;
    mirror.wait(patience);
    Ok(Some(mirror))
}

/// Joins a mirror and the repository that reads its folder.
fn join_mirror(mirror: &Mirror, repository: &Repository, metrics: &Metrics) {
    let reading = mirror.clone();
    repository.hold_readiness(move || reading.not_yet());
    let using = repository.clone();
    mirror.tell_use(Box::new(move || versions_in_use(&using)));
    for outcome in store::Outcome::ALL {
        let mirror = mirror.clone();
        let syncs = move || mirror.syncs(outcome);
        metrics.read_at_scrape(&families::STORE_SYNCS, &[outcome.as_str()], syncs);
    }
    let reading = mirror.clone();
    let bytes = move || reading.downloaded_bytes();
    metrics.read_at_scrape(&families::STORE_DOWNLOADED_BYTES, &[], bytes);
    let reading = mirror.clone();
    metrics.read_at_scrape(&families::STORE_LAST_SUCCESS, &[], move || reading.last_success());
}

/// What serves or is about to; `None` while a model is changing, when that is not settled.
fn versions_in_use(repository: &Repository) -> Option<Vec<(String, u64)>> {
    let mut in_use = Vec::new();
    for model in repository.list() {
        if model.busy {
            return None;
        }
        let is_needed = |it: &&VersionStatus| it.state != VersionState::Unloaded;
        let needed = model.versions.iter().filter(is_needed);
        in_use.extend(needed.map(|it| (model.name.as_str().to_owned(), it.version.0)));
    }
    Some(in_use)
}

/// Digests of operator libraries, which are logged, for the key of verdicts.
fn digests(libraries: &[PathBuf]) -> Result<String, AppError> {
    let mut digests = Vec::with_capacity(libraries.len());
    for path in libraries {
        let digest = repository::file_digest(path).map_err(|error| {
            AppError::Engine(format!("libraries: {path:?} cannot be read: {error}"))
        })?;
        tracing::info!(library = %path.display(), sha256 = digest, "an operator library is loaded");
        digests.push(digest);
    }
    Ok(digests.join(","))
}

/// Reads a sample.json as the body of a request.
#[must_use]
pub fn sample_decoder() -> SampleDecoder {
    Arc::new(|body, spec| predict::decode(body, spec).map(|decoded| decoded.inputs))
}

/// The metrics of this build.
#[must_use]
pub fn metrics(libtorch: &str) -> Metrics {
    let build =
        BuildFacts { version: env!("CARGO_PKG_VERSION").to_owned(), libtorch: libtorch.to_owned() };
    Metrics::new(MetricsOptions {
        build,
        routes: http::route_paths(),
        codes: ErrorCode::ALL.iter().map(|code| code.as_str()).collect(),
        batching: Batching::ALL.iter().map(|batching| batching.as_str()).collect(),
    })
}

/// Serves until told to stop, and ends the process then: a run that hangs would hold up what libraries do when `main`
/// returns.
///
/// # Errors
///
/// The server could not start. Once it serves, its end is no error.
pub fn serve(config: &Config) -> Result<Infallible, AppError> {
    let log = crate::telemetry::logging::install(&config.log_options())?;
    // This thread accepts and watches; connections have threads of their own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build()?;
    let outcome = runtime.block_on(run(config, &log));
    // Tasks that are still there belong to connections that were given up.
    runtime.shutdown_background();
    outcome?;
    // Waits for the last lines.
    drop(log);
    end_process()
}

async fn run(config: &Config, log: &LogGuard) -> Result<(), AppError> {
    let inflight_bytes = usize::try_from(config.limits.inflight_bytes.0).unwrap_or(usize::MAX);
    let budget = ByteBudget::new(inflight_bytes);
    let (mut public, mut management) =
        (config.public_listener_options(), config.listener_options());
    listener::within_descriptor_limit(&mut public, &mut management);
    let listen = |address, options| {
        Listener::bind(address, ListenerOptions { budget: budget.clone(), ..options })
    };
    let public = listen(config.http.listen, public)?;
    let management = listen(config.management.listen, management)?;
    let threads = Threads::start(config.threads.http_threads, STACK_BYTES)?;
    let engines = Engines::new(config)?;
    let libtorch = engines.libtorch.clone();
    let metrics = metrics(&libtorch);
    let mirror = mirror(config, STORE_PATIENCE)?;
    let events = Events::kept_in(&config.general.state_dir);
    metrics.register(Arc::new(events.clone()));
    let started = "the server started; what the process before it served ended with it";
    events.add(EventKind::ServerStarted, events::Subject::default(), started);
    let repository =
        engines.open_with(config, metrics.clone(), Overrides::default(), Some(events.clone()))?;
    if let Some(mirror) = &mirror {
        join_mirror(mirror, &repository, &metrics);
    }

    let shutdown = Shutdown::new();
    let mut signals = shutdown::os_signals()?;
    let rollouts = Rollouts::new(repository.clone());
    metrics.register(Arc::new(rollouts.clone()));
    let door = Door::new(repository.clone(), metrics.clone(), budget.clone());
    let app = App::new(http::AppParts {
        options: config.http_options(),
        door: door.with_observers(rollouts.observers()?),
        repository: repository.clone(),
        rollouts: rollouts.clone(),
        events,
        metrics,
        request_log: RequestLog::new(config.request_log_options(), Instant::now()),
        request_ids: RequestIds::new(),
        budget,
        phase: shutdown.phases(),
        started_at: Instant::now(),
    });
    export(&app, &shutdown, log);
    export_connections(&app.metrics, "http", &public.stats());
    export_connections(&app.metrics, "management", &management.stats());
    tracing::info!(
        http = %public.local_addr(),
        management = %management.local_addr(),
        models = %config.general.models.display(),
        libtorch,
        cpu_quota = config.threads.cpu_quota,
        instances = config.threads.instances,
        intra_op_threads = config.threads.intra_op_threads,
        "sconce is listening"
    );
    let public =
        tokio::spawn(public.serve(http::public_service(&app), threads.clone(), shutdown.phases()));
    let management =
        tokio::spawn(management.serve(http::management_service(&app), threads, shutdown.phases()));
    repository.start()?;
    rollouts.start()?;

    let drained = async { [public.await, management.await] };
    let ending = shutdown.run(&mut signals, config.shutdown_options(), drained).await;
    let reports = ending.drained.into_iter().flatten().flatten();
    let aborted: u64 = reports.map(|report: DrainReport| report.aborted).sum();
    if ending.outcome != Outcome::Forced {
        unload(repository).await;
    }
    match ending.outcome {
        Outcome::Drained => tracing::info!("every request was answered, goodbye"),
        outcome => tracing::warn!(?outcome, aborted, "connections were given up, goodbye"),
    }
    Ok(())
}

async fn unload(repository: Repository) {
    let unloading = tokio::task::spawn_blocking(move || repository.shutdown(UNLOAD_PATIENCE));
    match unloading.await {
        Ok(0) => {}
        Ok(left) => tracing::warn!(left, "versions were still loaded at the end"),
        Err(error) => tracing::error!(%error, "unloading failed"),
    }
}

/// The numbers that other rooms keep, read when Prometheus asks.
fn export(app: &App, shutdown: &Shutdown, log: &LogGuard) {
    let metrics = &app.metrics;
    let phases = shutdown.phases();
    metrics.read_at_scrape(&families::DRAINING, &[], move || {
        u64::from(*phases.borrow() > DrainPhase::Serving)
    });
    let repository = app.repository.clone();
    let phases = shutdown.phases();
    metrics.read_at_scrape(&families::READY, &[], move || {
        let serving = *phases.borrow() == DrainPhase::Serving;
        u64::from(serving && repository.readiness().ready)
    });
    let budget = app.budget.clone();
    metrics.read_at_scrape(&families::INFLIGHT_BYTES, &[], move || budget.used() as u64);
    let budget = app.budget.clone();
    metrics.read_at_scrape(&families::INFLIGHT_BYTES_LIMIT, &[], move || budget.limit() as u64);
    metrics.read_at_scrape(&families::LOG_LINES_DROPPED, &[], log.dropped_lines());
}

fn export_connections(metrics: &Metrics, listener: &'static str, stats: &Arc<ConnectionStats>) {
    type Counter = fn(&ConnectionStats) -> &AtomicU64;
    let read = |family: &'static Family, labels: &[&'static str], counter: Counter| {
        let stats = Arc::clone(stats);
        metrics.read_at_scrape(family, labels, move || counter(&stats).load(Ordering::Relaxed));
    };
    read(&families::HTTP_CONNECTIONS, &[listener], |stats| &stats.open);
    read(&families::HTTP_ACCEPTED, &[listener], |stats| &stats.accepted);
    read(&families::HTTP_CAPACITY_WAITS, &[listener], |stats| &stats.capacity_waits);
    read(&families::HTTP_ACCEPT_ERRORS, &[listener], |stats| &stats.accept_errors);
    read(&families::HTTP_STREAMS_RESET, &[listener], |stats| &stats.reset_streams);
    let closed = |reason, counter| read(&families::HTTP_CLOSED, &[listener, reason], counter);
    closed("framing", |stats| &stats.closed_framing);
    closed("header_timeout", |stats| &stats.closed_header_timeout);
    closed("keep_alive_timeout", |stats| &stats.closed_keep_alive_timeout);
    closed("write_timeout", |stats| &stats.closed_write_timeout);
    closed("capacity", |stats| &stats.closed_capacity);
    closed("flood", |stats| &stats.closed_flood);
    closed("drain_deadline", |stats| &stats.closed_drain_deadline);
    closed("panic", |stats| &stats.panicked);
}
