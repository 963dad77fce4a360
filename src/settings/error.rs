//! What is wrong with settings: every fault at once, each with the place where it was written.

use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// Maximum number of faults that one report names.
const MAX_FAULTS: usize = 100;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In a file, at this line.
    File {
        /// The file, as the user named it.
        path: Arc<str>,
        /// Counted from one; 0 when the file as a whole is meant.
        line: usize,
    },
    /// In an environment variable of this name.
    Variable(String),
    /// In a command-line flag, as it was typed, without its value.
    Flag(String),
    /// Nowhere: it is the default.
    Default,
}

impl Origin {
    /// Whether the text of this origin names the key as well.
    fn names(&self, key: &str) -> bool {
        matches!(self, Self::Flag(flag) if flag.ends_with(key))
    }

    /// SettingErrors are reported by file and line first, because people read their file from the top.
    fn rank(&self) -> (u8, usize) {
        match self {
            Self::File { line, .. } => (0, *line),
            Self::Variable(_) => (1, 0),
            Self::Flag(_) => (2, 0),
            Self::Default => (3, 0),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: 0 } => f.write_str(path),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct SettingError {
    /// Where it was written.
    pub origin: Origin,
    /// The key at fault; empty when the fault is the source's own.
    pub key: String,
    /// One line: what was expected and what came.
    pub message: String,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        // A flag or variable may bear the key's own name already: no need to say it twice.
        if !self.key.is_empty() && !self.origin.names(&self.key) {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Every fault of one reading: those of the file by line, then those of the environment, then those
/// of the command line. Never empty where it is an error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Error)]
pub struct SettingErrors {
    list: Vec<SettingError>,
    n_left_out: usize,
}

impl SettingErrors {
    /// Adds one; beyond the maximum it is only counted.
    pub(super) fn add(&mut self, fault: SettingError) {
        if self.is_full() {
            self.n_left_out += 1;
        } else {
            self.list.push(fault);
        }
    }

    /// Whether further faults are only counted.
    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= MAX_FAULTS
    }

    /// The faults in their order as an error, or nothing when there are none.
    pub(super) fn check(mut self) -> Result<(), Self> {
        if self.list.is_empty() {
            return Ok(());
        }
        self.list.sort_by_key(|fault| fault.origin.rank());
        Err(self)
    }
}

impl From<SettingError> for SettingErrors {
    fn from(fault: SettingError) -> Self {
        Self { list: vec![fault], n_left_out: 0 }
    }
}

impl fmt::Display for SettingErrors {
    /// One line a fault, with no line end after the last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.list.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        if self.n_left_out > 0 {
            write!(f, "\nand {} more", self.n_left_out)?;
        }
        Ok(())
    }
}
