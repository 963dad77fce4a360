//! What has to be known about a model before it may serve, found out by running it.
//!
//! All policy, no process: it sees a [`Model`] and does not know whether that lives in a child (see
//! `remote`) or here. What it proves holds for the inputs that it tried; it can refute that a model
//! is safe to batch, and cannot prove it for all inputs.

mod analysis;
mod arguments;
mod candidates;
mod comparison;
mod concerns;
mod contest;
mod curve;
mod examine;
mod forms;
mod generator;
mod hazards;
mod independence;
mod outputs;
mod padding;
pub mod proof;
mod run;
mod squeezed;
mod values;

pub use arguments::arguments;
pub use concerns::{Concern, Threat, concern, concerns, draws, is_straight_line, risk};
pub use contest::{Contest, Rounds, contest, rounds};
pub use curve::{Curve, knee};
pub use forms::{FormFacts, FormFindings, FormOptions, LoadForm, TriedForm};

use super::{EngineError, Model};
use crate::inference::{AnswerForm, Batching, Contract, InputPadding, Padding, TensorSpec};
use crate::tensor::Tensor;
use std::sync::Arc;
use std::time::Duration;

/// What model.toml says about padding inputs.
#[derive(Debug, Clone)]
pub struct PaddingOptions {
    /// Inputs by their declared names, and how they are padded.
    pub pads: Vec<(Arc<str>, InputPadding)>,
    /// Sizes to pad to, rising.
    pub buckets: Vec<usize>,
}

/// What is known about a model besides its file.
#[derive(Debug, Clone)]
pub struct Hints {
    /// The inputs that model.toml declares.
    pub inputs: Option<Vec<TensorSpec>>,
    /// The outputs that model.toml declares.
    pub outputs: Option<Vec<TensorSpec>>,
    /// Inputs that the model accepts, one for each argument.
    pub sample: Option<Vec<Option<Tensor>>>,
    /// Most rows that are ever to run together.
    pub max_batch_size: usize,
    /// Whether somebody has chosen that for this model: then it is not asked which number of rows suits it.
    pub batch_size_is_chosen: bool,
    /// Whether requests are to be put together when that is safe.
    pub batching_wanted: bool,
    /// Whether model.toml vouches for what is not proved.
    pub is_vouched_for: bool,
    /// How far from its answer alone model.toml lets a row's answer in a batch be, relative to the largest.
    pub max_difference: Option<f64>,
    /// How inputs are to be padded when that is safe; `None` when they are not.
    pub padding: Option<PaddingOptions>,
    /// How far a row's answer in a batch may be from the one that it gets alone, relative to the largest
    /// answer. Devices that compute in reduced precision need more than the default.
    pub tolerance: f64,
    /// About how long probing may take; large batches of slow models are left out to keep it.
    pub budget: Duration,
    /// What is wanted of the model's form.
    pub form: FormOptions,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            inputs: None,
            outputs: None,
            sample: None,
            max_batch_size: 32,
            batch_size_is_chosen: false,
            batching_wanted: true,
            is_vouched_for: false,
            max_difference: None,
            padding: None,
            tolerance: 1e-5,
            budget: Duration::from_secs(20),
            form: FormOptions::default(),
        }
    }
}

/// Where the shapes of the inputs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShapeSource {
    /// model.toml, or the file itself.
    Declared,
    /// sample.json.
    Sample,
    /// The parameters' shapes, and a run that worked.
    Guessed,
    /// Nowhere: they are not known.
    None,
}

impl ShapeSource {
    /// Its name in metadata.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Sample => "sample",
            Self::Guessed => "guessed",
            Self::None => "none",
        }
    }
}

/// How long runs of so many rows take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedRun {
    /// Rows of each of them.
    pub n_rows: usize,
    /// What one takes.
    pub duration: Duration,
}

impl TimedRun {
    /// What a row of it takes.
    #[must_use]
    pub fn per_row(self) -> Duration {
        self.duration / u32::try_from(self.n_rows.max(1)).unwrap_or(u32::MAX)
    }
}

