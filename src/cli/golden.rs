//! `sconce golden MODEL --requests FILE`: the text of a golden.jsonl, from the answers of the version that serves.
//!
//! The model is loaded in this process and asked as `serve` would ask it, without HTTP. The text goes to the standard
//! output: where it belongs, beside which version, is for people to say.

use super::inside::Inside;
use super::{Failure, Settings, print};
use crate::inference::ModelName;
use crate::repository::Overrides;
use crate::rollout::golden;
use clap::Args;
use std::io::Write as _;
use std::path::PathBuf;

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
        let Some(loaded) = self.settings.read_or_print()? else { return Ok(()) };
        let file = self.requests.display().to_string();
        let unreadable = |what: &str| Failure::Runtime(format!("{file}: {what}"));
        let text = golden::read(&self.requests).map_err(|error| unreadable(&error.to_string()))?;
        let text = text.ok_or_else(|| unreadable("there is no such file"))?;
        let inside = Inside::new(&loaded.config)?;
        let alone = inside.load(&self.model, Overrides::default())?;
        let golden = golden::write(&alone.handle, &file, &text).map_err(Failure::Runtime);
        let version = alone.handle.version();
        alone.unload();
        print(&golden?)?;
        // The file goes to the standard output.
        let _ = writeln!(std::io::stderr(), "the answers are those of {}/{version}", self.model);
        Ok(())
    }
}
