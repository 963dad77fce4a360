//! What all clones of a repository share.

use super::catalog::Catalog;
use super::failure::LoadFailures;
use super::hold::{Bringer, Hold};
use super::intents::Intents;
use super::load::VersionLoader;
use super::options::RepositoryOptions;
use super::threads::DetachedLimit;
use super::verifier::Verifier;
use crate::inference::{ModelName, Version};
use crate::telemetry::events::{EventKind, Events, Subject};
use std::sync::{Arc, Condvar, Mutex};

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) catalog: Catalog,
    pub(super) loader: VersionLoader,
    pub(super) intents: Intents,
    pub(super) verifier: Option<Arc<dyn Verifier>>,
    pub(super) events: Events,
    pub(super) failures: Arc<LoadFailures>,
    /// What looked like a model at the start and is none, a sentence each.
    pub(super) ignored: Vec<String>,
    /// Of loads and orders under way.
    pub(super) detached: DetachedLimit,
    pub(super) hold: Hold,
    pub(super) bringer: Bringer,
    /// Held while something is decided: it is read, changed and written down.
    pub(super) deciding: Mutex<()>,
    /// True once nothing is to be watched any more.
    pub(super) ended: (Mutex<bool>, Condvar),
}

impl Shared {
    /// How the repository is to be run.
    pub(super) fn options(&self) -> &RepositoryOptions {
        &self.loader.parts.options
    }

    /// Tells operators what happened to a version.
    pub(super) fn tell(
        &self,
        kind: EventKind,
        name: &ModelName,
        version: Option<Version>,
        message: impl Into<String>,
    ) {
        let version = version.map(|version| version.0);
        self.events.add(kind, Subject { model: Some(name.as_str()), version }, message);
    }
}
