//! The trial of a file that nothing is known about, in the child process behind a loader.
//!
//! What comes out is a verdict and whether it is a fact of the file, which may be remembered, or of
//! the circumstances.

use super::error::{Failure, FailureCode};
use super::layout::SAMPLE_FILE;
use super::load::SampleDecoder;
use super::manifest::{Manifest, Sharing};
use super::store::Verdict;
use crate::engine::probe::{self, Concern, FormOptions, Hints, PaddingOptions};
use crate::engine::{Artifact, Death, EngineError, Fault, LoadOptions, Loader};
use crate::inference::{
    Batching, Contract, InferError, ModelName, ModelSpec, NamedTensor, Padding, TensorSpec,
};
use crate::telemetry::TrialOutcome;
use crate::tensor::{DataType, Tensor};
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
    pub(super) manifest: &'a Manifest,
    /// The text of sample.json.
    pub(super) sample: Option<&'a str>,
    pub(super) max_batch_size: usize,
    /// Whether model.toml says that.
    pub(super) batch_size_is_chosen: bool,
    /// What is wanted of the model's form.
    pub(super) form: FormOptions,
    /// How long everything may take.
    pub(super) timeout: Duration,
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
                is_fact: is_fact(error.fault),
                outcome: outcome(error.fault),
                verdict: Verdict::Failed(error.into()),
            },
        }
    }
}

/// Whether a fault is the file's own. Time and memory may have been short for reasons of the
/// machine; a model that hangs therefore costs the time of a trial at each start.
const fn is_fact(fault: Fault) -> bool {
    match fault {
        Fault::InvalidFile | Fault::Raised | Fault::Unsupported | Fault::Died(Death::Crashed) => {
            true
        }
        // A driver or a library may be there at the next start.
        Fault::Environment
        | Fault::OutOfMemory
        | Fault::Device
        | Fault::TimedOut
        | Fault::Died(Death::Terminated | Death::OutOfMemory)
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

fn attempt(
    loader: &dyn Loader,
    decode_sample: &SampleDecoder,
    subject: &Subject<'_>,
) -> Result<Verdict, EngineError> {
    let started_at = Instant::now();
    let model = loader.load(&subject.artifact, &subject.options)?;
    // Before anything runs: the file alone says what it could do.
    let concerns = probe::concerns(model.signature());
    if !concerns.is_empty() && !subject.trusted {
        let reason = refusal(subject, &concerns);
        return Ok(Verdict::Failed(Failure::new(FailureCode::Refused, reason)));
    }
    let manifest = subject.manifest;
    let declared = |specs: &[TensorSpec]| (!specs.is_empty()).then(|| specs.to_vec());
    let inputs = declared(&manifest.inputs);
    let sample = match subject.sample {
        None => None,
        Some(text) => {
            let specs = probe::arguments(model.signature(), inputs.as_deref())?;
            match sample(text, &specs, decode_sample) {
                Ok(tensors) => Some(tensors),
                Err(error) => {
                    let reason = format!("{}/{SAMPLE_FILE}: {error}", subject.name);
                    return Ok(Verdict::Failed(Failure::new(FailureCode::Settings, reason)));
                }
            }
        }
    };
    let hints = Hints {
        inputs,
        outputs: declared(&manifest.outputs),
        sample,
        max_batch_size: subject.max_batch_size,
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

/// The tensors of a sample, one for each argument.
fn sample(
    text: &str,
    specs: &[TensorSpec],
    decode: &SampleDecoder,
) -> Result<Vec<Option<Tensor>>, InferError> {
    let spec = ModelSpec {
        inputs: specs.to_vec(),
        outputs: Vec::new(),
        batching: Batching::Unprobed,
        max_rows: usize::MAX,
        contract: Contract::default(),
    };
    let mut inputs: Vec<Option<Tensor>> = vec![None; specs.len()];
    for NamedTensor { name, tensor } in decode(text.as_bytes(), &spec)? {
        let place = specs.iter().position(|spec| spec.name == name);
        let Some(place) = place else {
            return Err(InferError::invalid_input(&*name, format!("there is no input {name:?}")));
        };
        inputs[place] = Some(tensor);
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_file_itself_did_is_a_fact() {
        assert!(is_fact(Fault::InvalidFile) && is_fact(Fault::Died(Death::Crashed)));
        let killed = [Death::Terminated, Death::OutOfMemory].map(Fault::Died);
        let killed = killed.into_iter();
        for fault in killed.chain([Fault::TimedOut, Fault::OutOfMemory, Fault::Environment]) {
            assert!(!is_fact(fault), "{fault:?}");
        }
    }
}
