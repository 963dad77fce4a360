//! The engines of this build, and the repository over them.

use super::{AppError, sample_decoder};
use crate::config::Config;
use crate::engine::Loader;
use crate::engine::remote::{IsolatedLoader, RemoteLoader};
use crate::quality::Quality;
use crate::quality::feedback::Feedback;
use crate::repository::{self, ModelHandle, Overrides, Repository, Verifier};
use crate::rollout::golden::Goldens;
use crate::scheduler::Permits;
use crate::telemetry::Metrics;
use crate::telemetry::events::Events;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The engines of this build: in this process, and in a child for what has not been tried.
#[derive(Clone)]
pub struct Engines {
    /// Loads what has been tried.
    pub loader: Arc<dyn Loader>,
    /// Loads what has not.
    pub trial_loader: Arc<dyn Loader>,
    /// Loads what has been tried and serves in a child of its own.
    pub isolated_loader: Arc<dyn Loader>,
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

/// The loader of this build, with these libraries loaded for its models.
///
/// # Errors
///
/// The program was built without libtorch, or a library cannot be loaded.
#[cfg(feature = "torch")]
pub fn loader(libraries: &[PathBuf]) -> Result<(Arc<dyn Loader>, String), AppError> {
    use crate::engine::torch::{PackageLoader, TorchLoader};
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
    // Where a package is not taken apart already, as it is for a child, that loads none.
    let packages = Arc::new(PackageLoader::new());
    let loaders = Loaders::new()
        .with(Format::TorchScript, Arc::new(loader))
        .with(Format::AotInductor, packages);
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

/// Who looks on while versions are loaded.
#[derive(Debug, Clone, Default)]
pub struct Watching {
    /// Where operators read what happens: the server's. Without it, it is a tool that writes no decisions down.
    pub events: Option<Events>,
    /// Who reads references. With it, versions are verified before they count as loaded.
    pub quality: Option<Quality>,
    /// Who counts labels that come back: the server's.
    pub feedback: Option<Feedback>,
}

/// One after the other: what one of them has against a version counts.
#[derive(Debug)]
struct Verifiers(Vec<Arc<dyn Verifier>>);

impl Verifier for Verifiers {
    fn verify(&self, candidate: &ModelHandle, folder: &Path) -> Result<(), String> {
        self.0.iter().try_for_each(|verifier| verifier.verify(candidate, folder))
    }
}

impl Engines {
    /// The engines of this build, as the configuration wants them.
    ///
    /// # Errors
    ///
    /// There is no engine, not the device that the configuration names, or a library cannot be loaded.
    pub fn new(config: &Config) -> Result<Self, AppError> {
        let digests = digests(&config.general.libraries)?;
        bound_memory(config);
        let (loader, libtorch) = loader(&config.general.libraries)?;
        for (library, sha256) in config.general.libraries.iter().zip(&digests) {
            tracing::info!(library = %library.display(), sha256, "an operator library is loaded");
        }
        let libraries = digests.join(",");
        let devices = loader.devices();
        if let Some(device) = config.fixed_device().filter(|device| !devices.contains(device)) {
            let there: Vec<_> = devices.iter().map(ToString::to_string).collect();
            let message =
                format!("device {device} is not there, this machine has {}", there.join(", "));
            return Err(AppError::Engine(message));
        }
        let trial_loader = Arc::new(RemoteLoader::new(config.remote_options(devices.clone())?));
        let isolated_loader = Arc::new(IsolatedLoader::new(config.isolation_options(devices)?));
        Ok(Self { loader, trial_loader, isolated_loader, libtorch, libraries })
    }

    /// Opens the repository over them.
    ///
    /// # Errors
    ///
    /// The models folder cannot be read.
    pub fn open(self, config: &Config, metrics: Metrics) -> Result<Repository, AppError> {
        let watching = Watching { quality: Some(Quality::new()), ..Watching::default() };
        self.open_with(config, metrics, Overrides::default(), watching)
    }

    /// The same, with settings that go before those of model.toml.
    ///
    /// # Errors
    ///
    /// The models folder cannot be read.
    pub fn open_with(
        self,
        config: &Config,
        metrics: Metrics,
        overrides: Overrides,
        watching: Watching,
    ) -> Result<Repository, AppError> {
        let Watching { events, quality, feedback } = watching;
        // Tools verify nothing: they may be making what a version is verified with, and `> golden.jsonl` has emptied the file.
        let verifier = quality.map(|quality| {
            let feedback = feedback.map(|it| Arc::new(it) as Arc<dyn Verifier>);
            let all: [Arc<dyn Verifier>; 2] = [Arc::new(Goldens), Arc::new(quality)];
            Arc::new(Verifiers(all.into_iter().chain(feedback).collect())) as Arc<dyn Verifier>
        });
        let parts = repository::RepositoryParts {
            options: repository::RepositoryOptions {
                overrides,
                keeps_decisions: events.is_some(),
                ..config.repository_options(self.libtorch, self.libraries)
            },
            trial_loader: self.trial_loader,
            isolated_loader: self.isolated_loader,
            loader: self.loader,
            decode_sample: sample_decoder(),
            permits: Permits::new(config.threads.cpu_quota),
            metrics,
            verifier,
            events: events.unwrap_or_default(),
        };
        Ok(Repository::open(parts)?)
    }
}

/// Digests of operator libraries, for the log and the key of verdicts.
fn digests(libraries: &[PathBuf]) -> Result<Vec<String>, AppError> {
    let digest = |path: &PathBuf| {
        repository::file_digest(path).map_err(|error| {
            AppError::Engine(format!("libraries: {path:?} cannot be read: {error}"))
        })
    };
    libraries.iter().map(digest).collect()
}
