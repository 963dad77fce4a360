//! `sconce inspect FILE`: what is in a model file.

use super::Failure;
use clap::Args;
use std::path::PathBuf;

/// Show what is in a model file: methods, inputs, parameters, size, operators of concern
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Inspect {
    /// The model file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

impl Inspect {
    /// Checks that there is a file to inspect.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    pub fn run(&self) -> Result<(), Failure> {
        let unreadable =
            |error| Failure::Runtime(format!("{:?} cannot be read: {error}", self.file));
        std::fs::File::open(&self.file).map_err(unreadable)?;
        Err(Failure::Runtime("this build cannot read model files".into()))
    }
}
