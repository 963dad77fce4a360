//! `sconce serve`: serve the models until told to stop.

use super::{Failure, Settings};
use crate::app;
use clap::Args;

/// Serve the models of a folder over HTTP
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
pub struct Serve {
    /// The configuration.
    #[command(flatten)]
    pub settings: Settings,
}

impl Serve {
    /// Reads the configuration and serves, or prints it if that is all that is asked for.
    ///
    /// # Errors
    ///
    /// The configuration is faulty, or the server cannot start.
    pub fn run(&self) -> Result<(), Failure> {
        let Some(loaded) = self.settings.read_or_print()? else { return Ok(()) };
        let settings = self.settings.clone();
        let read_again = move || {
            settings.check_file()?;
            let loaded = settings.load().map_err(|failure| failure.to_string())?;
            loaded.check_folders().map_err(|faults| faults.to_string())?;
            Ok(loaded)
        };
        match app::serve(loaded, Box::new(read_again)) {
            Ok(never) => match never {},
            Err(error) => Err(Failure::Runtime(error.to_string())),
        }
    }
}
