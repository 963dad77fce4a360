//! Trials of model files, by how they ended.

use super::collect::Collect;
use super::exposition::Samples;
use super::families;
use super::number::Counter;

/// How the trial of a model file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialOutcome {
    /// The model may be served.
    Passed,
    /// The file is no model, or one that may not be served.
    Failed,
    /// The child process died.
    Crashed,
    /// The child process took too long.
    TimedOut,
    /// An earlier verdict held, no child was needed.
    Known,
}

impl TrialOutcome {
    const NAMES: [&'static str; 5] = ["passed", "failed", "crashed", "timed_out", "known"];
}

/// Counts them.
#[derive(Debug, Default)]
pub(super) struct Trials([Counter; TrialOutcome::NAMES.len()]);

impl Trials {
    pub(super) fn add(&self, outcome: TrialOutcome) {
        self.0[outcome as usize].add(1);
    }
}

impl Collect for Trials {
    fn collect(&self, samples: &mut Samples) {
        for (name, count) in TrialOutcome::NAMES.iter().zip(&self.0) {
            samples.number(&families::TRIALS, &[name], count.get() as f64);
        }
    }
}
