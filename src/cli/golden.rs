//! `sconce golden MODEL --requests FILE`: the text of a golden.jsonl, from the answers of the version that serves.
//!
//! The model is loaded in this process and asked as `serve` would ask it, without HTTP. The text goes to the standard
//! output: where it belongs, beside which version, is for people to say.

use super::{Failure, Settings, print};
use crate::app::{self, Engines};
use crate::inference::{InferError, ModelName, ModelRef, VersionSelector};
use crate::rollout::golden;
use crate::telemetry::logging;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// How long letting the model go may take at the end.
const UNLOAD_PATIENCE: Duration = Duration::from_secs(10);

/// Write what a model answers to a file of requests, as a golden.jsonl
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct WriteGolden {
    /// The model, whose serving version answers
    #[arg(value_name = "MODEL")]
    pub model: ModelName,
    /// Requests of the native form, one a line; a golden.jsonl does too
    #[arg(long, value_name = "FILE")]
    pub requests: PathBuf,
    /// The configuration.
    #[command(flatten)]
    pub settings: Settings,
}

impl WriteGolden {
    /// Loads the model, asks it, and prints the file.
    ///
    /// # Errors
    ///
    /// The configuration or the file of requests is faulty, or the model cannot be loaded or does not answer.
    pub fn run(&self) -> Result<(), Failure> {
        let loaded = self.settings.load()?;
        if self.settings.print_config {
            return print(&loaded.to_toml());
        }
        loaded.check_folders()?;
        let file = self.requests.display().to_string();
        let unreadable = |what: &str| Failure::Runtime(format!("{file}: {what}"));
        let text = golden::read(&self.requests).map_err(|error| unreadable(&error.to_string()))?;
        let text = text.ok_or_else(|| unreadable("there is no such file"))?;
        let config = &loaded.config;
        let failure = |error: app::AppError| Failure::Runtime(error.to_string());
        // The output is the file; of the loading only what goes wrong is told.
        let log = logging::LogOptions { filter: "warn".to_owned(), ..config.log_options() };
        let _log = logging::install(&log).map_err(|error| failure(error.into()))?;
        let engines = Engines::new(config).map_err(failure)?;
        let metrics = app::metrics(&engines.libtorch);
        let repository = engines.open(config, metrics).map_err(failure)?;
        repository
            .load_alone(&self.model)
            .map_err(|error| Failure::Runtime(format!("{}: {error}", self.model)))?;
        let model = ModelRef { name: self.model.clone(), version: VersionSelector::Default };
        let unresolved = |error: InferError| Failure::Runtime(format!("{}: {error}", self.model));
        let handle = repository.resolve(&model).map_err(unresolved)?;
        let golden = golden::write(&handle, &file, &text).map_err(Failure::Runtime);
        drop(handle);
        repository.shutdown(UNLOAD_PATIENCE);
        print(&golden?)
    }
}