/// How long a run takes: medians of a few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunTimes {
    /// With the minimum of rows that was timed, usually one.
    pub min_rows: TimedRun,
    /// With the maximum of rows that was timed.
    pub max_rows: TimedRun,
}

/// What was found out.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// One for each argument, in the model's order.
    pub inputs: Vec<TensorSpec>,
    /// In the order in which the model returns them; as declared, or empty, when it never ran.
    pub outputs: Vec<TensorSpec>,
    /// What requests and answers are like, whatever is in them.
    pub contract: Contract,
    /// Whether and why not requests may be put together.
    pub batching: Batching,
    /// What of the model's code says so, in a sentence.
    pub grounds: Option<String>,
    /// How inputs of different sizes may be padded to one; `None` where that was not asked for or
    /// changes answers.
    pub padding: Option<Padding>,
    /// Where the inputs' shapes come from.
    pub shape_source: ShapeSource,
    /// Sentences for the log and the metadata.
    pub notes: Vec<String>,
    /// How fast it is; `None` when it never ran.
    pub times: Option<RunTimes>,
    /// What runs of it cost in that form, by their rows; empty where that was not asked.
    pub curve: Curve,
    /// In which form it is to run.
    pub form: FormFindings,
    /// What of its code can end the process that runs it, in a sentence.
    pub risk: Option<String>,
}

/// Finds out what a model takes and gives, and whether its rows may be batched.
///
/// # Errors
///
/// The declaration does not match the model, the model refuses its sample, or it cannot be run at
/// all (its process died, hung, or the device failed).
pub fn probe(model: &dyn Model, hints: &Hints) -> Result<Findings, EngineError> {
    examine(model, hints).map(|examined| examined.findings)
}

/// [`probe`] of a model in its plain form, and then which form of it to run: `load` loads the others.
///
/// # Errors
///
/// As for [`probe`]; or a reduced precision is asked for, and no form has answers near enough.
pub fn probe_forms(
    model: Box<dyn Model>,
    hints: &Hints,
    load: &mut LoadForm<'_>,
) -> Result<Findings, EngineError> {
    let examined = examine(&*model, hints)?;
    forms::choose(model, examined, hints, load)
}

/// What was found out about the plain form, and what to run the others with; `None` where nothing is known to run.
struct Examined {
    findings: Findings,
    workload: Option<forms::Workload>,
}

fn examine(model: &dyn Model, hints: &Hints) -> Result<Examined, EngineError> {
    let signature = model.signature();
    let specs = arguments(signature, hints.inputs.as_deref())?;
    let candidates = candidates::candidates(signature, specs.clone(), hints)?;
    let mut probe = run::Probe::new(model, hints)?;
    if let Some(accepted) = probe.first_accepted(&candidates)? {
        return probe.examine(accepted);
    }
    // Random numbers were refused or there were none to try: that is no fault of the model.
    let batching = if signature.mutates_state { Batching::Stateful } else { Batching::Unprobed };
    let mut notes = probe.into_notes();
    let refusal = notes.last().cloned().filter(|_| batching == Batching::Unprobed);
    notes.push(Batching::Unprobed.reason().to_owned());
    let declared = hints.inputs.is_some() || signature.interface.is_some();
    let outputs = hints.outputs.clone().unwrap_or_default();
    let mut contract = Contract::of_declared(outputs.iter().map(|spec| &spec.shape));
    if !arguments::share_rows(&specs, hints.sample.as_deref()) {
        contract = Contract { form: AnswerForm::Whole, inputs_have_rows: false, ..contract };
    }
    let findings = Findings {
        inputs: specs,
        contract,
        outputs,
        batching,
        grounds: refusal,
        padding: None,
        shape_source: if declared { ShapeSource::Declared } else { ShapeSource::None },
        notes,
        times: None,
        curve: Curve::new(),
        form: FormFindings::default(),
        risk: risk(signature),
    };
    Ok(Examined { findings, workload: None })
}

#[cfg(test)]
mod form_tests;
#[cfg(test)]
mod tests;
