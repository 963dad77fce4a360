//! What `auto` depends on: found once at start and handed in, so that reading a configuration asks
//! nothing of the machine.

use super::resources;
use crate::telemetry::logging::LogFormat;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// What the machine, the container and the user give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Cores that can be used at once.
    pub cpus: usize,
    /// Memory that can be used, in bytes.
    pub memory: u64,
    /// Folder for what outlives the process.
    pub state_dir: PathBuf,
    /// Whether somebody reads the log on a terminal.
    pub is_terminal: bool,
}

impl Host {
    /// Asks the machine.
    #[must_use]
    pub fn discover(variables: &[(OsString, OsString)]) -> Self {
        let root = Path::new("/");
        Self {
            cpus: resources::cpu_quota(root),
            memory: resources::memory_limit(root),
            state_dir: state_dir(variables),
            is_terminal: std::io::stderr().is_terminal(),
        }
    }

    pub(super) fn log_format(&self) -> LogFormat {
        if self.is_terminal { LogFormat::Human } else { LogFormat::Json }
    }
}

/// The user's folder for state, or one in the working folder for a user without a home, as in many
/// containers. A relative path in these variables is to be ignored, says the XDG specification.
fn state_dir(variables: &[(OsString, OsString)]) -> PathBuf {
    let folder = |name: &str| {
        let (_, value) = variables.iter().find(|(variable, _)| variable == name)?;
        Some(PathBuf::from(value)).filter(|path| path.is_absolute())
    };
    folder("XDG_STATE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local/state")))
        .map_or_else(|| PathBuf::from("state"), |folder| folder.join("sconce"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variables: &[(&str, &str)], expected: &str) {
        let variables: Vec<_> =
            variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        assert_eq!(state_dir(&variables), Path::new(expected));
    }

    #[test]
    fn state_lies_where_the_user_keeps_it() {
        check(&[("HOME", "/home/a"), ("XDG_STATE_HOME", "/var/s")], "/var/s/sconce");
        check(&[("HOME", "/home/a"), ("XDG_STATE_HOME", "s")], "/home/a/.local/state/sconce");
        check(&[("HOME", "")], "state");
        check(&[], "state");
    }
}
