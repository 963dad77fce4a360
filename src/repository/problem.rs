//! What was wrong with a model when its folder was read last.

use crate::inference::Version;
use std::fmt;

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// The version that could not be loaded; `None` for what holds until the folder is read again.
    pub(super) version: Option<Version>,
    pub(super) reason: String,
}

/// All that was found.
#[derive(Debug, Clone, Default)]
pub(super) struct Problems {
    pub(super) found: Vec<Problem>,
    /// The versions that the folder held; `None` where it could not be read.
    pub(super) available: Option<Vec<Version>>,
}

impl Problem {
    /// Of the model, until its folder is read again.
    pub(super) fn of_model(reason: impl Into<String>) -> Self {
        Self { version: None, reason: reason.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "version {version}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl Problems {
    /// One of the model, about whose versions nothing is known.
    pub(super) fn of_model(reason: impl Into<String>) -> Self {
        Self { found: vec![Problem::of_model(reason)], available: None }
    }
}
