//! `sconce reference MODEL --data FILE`: the text of a reference.json, from labelled rows and what a version answers to them.
//!
//! The text goes to the standard output: where it belongs, beside which version, is for people to say.

use super::evaluate::{LabelledRows, ModelArgument, Progress};
use super::inside::Inside;
use super::{Failure, Settings, print};
use crate::evaluation::{self, EvaluationError};
use crate::quality::{Builder, FEW_ROWS, MAX_LABELS, MIN_ROWS, Reference};
use crate::repository::{ModelHandle, Overrides};
use clap::Args;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Write what a model's data look like, which requests are then watched beside, as a reference.json
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct WriteReference {
    /// The model, and its version unless the one that would serve is meant
    #[arg(value_name = "MODEL[/VERSION]")]
    pub model: ModelArgument,
    /// Those that the model was made with, or held out. They are read twice.
    #[command(flatten)]
    pub rows: LabelledRows,
    /// The configuration.
    #[command(flatten)]
    pub settings: Settings,
}

impl WriteReference {
    /// Loads the model, asks it for every row, and prints the file.
    ///
    /// # Errors
    ///
    /// The configuration or the rows are faulty, or the model cannot be loaded or does not answer.
    pub fn run(&self) -> Result<(), Failure> {
        let data = &self.rows.data;
        let is_pipe = data.metadata().is_ok_and(|it| !it.is_file() && !it.is_dir());
        if data == Path::new("-") || is_pipe {
            // Before anything is loaded: the rows are read twice.
            let text = format!("--data {}: the rows are read twice, name a file", data.display());
            return Err(Failure::Runtime(text));
        }
        let Some(loaded) = self.settings.read_or_print()? else { return Ok(()) };
        let inside = Inside::new(&loaded.config)?;
        let overrides = Overrides {
            version: self.model.version,
            max_queue_wait: Some(Duration::MAX),
            ..Overrides::default()
        };
        let alone = inside.load(&self.model.name, overrides)?;
        let made = self.make(&inside, &alone.handle);
        alone.unload();
        let made = made.map_err(Failure::Runtime)?;
        made.check().map_err(Failure::Runtime)?;
        print(&made.to_json())
    }

    fn make(&self, inside: &Inside<'_>, handle: &ModelHandle) -> Result<Reference, String> {
        let text = |error: EvaluationError| error.to_string();
        let open = || self.rows.open(handle.interface());
        let mut progress = Progress::new();
        // Twice over the file: the second time for the inputs, of which a column each is kept.
        let mut data = open().map_err(text)?;
        let versions = [handle];
        let collecting = evaluation::collect(&versions, &mut data, |n_rows| progress.tell(n_rows));
        let collected = inside.runtime.block_on(collecting).map_err(text)?;
        let mut data = open().map_err(text)?;
        let mut builder = Builder::new(data.column_names());
        let specs = &handle.engine_spec().inputs;
        evaluation::read_inputs(handle, &mut data, |row| builder.add(specs, row.inputs()))
            .map_err(text)?;
        progress.end();
        let file = data.file().to_owned();
        let rows = builder.n_rows();
        if rows < MIN_ROWS {
            return Err(format!("{file}: {rows} rows, expected at least {MIN_ROWS}"));
        }
        if rows < FEW_ROWS {
            tracing::warn!(
                "{rows} rows: with fewer than {FEW_ROWS} small changes will not be seen"
            );
        }
        let features = builder.finish()?;
        let found = evaluation::evaluate(
            &self.model.name,
            &file,
            &[handle.version()],
            &collected,
            &handle.facts().evaluation.clone(),
        );
        let figures = found.summary.figures.iter();
        let evaluation: BTreeMap<_, _> = figures
            .filter_map(|it| {
                Some((it.figure.name.to_owned(), it.value.filter(|it| it.is_finite())?))
            })
            .collect();
        let mut labels = collected.answered_classes(0);
        if labels.len() > MAX_LABELS {
            labels.clear();
        }
        Ok(Reference {
            model_sha256: handle.facts().digest.clone(),
            rows,
            features,
            labels,
            evaluation,
        })
    }
}
