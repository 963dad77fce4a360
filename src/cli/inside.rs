//! Models inside this process, for subcommands that run them and serve nothing.

use super::Failure;
use crate::app::{self, AppError, Engines, Watching};
use crate::config::Config;
use crate::engine::STACK_BYTES;
use crate::inference::ModelName;
use crate::repository::{ModelHandle, Overrides, Repository};
use crate::store::Mirror;
use crate::telemetry::Metrics;
use crate::telemetry::logging::{self, LogGuard, LogOptions};
use std::fmt::Display;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long letting a model go may take.
const UNLOAD_PATIENCE: Duration = Duration::from_secs(10);

/// How long everything may take to come from a store.
const STORE_PATIENCE: Duration = Duration::from_secs(3600);

/// What loads models and runs them.
pub(super) struct Inside<'a> {
    config: &'a Config,
    engines: Engines,
    metrics: Metrics,
    pub(super) runtime: Runtime,
    /// Where the models come from a store.
    _mirror: Option<Mirror>,
    _log: LogGuard,
}

/// One model of a repository that holds no other.
pub(super) struct Alone {
    repository: Repository,
    pub(super) handle: ModelHandle,
}

impl<'a> Inside<'a> {
    /// Makes the engines, and threads for whoever asks. Of the loading only what goes wrong is told.
    pub(super) fn new(config: &'a Config) -> Result<Self, Failure> {
        let failure = |error: AppError| Failure::Runtime(error.to_string());
        let options = LogOptions { filter: "warn".to_owned(), ..config.log_options() };
        let log = logging::install(&options).map_err(|error| failure(error.into()))?;
        let engines = Engines::new(config).map_err(failure)?;
        let metrics = app::metrics(&engines.libtorch);
        let mirror = app::mirror(config, STORE_PATIENCE).map_err(failure)?;
        if let Some(reason) = mirror.as_ref().and_then(Mirror::not_yet) {
            return Err(Failure::Runtime(reason));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.threads.http_threads)
            .thread_stack_size(STACK_BYTES)
            .enable_time()
            .build()
            .map_err(|error| failure(error.into()))?;
        Ok(Self { config, engines, metrics, runtime, _mirror: mirror, _log: log })
    }

    /// Loads a model as `serve` would, but for what is overridden.
    pub(super) fn load(&self, model: &ModelName, overrides: Overrides) -> Result<Alone, Failure> {
        let repository = self.engines.clone().open_with(
            self.config,
            self.metrics.clone(),
            overrides,
            Watching::default(),
        );
        let repository = repository.map_err(|error| Failure::Runtime(error.to_string()))?;
        repository.load_alone(model).map_err(|error| failed(model, error))?;
        // Not by the share of a roll-out under way: the new one would answer some of the time.
        let handle = repository.stable(model).map_err(|error| failed(model, error))?;
        Ok(Alone { repository, handle })
    }
}

impl Alone {
    /// Lets the model go and waits until it is gone.
    pub(super) fn unload(self) {
        let Self { repository, handle } = self;
        drop(handle);
        repository.shutdown(UNLOAD_PATIENCE);
    }
}

/// What went wrong with a model.
pub(super) fn failed(model: &ModelName, error: impl Display) -> Failure {
    Failure::Runtime(format!("{model}: {error}"))
}
