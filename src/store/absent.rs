//! What stands for a mirror in a program that cannot speak to stores: nothing, and an error that says so.

use super::error::StoreError;
use super::options::{Heard, InUse, MirrorOptions, SyncOutcome};
use std::convert::Infallible;
use std::time::Duration;

/// There is none.
#[derive(Debug, Clone)]
pub struct AbsentMirror(Infallible);

impl AbsentMirror {
    /// There is none.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn start(_options: MirrorOptions) -> Result<Self, StoreError> {
        Err(StoreError::NotBuilt)
    }

    /// See the file's head, as for the others.
    pub fn look(&self, _patience: Duration) {
        match self.0 {}
    }

    /// See the real one.
    pub fn wait(&self, _patience: Duration) {
        match self.0 {}
    }

    /// The same.
    pub fn tell_problems(&self, _heard: Heard) {
        match self.0 {}
    }

    /// The same.
    pub fn tell_use(&self, _in_use: InUse) {
        match self.0 {}
    }

    /// The same.
    #[must_use]
    pub fn not_yet(&self) -> Option<String> {
        match self.0 {}
    }

    /// The same.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match self.0 {}
    }

    /// The same.
    #[must_use]
    pub fn syncs(&self, _outcome: SyncOutcome) -> u64 {
        match self.0 {}
    }

    /// The same.
    #[must_use]
    pub fn downloaded_bytes(&self) -> u64 {
        match self.0 {}
    }

    /// The same.
    #[must_use]
    pub fn last_success(&self) -> u64 {
        match self.0 {}
    }
}
