//! The trial of a file that nothing is known about, in the child process behind a loader.
//!
//! What comes out is a verdict and whether it is a fact of the file, which may be remembered, or of
//! the circumstances.

use super::failure::{FailureCode, ModelFailure};
use super::manifest::{Manifest, Sharing};
use super::sample::Sample;
use super::verdict::Verdict;
use super::verdicts::VerdictFile;
use crate::engine::probe::{self, Concern, Findings, FormOptions, Hints, PaddingOptions, Threat};
use crate::engine::{Artifact, Death, EngineError, Fault, LoadOptions, Loader, Model};
use crate::inference::{ModelName, Padding, TensorSpec};
use crate::telemetry::TrialOutcome;
use crate::tensor::DataType;
use std::time::{Duration, Instant};

/// What is to be tried.
pub(super) struct Subject<'a> {
    pub(super) name: &'a ModelName,
    pub(super) artifact: Artifact,
    pub(super) options: LoadOptions,
    /// SHA-256 of the model file.
    pub(super) digest: &'a str,
    /// Whether the server's configuration vouches for the file.
    pub(super) trusted: bool,
    /// Whether it may serve in a process of its own.
    pub(super) may_be_isolated: bool,
    pub(super) manifest: &'a Manifest,
    pub(super) sample: Option<Sample<'a>>,
    pub(super) max_batch_size: usize,
    /// Whether model.toml says that.
    pub(super) batch_size_is_chosen: bool,
    /// What is wanted of the model's form.
    pub(super) form: FormOptions,
    /// How long everything may take.
    pub(super) timeout: Duration,
}

/// A model that passed its trial, loaded in this process in the form that the trial found best.
pub(super) struct TriedModel {
    pub(super) findings: Findings,
    pub(super) model: Box<dyn Model>,
    /// Where the verdict on it is kept.
    pub(super) verdict: VerdictFile,
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
    pub(super) fn run(loader: &dyn Loader, subject: &Subject<'_>) -> Self {
        match attempt(loader, subject) {
            Ok(verdict) => {
                let outcome = match verdict {
                    Verdict::Passed(_) => TrialOutcome::Passed,
                    Verdict::Failed(_) => TrialOutcome::Failed,
                };
                Self { verdict, is_fact: true, outcome }
            }
            Err(error) => Self {
                is_fact: is_fact(error.fault),
                outcome: outcome(error.fault),
                verdict: Verdict::Failed(with_key(error).into()),
            },
        }
    }
}

/// The error with the key by which more could have been allowed.
fn with_key(error: EngineError) -> EngineError {
    let key = match error.fault {
        Fault::TimedOut => "trial.timeout",
        Fault::OutOfMemory | Fault::Died(Death::OutOfMemory) => "trial.memory_bytes",
        // Native code that gets no memory mostly aborts, or uses what it did not get.
        Fault::Died(Death::Crashed) => "its memory is limited by trial.memory_bytes",
        _ => return error,
    };
    EngineError { message: format!("{} ({key})", error.message), ..error }
}

/// Whether a fault is the file's own. Time and memory may have been short for reasons of the machine, and no end of a process
/// says that they were not: what gets no memory aborts, and this processor or kernel may lack what another has. A model that
/// hangs or crashes therefore costs a trial at each start.
const fn is_fact(fault: Fault) -> bool {
    match fault {
        Fault::InvalidFile | Fault::Raised | Fault::Unsupported => true,
        // A driver or a library may be there at the next start.
        Fault::Environment
        | Fault::OutOfMemory
        | Fault::Device
        | Fault::TimedOut
        | Fault::Died(_)
        | Fault::Internal => false,
    }
}

fn outcome(fault: Fault) -> TrialOutcome {
    match fault {
        Fault::Died(_) => TrialOutcome::Crashed,
        Fault::TimedOut => TrialOutcome::TimedOut,
        Fault::InvalidFile
        | Fault::Raised
        | Fault::Unsupported
        | Fault::Environment
        | Fault::OutOfMemory
        | Fault::Device
        | Fault::Internal => TrialOutcome::Failed,
    }
}

