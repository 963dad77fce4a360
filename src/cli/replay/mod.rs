//! `sconce replay FILE… --against MODEL/VERSION`: what another version answers to captured requests.

mod report;

use super::evaluate::{ModelArgument, Progress};
use super::inside::{self, Inside};
use super::{Failure, Settings, print};
use crate::capture::{Lines, Replay, Replayed};
use crate::repository::Overrides;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Ask a version for captured requests again, and compare its answers with those that were given
#[derive(Debug, Clone, PartialEq, Args)]
pub struct ReplayRequests {
    /// Files of captured requests, or folders of them
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The model, and its version unless the one that would serve is meant
    #[arg(long, value_name = "MODEL[/VERSION]")]
    pub against: ModelArgument,
    /// Answers whose numbers differ by no more than this, relative to the largest of an output, are the same
    #[arg(long, value_name = "NUMBER", default_value = "1e-4", value_parser = tolerance)]
    pub tolerance: f64,
    /// Fail (exit status 1) when more than this part of the rows gets another class, or of the requests other numbers
    /// where there are no classes
    #[arg(long, value_name = "PART", value_parser = part)]
    pub max_changed: Option<f64>,
    /// Print JSON in place of a table
    #[arg(long)]
    pub json: bool,
    /// Write a page
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// The configuration.
    #[command(flatten)]
    pub settings: Settings,
}

fn tolerance(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|it: &f64| it.is_finite() && *it >= 0.0);
    number.ok_or_else(|| "expected a number from 0".to_owned())
}

fn part(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|it| (0.0..=1.0).contains(it));
    number.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

impl ReplayRequests {
    /// Asks again, and tells how the answers differ.
    ///
    /// # Errors
    ///
    /// The configuration or a file is faulty, the model cannot be loaded, nothing could be compared, or more answers differ
    /// than may.
    pub fn run(&self) -> Result<(), Failure> {
        let Some(loaded) = self.settings.read_or_print()? else { return Ok(()) };
        let failed = |error: &dyn std::fmt::Display| Failure::Runtime(error.to_string());
        let mut lines = Lines::of(&self.files).map_err(|error| failed(&error))?;
        let inside = Inside::new(&loaded.config)?;
        let ModelArgument { name, version } = &self.against;
        // All requests are to be answered, however long that takes.
        let patience = Some(Duration::MAX);
        let overrides =
            Overrides { version: *version, max_queue_wait: patience, ..Overrides::default() };
        let alone = inside.load(name, overrides)?;
        let version = alone.handle.version();
        let mut progress = Progress::new();
        let replay = Replay::new(&alone.handle, self.tolerance);
        let tell = |n_lines| progress.tell(usize::try_from(n_lines).unwrap_or(usize::MAX));
        let replayed = inside.runtime.block_on(replay.run(&mut lines, tell));
        progress.end();
        alone.unload();
        let found = replayed.map_err(|error| failed(&error))?;
        let subject = format!("{name}/{version}");
        if let Some(path) = &self.report {
            let page = report::html(&subject, self.tolerance, &found);
            let failed = |error| Failure::Runtime(format!("{}: {error}", path.display()));
            std::fs::write(path, page).map_err(failed)?;
        }
        if self.json {
            print(&format!("{:#}\n", report::json(&subject, self.tolerance, &found)))?;
        } else {
            print(&report::table(&subject, self.tolerance, &found))?;
        }
        self.judge(&found).map_or(Ok(()), |what| {
            Err(inside::failed(name, format_args!("version {version}: {what}")))
        })
    }

    /// Why the answers do not suffice.
    fn judge(&self, found: &Replayed) -> Option<String> {
        let failed: u64 = found.failed.values().sum();
        if found.compared + failed == 0 {
            return Some(format!("none of {} captured requests could be asked", found.lines));
        }
        let max_changed = self.max_changed?;
        let changed = found.changed();
        (changed > max_changed).then(|| {
            format!("{changed:.4} of the answers are other ones, at most {max_changed} may be")
        })
    }
}
