//! The composition root: from a configuration to a running server, and down again.
//!
//! State is built here and handed down; nothing below reaches for a global. Ports are bound before
//! models are loaded, so that probes are answered from the first moment and a port in use is told
//! at once.

mod engines;
mod exports;
mod mirror;
mod reload;
mod state_lock;

pub use engines::{Engines, Watching, loader};
pub use mirror::mirror;
pub use reload::ReadAgain;

use crate::capture::{Capture, Redaction};
use crate::config::{Config, FeedbackConfig, Loaded};
use crate::engine::STACK_BYTES;
use crate::engine::remote::missing_layers;
use crate::http::{self, App};
use crate::inference::{Batching, ByteBudget, ErrorCode, ModelName};
use crate::listener::{
    self, BindError, DrainPhase, DrainReport, Listener, ListenerOptions, Threads,
};
use crate::pipeline::Door;
use crate::protocol::predict;
use crate::quality::Quality;
use crate::quality::feedback::{Feedback, FeedbackOptions};
use crate::repository::{ModelStatus, Overrides, Repository, RepositoryError, SampleDecoder};
use crate::rollout::{LabelCounts, Rollouts};
use crate::shutdown::{self, Shutdown, ShutdownOutcome};
use crate::store::StoreError;
use crate::telemetry::events::{self, EventKind, Events};
use crate::telemetry::logging::{LogError, LogGuard, RequestLog};
use crate::telemetry::request_id::RequestIds;
use crate::telemetry::{BuildInfo, Metrics, MetricsOptions};
use crate::traces::{StartError, Tracer};
use reload::Reloader;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long unloading may take at the end: the process ends anyway, this is for a clean log, and a run that hangs never
/// gives its model back.
const UNLOAD_PATIENCE: Duration = Duration::from_millis(500);