fn attempt(loader: &dyn Loader, subject: &Subject<'_>) -> Result<Verdict, EngineError> {
    let started_at = Instant::now();
    let model = loader.load(&subject.artifact, &subject.options)?;
    // Before anything runs: the file alone says what it could do.
    let mut concerns = probe::concerns(model.signature());
    concerns.retain(|it| !(subject.may_be_isolated && it.threat == Threat::Process));
    if !concerns.is_empty() && !subject.trusted {
        let reason = refusal(subject, &concerns);
        return Ok(Verdict::Failed(ModelFailure::new(FailureCode::Refused, reason)));
    }
    let manifest = subject.manifest;
    let declared = |specs: &[TensorSpec]| (!specs.is_empty()).then(|| specs.to_vec());
    let inputs = declared(&manifest.inputs);
    let sample = match subject.sample {
        None => None,
        Some(sample) => {
            let specs = probe::arguments(model.signature(), inputs.as_deref())?;
            match sample.of_arguments(&specs) {
                Ok(tensors) => Some(tensors),
                Err(reason) => {
                    return Ok(Verdict::Failed(ModelFailure::new(FailureCode::Settings, reason)));
                }
            }
        }
    };
    let max_rows = model.signature().interface.as_ref().and_then(|it| it.max_rows());
    let hints = Hints {
        inputs,
        outputs: declared(&manifest.outputs),
        sample,
        max_batch_size: max_rows.unwrap_or(usize::MAX).min(subject.max_batch_size),
        batch_size_is_chosen: subject.batch_size_is_chosen,
        padding: padding_options(manifest),
        batching_wanted: manifest.batching.enabled != Some(Sharing::Off),
        is_vouched_for: manifest.batching.enabled == Some(Sharing::Trust),
        max_difference: manifest.batching.max_difference,
        tolerance: manifest.batching.max_difference.unwrap_or(0.0).max(Hints::default().tolerance),
        form: subject.form,
        ..Hints::default()
    };
    let mut load = |form, outputs: &[DataType], within: Duration| {
        let left = subject.timeout.saturating_sub(started_at.elapsed());
        if left.is_zero() {
            return Err(EngineError::new(Fault::Internal, "the time of the trial is up"));
        }
        let options = LoadOptions {
            form,
            outputs: outputs.to_vec(),
            within: Some(within.min(left)),
            ..subject.options.clone()
        };
        loader.load(&subject.artifact, &options)
    };
    probe::probe_forms(model, &hints, &mut load).map(|it| Verdict::Passed(Box::new(it)))
}

/// What model.toml wants to have padded, if anything.
fn padding_options(manifest: &Manifest) -> Option<PaddingOptions> {
    let pads: Vec<_> =
        manifest.pads.iter().map(|it| (it.input.clone(), it.padding.clone())).collect();
    let buckets = manifest.batching.pad_buckets.clone();
    let buckets = buckets.unwrap_or_else(Padding::default_buckets);
    (!pads.is_empty()).then_some(PaddingOptions { pads, buckets })
}

fn refusal(subject: &Subject<'_>, concerns: &[Concern<'_>]) -> String {
    let names: Vec<_> = concerns.iter().map(|concern| concern.name).collect();
    format!(
        "the file uses {}, which can reach beyond the model's tensors; to serve it anyway, add \"{}@sha256:{}\" to trusted_models",
        names.join(", "),
        subject.name,
        subject.digest
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_file_itself_did_is_a_fact() {
        assert!(is_fact(Fault::InvalidFile) && is_fact(Fault::Raised));
        let killed = [Death::Crashed, Death::Terminated, Death::OutOfMemory].map(Fault::Died);
        let killed = killed.into_iter();
        for fault in killed.chain([Fault::TimedOut, Fault::OutOfMemory, Fault::Environment]) {
            assert!(!is_fact(fault), "{fault:?}");
        }
    }
}
