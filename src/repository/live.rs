//! What can change while the server runs.

use super::layout::NamedFolder;
use super::manifest::{DeviceChoice, Optimize};
use crate::inference::ModelName;
use crate::transform::Labels;
use arc_swap::ArcSwap;
use std::sync::Arc;
use std::time::Duration;

/// The options that can change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LiveOptions {
    /// Models whose folders lie elsewhere than in the models folder, or bear other names.
    pub named: Vec<NamedFolder>,
    /// The model that requests without a name mean.
    pub default_model: Option<ModelName>,
    /// What holds for models whose model.toml says nothing.
    pub defaults: Defaults,
}

/// The options as they are now. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<ArcSwap<LiveOptions>>);

impl Live {
    /// These, to begin with.
    #[must_use]
    pub fn new(options: LiveOptions) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(options)))
    }

    /// What holds now.
    #[must_use]
    pub fn now(&self) -> Arc<LiveOptions> {
        self.0.load_full()
    }

    /// Has others hold.
    pub(super) fn set(&self, options: LiveOptions) {
        self.0.store(Arc::new(options));
    }
}

/// What holds for a model whose model.toml says nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    /// Where to run.
    pub device: DeviceChoice,
    /// Whether the fastest form of a model is looked for.
    pub optimize: Optimize,
    /// Instances of each version.
    pub instances: usize,
    /// Threads that one operator may use, in each instance.
    pub intra_op_threads: usize,
    /// Maximum rows of a batch.
    pub max_batch_size: usize,
    /// How long an idle instance waits for more rows.
    pub max_queue_delay: Duration,
    /// Maximum requests that wait. A model may lower it.
    pub queue_capacity: usize,
    /// How long a request may have to wait for its run; `None` for what its model bears.
    pub max_queue_wait: Option<Duration>,
    /// Of so many shared runs one is looked at again, row by row; 0 looks at none.
    pub verify_every: u64,
    /// Maximum rows of one request. A model may lower it.
    pub max_rows: usize,
    /// Maximum bytes of one body. A model may lower it.
    pub max_body_bytes: u64,
    /// Longest that a request may take. A model may lower it.
    pub timeout: Duration,
    /// How many labels an answer lists.
    pub top: usize,
    /// How long past its deadline a run may go on before it counts as stuck.
    pub stuck_grace: Duration,
    /// Stuck runs that are replaced before the version fails.
    pub max_stuck: usize,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            device: DeviceChoice::Auto,
            optimize: Optimize::Auto,
            instances: 1,
            intra_op_threads: 1,
            max_batch_size: 64,
            max_queue_delay: Duration::ZERO,
            queue_capacity: 512,
            max_queue_wait: None,
            verify_every: 1000,
            max_rows: 1024,
            max_body_bytes: 16 << 20,
            timeout: Duration::from_secs(30),
            top: Labels::DEFAULT_TOP,
            stuck_grace: Duration::from_secs(5),
            max_stuck: 2,
        }
    }
}