/// How often it is looked whether models are loaded, and how many times.
const LOOK: Duration = Duration::from_secs(1);
const MAX_LOOKS: usize = 3600;
/// How long writing what was captured, and sending what was traced, may take at the end.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

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
    /// Requests are to be traced and cannot.
    #[error(transparent)]
    Traces(#[from] StartError),
    /// A port cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system denies something that every server needs.
    #[error("the server cannot start: {0}")]
    System(#[from] io::Error),
}

/// What has to be settled before the process has more than one thread.
pub fn prepare_process() {
    #[cfg(feature = "torch")]
    crate::engine::torch::prepare_process();
}

/// Has memory that is free go back to the system in its time: by a thread.
pub fn give_back_unasked() {
    #[cfg(feature = "torch")]
    crate::engine::torch::give_back_unasked();
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

/// Forks a process that belongs to whoever started this one; see `torch_shim`.
///
/// # Errors
///
/// The kernel has no room, or the program was built without libtorch.
#[cfg(feature = "torch")]
pub fn fork_as_sibling() -> io::Result<Option<i32>> {
    crate::engine::torch::fork_as_sibling()
}

/// Forks nothing.
///
/// # Errors
///
/// The program was built without libtorch.
#[cfg(not(feature = "torch"))]
pub fn fork_as_sibling() -> io::Result<Option<i32>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Reads a sample.json as the body of a request.
#[must_use]
pub fn sample_decoder() -> SampleDecoder {
    Arc::new(|body, spec| predict::decode(body, spec).map(|decoded| decoded.inputs))
}

/// Where labels that come back are counted, with the keys that tokens are signed with.
///
/// # Errors
///
/// The file of the keys cannot be read, or has none.
pub fn feedback(config: &Config) -> io::Result<Feedback> {
    let FeedbackConfig { keys_file, max_age } = config.feedback.clone();
    Feedback::new(FeedbackOptions { keys_file, max_age })
}

/// The metrics of this build.
#[must_use]
pub fn metrics(libtorch: &str) -> Metrics {
    let build =
        BuildInfo { version: env!("CARGO_PKG_VERSION").to_owned(), libtorch: libtorch.to_owned() };
    Metrics::new(MetricsOptions {
        build,
        routes: http::route_paths(),
        codes: ErrorCode::ALL.iter().map(|code| code.as_str()).collect(),
        batching: Batching::ALL.iter().map(|batching| batching.as_str()).collect(),
    })
}

/// What this kernel lacks of the sandbox in which models run that have a child process.
fn missing_of_sandbox() -> Vec<&'static str> {
    let missing = missing_layers();
    if !missing.is_empty() {
        tracing::warn!(
            missing = missing.join(", "),
            "This kernel lacks a part of the sandbox: the code of models can reach files or the network there"
        );
    }
    missing
}

/// Serves until told to stop, and ends the process then: a run that hangs would hold up what libraries do when `main`
/// returns. `read_again` reads the configuration as it was read the first time, for SIGHUP.
///
/// # Errors
///
/// The server could not start. Once it serves, its end is no error.
pub fn serve(loaded: Loaded, read_again: ReadAgain) -> Result<Infallible, AppError> {
    let log = crate::telemetry::logging::install(&loaded.config.log_options())?;
    // This thread accepts and watches; connections have threads of their own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build()?;
    let outcome = runtime.block_on(run(loaded, read_again, &log));
    // Tasks that are still there belong to connections that were given up.
    runtime.shutdown_background();
    outcome?;
    // Waits for the last lines.
    drop(log);
    end_process()
}

async fn run(loaded: Loaded, read_again: ReadAgain, log: &LogGuard) -> Result<(), AppError> {
    let config = &loaded.config;
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
    let _state = state_lock::mark(&config.general.state_dir);
    let events = Events::kept_in(&config.general.state_dir);
    metrics.register(Arc::new(events.clone()));
    let started = "the server started; what the process before it served ended with it";
    events.add(EventKind::ServerStarted, events::Subject::default(), started);
    let quality = Quality::new();
    let feedback = feedback(config)?;
    metrics.register(Arc::new(feedback.clone()));
    let watching = Watching {
        events: Some(events.clone()),
        quality: Some(quality.clone()),
        feedback: Some(feedback.clone()),
    };
    let repository = engines.open_with(config, metrics.clone(), Overrides::default(), watching)?;
    if let Some(mirror) = &mirror {
        mirror::join(mirror, &repository, &metrics, events.clone());
    }

    let shutdown = Shutdown::new();
    let shutdown::OsSignals { mut stops, hang_ups } = shutdown::os_signals()?;
    let counted = feedback.clone();
    let labels = move |model: &ModelName, version| {
        let [rows, wrong] = counted.labels(model, version).unwrap_or_default();
        LabelCounts { rows, wrong }
    };
    let rollouts = Rollouts::with_labels(repository.clone(), labels);
    metrics.register(Arc::new(rollouts.clone()));
    let phases = shutdown.phases();
    let door = Door::new(repository.clone(), metrics.clone(), budget.clone())
        .with_ending(move || *phases.borrow() >= DrainPhase::Aborting);
    let mut observers = rollouts.observers()?;
    observers.push(quality.observer());
    let capture = config.capture_options().map(|it| Capture::start(it, events.clone()));
    let capture = capture.transpose()?;
    if let Some(capture) = &capture {
        observers.push(capture.observer());
        metrics.register(Arc::new(capture.clone()));
    }
    let tracer = Tracer::start(&config.traces_options(), |name| std::env::var(name).ok())?;
    if let Some(tracer) = &tracer {
        metrics.register(Arc::new(tracer.clone()));
    }
    let app = App::new(http::AppParts {
        options: config.http_options(),
        door: door.with_observers(observers),
        repository: repository.clone(),
        rollouts: rollouts.clone(),
        quality: quality.clone(),
        feedback: feedback.clone(),
        events,
        metrics,
        tracer: tracer.clone(),
        request_log: RequestLog::new(config.request_log_options(), Instant::now()),
        request_ids: RequestIds::new(),
        budget,
        phase: shutdown.phases(),
        sandbox_missing: missing_of_sandbox(),
        started_at: Instant::now(),
    });
    exports::export(&app, &shutdown, log);
    exports::export_connections(&app.metrics, "http", &public.stats());
    exports::export_connections(&app.metrics, "management", &management.stats());
    tracing::info!(
        http = %public.local_addr(),
        management = %management.local_addr(),
        models = %config.general.models.display(),
        libtorch,
        cpu_quota = config.threads.cpu_quota,
        instances = config.threads.instances,
        intra_op_threads = config.threads.intra_op_threads,
        memory_bytes = config.limits.memory_bytes.0,
        inflight_bytes = config.limits.inflight_bytes.0,
        "sconce is listening"
    );
    let public =
        tokio::spawn(public.serve(http::public_service(&app), threads.clone(), shutdown.phases()));
    let management =
        tokio::spawn(management.serve(http::management_service(&app), threads, shutdown.phases()));
    repository.start()?;
    rollouts.start()?;
    quality.start(app.events.clone(), feedback)?;
    tokio::spawn(look_for_redacted(repository.clone(), config.capture.redact.clone()));
    let ways_down = Reloader::start(loaded, read_again, app, log.level_setter(), hang_ups)?;

    let drained = async { [public.await, management.await] };
    let ending = shutdown.run(&mut stops, || *ways_down.borrow(), drained).await;
    let reports = ending.drained.into_iter().flatten().flatten();
    let aborted: u64 = reports.map(|report: DrainReport| report.aborted).sum();
    if ending.outcome != ShutdownOutcome::Forced {
        unload(repository).await;
    }
    flush(capture, tracer).await;
    match ending.outcome {
        ShutdownOutcome::Drained => tracing::info!("every request was answered, goodbye"),
        outcome => tracing::warn!(?outcome, aborted, "connections were given up, goodbye"),
    }
    Ok(())
}

/// Warns of names to be redacted that no model has, once models are loaded.
async fn look_for_redacted(repository: Repository, redaction: Redaction) {
    if redaction.names().next().is_none() {
        return;
    }
    let is_loading = |it: &ModelStatus| {
        it.versions.iter().any(|version| version.loaded.is_none() && version.failure.is_none())
    };
    for _ in 0..MAX_LOOKS {
        tokio::time::sleep(LOOK).await;
        let models = repository.list();
        if models.is_empty() || models.iter().any(is_loading) {
            continue;
        }
        for name in redaction.strangers(&models) {
            tracing::warn!("capture.redact: no model has an input or output {name:?}");
        }
        return;
    }
}

/// Has what is known of the last requests written and sent.
async fn flush(capture: Option<Capture>, tracer: Option<Tracer>) {
    // Side by side: the one that hangs must not take the time of the other.
    let capturing =
        tokio::task::spawn_blocking(move || capture.is_none_or(|it| it.flush(FLUSH_PATIENCE)));
    let sending =
        tokio::task::spawn_blocking(move || tracer.is_none_or(|it| it.flush(FLUSH_PATIENCE)));
    let is_captured = capturing.await.unwrap_or_default();
    let is_sent = sending.await.unwrap_or_default();
    if !is_captured {
        tracing::warn!("not all captured requests could be written and sent");
    }
    if !is_sent {
        tracing::warn!("not all spans could be sent");
    }
}

async fn unload(repository: Repository) {
    let unloading = tokio::task::spawn_blocking(move || repository.shutdown(UNLOAD_PATIENCE));
    match unloading.await {
        Ok(0) => {}
        Ok(left) => tracing::warn!(left, "versions were still loaded at the end"),
        Err(error) => tracing::error!(%error, "unloading failed"),
    }
}
