//! Which file of a version serves that has both, TorchScript and a package: the package where it gives the same answers, under the
//! same names, and is faster by more than chance.

use super::candidate::Candidate;
use super::failure::ModelFailure;
use super::layout::{MODEL_FILE, PACKAGE_FILE};
use super::parts::RepositoryParts;
use super::sample::Sample;
use super::threads::within;
use super::trial::TriedModel;
use crate::engine::probe::{self, Contest, Findings, Hints, arguments};
use crate::inference::{Batching, TensorSpec};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Ends that are remembered.
const MAX_KNOWN: usize = 1000;
/// How much faster than the other file a package must be, with all that its process costs.
const MIN_GAIN: f64 = 1.1;

/// A file that has passed its trial, and is loaded.
pub(super) struct Contestant<'a> {
    pub(super) candidate: Candidate<'a>,
    pub(super) tried: TriedModel,
}

/// How contests have ended, by the digests of both files: times differ from one to the next, and a reload is not to change what
/// serves.
#[derive(Debug, Default)]
pub(super) struct Contests(Mutex<HashMap<[String; 2], Result<String, String>>>);

impl Contests {
    /// The known end of this one, or its end now.
    fn end(
        &self,
        first: &Contestant<'_>,
        package: &Contestant<'_>,
        parts: &RepositoryParts,
    ) -> Result<String, String> {
        let key = [first, package].map(|it| it.candidate.fingerprint.digest.clone());
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known().get(&key) {
            return known.clone();
        }
        let Contest { difference, gain } = hold(first, package, parts)?;
        let times = format!("{gain:.3} times as fast");
        let end = if gain < MIN_GAIN {
            Err(format!("{times}, at least {MIN_GAIN} are wanted"))
        } else {
            Ok(format!("{times}, answers within {difference:.0e} of the largest"))
        };
        let mut known = known();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(key, end.clone());
        end
    }
}

/// The one that is to serve, and why, for its notes.
pub(super) fn choose<'a>(
    first: Contestant<'a>,
    package: Result<Contestant<'a>, ModelFailure>,
    parts: &RepositoryParts,
    contests: &Contests,
) -> (Contestant<'a>, String) {
    let outcome = package
        .map_err(|failure| failure.details().to_owned())
        .and_then(|package| contests.end(&first, &package, parts).map(|text| (package, text)));
    match outcome {
        Ok((package, text)) => {
            (package, format!("{PACKAGE_FILE} serves in place of {MODEL_FILE}: {text}"))
        }
        Err(reason) => {
            (first, format!("{MODEL_FILE} serves, and {PACKAGE_FILE} beside it does not: {reason}"))
        }
    }
}

/// Both loaded models against each other, or why they are not to be.
fn hold(
    first: &Contestant<'_>,
    package: &Contestant<'_>,
    parts: &RepositoryParts,
) -> Result<Contest, String> {
    differ(&first.tried.findings, &package.tried.findings)?;
    let Candidate { source, steps, settings, .. } = &package.candidate;
    let model = &*package.tried.model;
    let declared = |specs: &[TensorSpec]| (!specs.is_empty()).then(|| specs.to_vec());
    let inputs = declared(&source.manifest.inputs);
    let specs = arguments(model.signature(), inputs.as_deref()).map_err(|it| it.message)?;
    let sample = source.sample.as_deref();
    let sample = sample.map(|text| Sample { text, decode: &parts.decode_sample, steps });
    let sample = sample.map(|it| it.of_arguments(&specs)).transpose()?;
    let max_rows = model.signature().interface.as_ref().and_then(|it| it.max_rows());
    let hints = Hints {
        inputs,
        sample,
        max_batch_size: max_rows.unwrap_or(usize::MAX).min(settings.max_batch_size),
        ..Hints::default()
    };
    let rounds = probe::rounds(model, &hints).map_err(|it| it.message)?;
    let rounds = rounds.ok_or("no input is known to compare them with: add a sample.json")?;
    let engine = |it: &Contestant<'_>| it.tried.model.instance().map_err(|it| it.message);
    let (mut first, mut second) = (engine(first)?, engine(package)?);
    let contest = move || probe::contest(&mut *first, &mut *second, &rounds);
    // One of them runs in this process, and nothing else ends that.
    within(parts.options.trial_timeout, contest)
        .map_err(|error| format!("cannot start a thread: {error}"))?
        .unwrap_or_else(|| Err("comparing them took longer than a trial may".to_owned()))
}

/// What requests would notice of the other file, if anything.
fn differ(first: &Findings, package: &Findings) -> Result<(), String> {
    let stateful = |findings: &Findings| findings.batching == Batching::Stateful;
    if stateful(first) || stateful(package) {
        return Err("a model that keeps state is not compared with another".to_owned());
    }
    if first.batching.is_allowed() && !package.batching.is_allowed() {
        return Err("its requests could share no runs".to_owned());
    }
    let in_words = |specs: &[TensorSpec]| {
        let words: Vec<_> = specs.iter().map(|it| format!("{} {}", it.name, it.datatype)).collect();
        words.join(", ")
    };
    for (what, first, package) in
        [("inputs", &first.inputs, &package.inputs), ("outputs", &first.outputs, &package.outputs)]
    {
        let (first, package) = (in_words(first), in_words(package));
        if first != package {
            return Err(format!(
                "its {what} are {package}, not {first}; declare them in model.toml if only the names differ"
            ));
        }
    }
    if first.contract.form != package.contract.form {
        return Err("its answers have another form".to_owned());
    }
    Ok(())
}
