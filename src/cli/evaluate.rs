//! `sconce evaluate MODEL[/VERSION]`: how well a version answers labelled rows, and whether that is enough.

use super::inside::{self, Alone, Inside};
use super::{Failure, Settings, print};
use crate::evaluation::{self, Collected, DataSet, Evaluation, EvaluationError};
use crate::inference::{ModelName, ModelSpec, Version};
use crate::repository::Overrides;
use clap::Args;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Hold a version's answers against labels and another version; exit status 1 when a minimum is missed
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Evaluate {
    /// The model, and its version unless the one that would serve is meant
    #[arg(value_name = "MODEL[/VERSION]")]
    pub model: ModelArgument,
    /// The rows.
    #[command(flatten)]
    pub rows: LabelledRows,
    /// Another version to compare with, row by row
    #[arg(long, value_name = "VERSION")]
    pub against: Option<Version>,
    /// Print JSON in place of a table
    #[arg(long)]
    pub json: bool,
    /// Write a page with plots
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// The configuration.
    #[command(flatten)]
    pub settings: Settings,
}

/// Where labelled rows are.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct LabelledRows {
    /// Labelled rows, JSON lines or CSV; `evaluate` takes `-` for the standard input
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// Column or member with the labels [default: the last column, or "label"]
    #[arg(long, value_name = "NAME")]
    pub label: Option<String>,
}

impl LabelledRows {
    /// Opens them for a model that takes such inputs.
    pub(super) fn open(&self, interface: &ModelSpec) -> Result<DataSet, EvaluationError> {
        DataSet::open(&self.data, self.label.as_deref(), interface)
    }
}

/// A model, and maybe one of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelArgument {
    /// The model.
    pub name: ModelName,
    /// The version; `None` for the one that would serve.
    pub version: Option<Version>,
}

impl FromStr for ModelArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, version) = match text.split_once('/') {
            None => (text, None),
            Some((name, version)) => {
                let wrong = |_| format!("expected a number as version, got {version:?}");
                (name, Some(version.parse().map_err(wrong)?))
            }
        };
        let name = name.parse().map_err(|error: crate::inference::NameError| error.to_string())?;
        Ok(Self { name, version })
    }
}

impl Evaluate {
    /// Asks for every row and reports what came of it.
    ///
    /// # Errors
    ///
    /// The configuration is faulty, the rows cannot be read or answered, or model.toml asks for more.
    pub fn run(&self) -> Result<(), Failure> {
        let Some(loaded) = self.settings.read_or_print()? else { return Ok(()) };
        let inside = Inside::new(&loaded.config)?;
        let now = self.load(&inside, self.model.version)?;
        if self.against == Some(now.handle.version()) {
            let version = now.handle.version();
            now.unload();
            return Err(Failure::Runtime(format!(
                "--against {version}: that is the version which is evaluated"
            )));
        }
        let before = self.against.map(|version| self.load(&inside, Some(version))).transpose()?;
        let versions: Vec<_> =
            std::iter::once(&now).chain(&before).map(|alone| &alone.handle).collect();
        let (data, collected) = self.collect(&inside, &versions).map_err(runtime)?;
        let numbers: Vec<_> = versions.iter().map(|handle| handle.version()).collect();
        let asked = now.handle.facts().evaluation.clone();
        let name = &self.model.name;
        let found = evaluation::evaluate(name, &data, &numbers, &collected, &asked);
        now.unload();
        before.into_iter().for_each(Alone::unload);
        self.report(&found)
    }

    fn load(&self, inside: &Inside<'_>, version: Option<Version>) -> Result<Alone, Failure> {
        // All rows are to be answered, however long that takes.
        let overrides =
            Overrides { version, max_queue_wait: Some(Duration::MAX), ..Overrides::default() };
        inside.load(&self.model.name, overrides)
    }

    fn collect(
        &self,
        inside: &Inside<'_>,
        versions: &[&crate::repository::ModelHandle],
    ) -> Result<(String, Collected), EvaluationError> {
        let mut data = self.rows.open(versions[0].interface())?;
        let mut progress = Progress::new();
        let collecting = evaluation::collect(versions, &mut data, |n_rows| progress.tell(n_rows));
        let collected = inside.runtime.block_on(collecting);
        progress.end();
        Ok((data.file().to_owned(), collected?))
    }

    /// Prints what was found; fails when model.toml asks for more.
    fn report(&self, found: &Evaluation) -> Result<(), Failure> {
        if let Some(path) = &self.report {
            std::fs::write(path, evaluation::html(found)).map_err(|source| {
                runtime(EvaluationError::File { file: path.display().to_string(), source })
            })?;
        }
        if self.json {
            print(&format!("{:#}\n", evaluation::json(found)))?;
        } else {
            print(&evaluation::table(found))?;
        }
        let missed: Vec<_> = found.missed().map(|check| check.name).collect();
        if missed.is_empty() {
            return Ok(());
        }
        let what = format!("[evaluation] of model.toml is missed: {}", missed.join(", "));
        let version = found.summary.version;
        Err(inside::failed(&self.model.name, format_args!("version {version}: {what}")))
    }
}

fn runtime(error: EvaluationError) -> Failure {
    Failure::Runtime(error.to_string())
}

/// A line on a terminal that says how far it is. Where it cannot be written, nobody misses it.
pub(super) struct Progress {
    is_told: bool,
    last: Instant,
    has_line: bool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { is_told: std::io::stderr().is_terminal(), last: Instant::now(), has_line: false }
    }

    pub(super) fn tell(&mut self, n_rows: usize) {
        if self.is_told && self.last.elapsed() >= PROGRESS_EVERY {
            let _ = write!(std::io::stderr(), "\r{n_rows} rows");
            (self.last, self.has_line) = (Instant::now(), true);
        }
    }

    pub(super) fn end(&self) {
        if self.has_line {
            let _ = writeln!(std::io::stderr());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_a_model_and_maybe_a_version() {
        let subject =
            |text: &str| text.parse::<ModelArgument>().map(|it| (it.name.to_string(), it.version));
        assert_eq!(subject("digits"), Ok(("digits".to_owned(), None)));
        assert_eq!(subject("digits/12"), Ok(("digits".to_owned(), Some(Version(12)))));
        let wrong = "expected a number as version, got \"latest\"";
        assert_eq!(subject("digits/latest"), Err(wrong.to_owned()));
        for bad in ["", "/1", "digits/", "a/b/1"] {
            assert!(subject(bad).is_err(), "{bad:?} is no model");
        }
    }
}
