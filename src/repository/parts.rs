//! What a repository is made of.

use super::options::RepositoryOptions;
use super::sample::SampleDecoder;
use super::verifier::Verifier;
use crate::engine::Loader;
use crate::scheduler::Permits;
use crate::telemetry::Metrics;
use crate::telemetry::events::Events;
use std::sync::Arc;

/// What a repository stands on.
#[derive(Clone)]
pub struct RepositoryParts {
    /// How it is to be run.
    pub options: RepositoryOptions,
    /// Loads files that have not been tried: the child process.
    pub trial_loader: Arc<dyn Loader>,
    /// Loads files that have, in this process.
    pub loader: Arc<dyn Loader>,
    /// Loads those of them that run in a process of their own.
    pub isolated_loader: Arc<dyn Loader>,
    /// Reads sample.json.
    pub decode_sample: SampleDecoder,
    /// Shared by all models on the processor.
    pub permits: Permits,
    /// Where models are counted.
    pub metrics: Metrics,
    /// Has a look at versions before they get traffic, if anybody does.
    pub verifier: Option<Arc<dyn Verifier>>,
    /// Where operators read what happens.
    pub events: Events,
}

impl std::fmt::Debug for RepositoryParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RepositoryParts").field("options", &self.options).finish_non_exhaustive()
    }
}
