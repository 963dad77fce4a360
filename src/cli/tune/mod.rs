//! `sconce tune MODEL`: how many instances, threads, rows a batch and how much delay suit a model on
//! this machine.
//!
//! Each choice is loaded and scheduled as `serve` would do it and asked by closed loops of callers
//! inside the process; only HTTP and JSON are left out. Nothing is written: the lines for model.toml
//! are printed.

mod measure;
mod plan;
mod report;

use super::inside::{self, Inside};
use super::{Failure, Settings, print};
use crate::inference::{Batching, ErrorCode, InferError, ModelName, NamedTensor};
use crate::protocol::predict;
use crate::repository::{ModelHandle, Overrides};
use clap::Args;
use measure::Figures;
use plan::Choice;
use std::time::Duration;

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
        let Some(loaded) = self.settings.read_or_print()? else { return Ok(()) };
        let inside = Inside::new(&loaded.config)?;
        let cpus = loaded.config.threads.cpu_quota;
        let alone = inside.load(&self.model, Overrides::default())?;
        let most_rows = alone.handle.facts().batch_size.limit;
        let inputs = inputs(&alone.handle).map_err(|error| inside::failed(&self.model, error))?;
        let one_instance = alone.handle.engine_spec().batching == Batching::Stateful;
        alone.unload();

        print(&report::head(&self.model, cpus))?;
        let measured = |choice: &Choice| -> Result<Vec<Figures>, Failure> {
            let alone = inside.load(&self.model, choice.overrides())?;
            let seconds = Duration::from_secs(self.seconds);
            let figures = plan::CALLERS.iter().map(|&n_callers| {
                let measuring = measure::closed_loop(&alone.handle, &inputs, n_callers, seconds);
                let measured = inside.runtime.block_on(measuring);
                measured.map_err(|error| inside::failed(&self.model, error))
            });
            let figures = figures.collect::<Result<Vec<_>, _>>()?;
            alone.unload();
            print(&report::rows(choice, &figures))?;
            Ok(figures)
        };
        let mut table = Vec::new();
        for choice in plan::without_delay(cpus, most_rows, one_instance) {
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
