//! `sconce check`: would `serve` start, and would every model be served?

use super::{Failure, Settings, print};
use clap::Args;

/// Check the configuration and every model, without serving
#[derive(Debug, Clone, PartialEq, Eq, Default, Args)]
pub struct Check {
    /// The configuration.
    #[command(flatten)]
    pub settings: Settings,
}

impl Check {
    /// Reads the configuration and says that it is good.
    ///
    /// # Errors
    ///
    /// The configuration is faulty.
    pub fn run(&self) -> Result<(), Failure> {
        let loaded = self.settings.load()?;
        if self.settings.print_config {
            return print(&loaded.to_toml());
        }
        loaded.check_folders()?;
        print("configuration: ok\n")
    }
}
