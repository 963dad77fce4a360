//! `sconce export FILE… --as FORM`: captured requests as other programs write them.

use super::Failure;
use crate::capture::{ExportFormat, Exported, Lines};
use clap::Args;
use clap::builder::PossibleValuesParser;
use std::io::{self, BufWriter, Write as _};
use std::path::PathBuf;

/// Write captured requests as KServe, SageMaker or the Open Inference Protocol do
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Export {
    /// Files of captured requests, or folders of them
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The form
    #[arg(long = "as", value_name = "FORM", value_parser = PossibleValuesParser::new(ExportFormat::ALL.map(ExportFormat::as_str)))]
    pub form: String,
}

impl Export {
    /// Writes all of them to the standard output.
    ///
    /// # Errors
    ///
    /// A file cannot be read or has a line that is no captured request, or nothing can be written.
    pub fn run(&self) -> Result<(), Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::Runtime(error.to_string());
        let form = ExportFormat::ALL.into_iter().find(|form| form.as_str() == self.form);
        let form = form.ok_or_else(|| failed(&format_args!("there is no form {:?}", self.form)))?;
        let mut lines = Lines::of(&self.files).map_err(|error| failed(&error))?;
        let mut to = BufWriter::new(io::stdout().lock());
        match form.write(&mut lines, &mut to).map_err(|error| failed(&error))? {
            Ok(Exported { written, left_out }) => {
                // Where it cannot be told, the count of lines still says it.
                let mut text = format!("{written} requests written");
                if left_out > 0 {
                    text += &format!(", {left_out} left out, whose inputs were not captured");
                }
                let _ = writeln!(io::stderr(), "{text}");
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(failed(&format_args!("standard output cannot be written: {error}"))),
        }
    }
}
