//! What this kernel lacks of the sandbox in which models run that have a child process: said at start, on `/health` and as a
//! metric.

use crate::engine::remote::{SANDBOX_LAYERS, missing_layers};
use crate::telemetry::{Collect, Samples, families};

/// Layers that are missing, by name.
#[derive(Debug, Clone)]
pub(super) struct SandboxFacts {
    pub(super) missing: Vec<&'static str>,
}

impl SandboxFacts {
    /// Asks the kernel, and warns of what it does not have.
    pub(super) fn ask() -> Self {
        let missing = missing_layers();
        if !missing.is_empty() {
            tracing::warn!(
                missing = missing.join(", "),
                "This kernel lacks a part of the sandbox: the code of models can reach files or the network there"
            );
        }
        Self { missing }
    }
}

impl Collect for SandboxFacts {
    fn collect(&self, samples: &mut Samples) {
        for layer in SANDBOX_LAYERS {
            let holds = !self.missing.contains(layer);
            samples.number(&families::SANDBOX_LAYER, &[layer], f64::from(u8::from(holds)));
        }
    }
}
