//! `sconce tune MODEL`: how many instances, threads, rows a batch and how much delay suit a model on
//! this machine.
//!
//! Each choice is loaded and scheduled as `serve` would do it and asked by closed loops of callers
//! inside the process; only HTTP and JSON are left out. Nothing is written: the lines for model.toml
//! are printed.

mod measure;
mod plan;
mod report;

use super::{Failure, Settings, print};
use crate::app::{self, Engines};
use crate::engine::STACK_BYTES;
use crate::inference::{
    Batching, ErrorCode, InferError, ModelName, ModelRef, NamedTensor, VersionSelector,
};
use crate::protocol::predict;
use crate::repository::{ModelHandle, Overrides, Repository};
use crate::store::Mirror;
use crate::telemetry::events::Events;
use crate::telemetry::logging;
use clap::Args;
use measure::Figures;
use plan::Choice;
use std::time::Duration;

/// How long letting a model go may take between two choices.
const UNLOAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long everything may take to come from a store.
const STORE_PATIENCE: Duration = Duration::from_secs(3600);

/// Measure instances, threads, batch sizes and delays of a model, and name the best
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Tune {
    /// The model
    #[arg(value_name = "MODEL")]
    pub model: ModelName,
    /// Latency to keep to: the best choice whose 99th percentile stays below it is named as well
    #[arg(long, value_name = "DURATION", default_value = "50ms", value_parser = latency)]
    pub latency: Duration,
    /// Seconds for each number of callers of each choice
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub seconds: u64,
    /// The configuration.
    #[command(flatten)]
    pub settings: Settings,
}

fn latency(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected a duration such as \"20ms\", got {text:?}");
    crate::settings::unit::duration(text).ok_or_else(expected)
}

impl Tune {
    /// Measures every choice of the plan and prints the table.
    ///
    /// # Errors
    ///
    /// The configuration is faulty, or the model cannot be loaded or run.
    pub fn run(&self) -> Result<(), Failure> {
        let loaded = self.settings.load()?;
        if self.settings.print_config {
            return print(&loaded.to_toml());
        }
        loaded.check_folders()?;
        let config = &loaded.config;
        let failure = |error: app::AppError| Failure::Runtime(error.to_string());
        // What is measured is the table; of the loading only what goes wrong is told.
        let log = logging::LogOptions { filter: "warn".to_owned(), ..config.log_options() };
        let _log = logging::install(&log).map_err(|error| failure(error.into()))?;
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
        let open = |overrides: Overrides| -> Result<(Repository, ModelHandle), Failure> {
            let repository =
                engines.clone().open_with(config, metrics.clone(), overrides, Events::new());
            let repository = repository.map_err(failure)?;
            self.load(&repository).map(|handle| (repository, handle))
        };
        let (repository, handle) = open(Overrides::default())?;
        let most_rows = handle.facts().batch_size.limit;
        let inputs = inputs(&handle).map_err(|error| self.failed(error))?;
        let one_instance = handle.engine_spec().batching == Batching::Stateful;
        drop(handle);
        repository.shutdown(UNLOAD_PATIENCE);

        print(&report::head(&self.model, config.threads.cpu_quota))?;
        let measured = |choice: &Choice| -> Result<Vec<Figures>, Failure> {
            let (repository, handle) = open(choice.overrides())?;
            let seconds = Duration::from_secs(self.seconds);
            let figures = plan::CALLERS.iter().map(|&n_callers| {
                let measuring = measure::closed_loop(&handle, &inputs, n_callers, seconds);
                runtime.block_on(measuring).map_err(|error| self.failed(error))
            });
            let figures = figures.collect::<Result<Vec<_>, _>>()?;
            drop(handle);
            repository.shutdown(UNLOAD_PATIENCE);
            print(&report::rows(choice, &figures))?;
            Ok(figures)
        };
        let mut table = Vec::new();
        for choice in plan::without_delay(config.threads.cpu_quota, most_rows, one_instance) {
            let figures = measured(&choice)?;
            table.push((choice, figures));
        }
        // A delay can only help where batches form: it is tried with what was best without.
        if let Some(best) = plan::fastest(&table).filter(|best| best.max_batch_size > 1) {
            for choice in plan::with_delay(&best) {
                let figures = measured(&choice)?;
                table.push((choice, figures));
            }
        }
        print(&report::verdict(&table, self.latency))
    }

    fn load(&self, repository: &Repository) -> Result<ModelHandle, Failure> {
        let loaded = repository.load_alone(&self.model);
        loaded.map_err(|error| Failure::Runtime(format!("{}: {error}", self.model)))?;
        let model = ModelRef { name: self.model.clone(), version: VersionSelector::Default };
        repository.resolve(&model).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: InferError) -> Failure {
        Failure::Runtime(format!("{}: {error}", self.model))
    }
}

/// One row to ask for: the sample's, or zeros.
fn inputs(handle: &ModelHandle) -> Result<Vec<NamedTensor>, InferError> {
    let spec = handle.interface();
    let sample = handle.sample().map(|text| text.as_bytes().to_vec());
    let body = sample.or_else(|| predict::example(spec)).ok_or_else(|| {
        let message = "it has no sample.json, and a row cannot be made up from its shapes";
        InferError::new(ErrorCode::InvalidInput, message)
    })?;
    let decoded = predict::decode(&body, spec)?;
    // A model that takes any number of rows is asked for one at a time, as most callers do.
    let one_row = |input: NamedTensor| {
        let row = (spec.batching.is_allowed() && input.tensor.shape().rank() > 0)
            .then(|| input.tensor.rows(0, 1))
            .flatten();
        NamedTensor { tensor: row.unwrap_or(input.tensor), ..input }
    };
    Ok(decoded.inputs.into_iter().map(one_row).collect())
}
