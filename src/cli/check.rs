//! `sconce check`: would `serve` start, and would every model be served?

use super::{Failure, Settings, print};
use crate::app::{self, Engines};
use crate::capture::CaptureOptions;
use crate::repository::{ModelFailure, ModelStatus, VersionStatus};
use crate::store::Mirror;
use crate::telemetry::logging;
use clap::Args;
use std::fmt::Write as _;
use std::time::Duration;

/// How long everything may take to come from a store.
const STORE_PATIENCE: Duration = Duration::from_secs(3600);

/// Check the configuration and every model, without serving
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
pub struct Check {
    /// The configuration.
    #[command(flatten)]
    pub settings: Settings,
}

impl Check {
    /// Reads the configuration, tries and loads every model, and says what came of each.
    ///
    /// # Errors
    ///
    /// The configuration is faulty, or a model would not be served.
    pub fn run(&self) -> Result<(), Failure> {
        let Some(loaded) = self.settings.read_or_print()? else { return Ok(()) };
        let config = &loaded.config;
        let failure = |error: app::AppError| Failure::Runtime(error.to_string());
        app::feedback(config).map_err(|error| failure(error.into()))?;
        let capture = config.capture_options().map_or(Ok(()), CaptureOptions::try_folder);
        capture.map_err(|error| failure(error.into()))?;
        print("configuration: ok\n")?;
        let log = logging::install(&config.log_options()).map_err(|error| failure(error.into()))?;
        let engines = Engines::new(config).map_err(failure)?;
        let metrics = app::metrics(&engines.libtorch);
        let mirror = app::mirror(config, STORE_PATIENCE).map_err(failure)?;
        if let Some(reason) = mirror.as_ref().and_then(Mirror::not_yet) {
            return Err(Failure::Runtime(reason));
        }
        let repository = engines.open(config, metrics).map_err(failure)?;
        let models = repository.check();
        // The last lines of the log go first, so that the report stands in one piece.
        drop(log);
        print(&report(&models))?;
        if let Some(problem) = mirror.as_ref().and_then(Mirror::problem) {
            print(&format!("store: {problem}\n"))?;
        }
        let ignored = repository.ignored();
        print(&ignored.iter().map(|sentence| format!("{sentence}\n")).collect::<String>())?;
        if models.is_empty() {
            let reason = repository.readiness().reason.unwrap_or_default();
            return Err(Failure::Runtime(reason));
        }
        let unserved = models.iter().filter(|model| model.serving.is_none()).count();
        let faulty = models.iter().filter(|model| !is_served(model)).count() - unserved;
        let strangers = config.capture.redact.strangers(&models);
        let told = [
            (unserved, "would not be served"),
            (faulty, "would be served, and not as their folders want it"),
        ];
        let told = told.iter().filter(|(n, _)| *n > 0);
        let mut told: Vec<_> =
            told.map(|(n, what)| format!("{n} of {} models {what}", models.len())).collect();
        told.extend(strangers.iter().map(|name| no_such_tensor(name)));
        if told.is_empty() { Ok(()) } else { Err(Failure::Runtime(told.join("; "))) }
    }
}

fn no_such_tensor(name: &str) -> String {
    format!("capture.redact: no model has an input or output {name:?}")
}

/// Whether everything serves that is to: what an operator rejected is not.
fn is_served(model: &ModelStatus) -> bool {
    let is_rejected =
        |version: &VersionStatus| version.failure.as_ref().is_some_and(ModelFailure::is_rejection);
    model.problem.is_none()
        && model.serving.is_some()
        && model.versions.iter().all(|it| it.loaded.is_some() || is_rejected(it))
}

/// A line a version, and one for what is wrong with a model as a whole.
fn report(models: &[ModelStatus]) -> String {
    let mut text = String::new();
    for model in models {
        // A version that failed tells it in its own line.
        let told = model.versions.iter().any(|version| version.failure.is_some());
        if let Some(problem) = model.problem.as_ref().filter(|_| !told) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}: {}", model.name, problem.details());
        }
        for version in &model.versions {
            let _ = writeln!(text, "{}/{}: {}", model.name, version.version, line(version));
        }
    }
    text
}

fn line(version: &VersionStatus) -> String {
    let state = version.state.as_str();
    match (&version.loaded, &version.failure) {
        (_, Some(failure)) => format!("{state}: {}", failure.details()),
        (Some(loaded), None) => {
            let batching = loaded.batching();
            format!(
                "{state} from {} on {} ({}, {:.2} times as fast as plain), {} bytes of weights, batching {batching}: {}; up to {} rows a run: {}",
                loaded.facts.format.file_name(),
                loaded.facts.device,
                loaded.facts.form.chosen,
                loaded.facts.form.gain(),
                loaded.facts.memory,
                loaded.batching_reason(),
                loaded.facts.batch_size.rows,
                loaded.facts.batch_size.reason
            )
        }
        (None, None) => state.to_owned(),
    }
}
