//! Which form of a model is the fastest that gives the same answers: every one that comes into
//! question is loaded, compared with the plain one, and timed against it, run by run in turn.
//!
//! A form that does not load, raises, kills its process or hangs is out, and the model none the
//! worse: whatever happens here, the plain form has passed already. Only a reduced precision that was
//! asked for and cannot be had is a failure.

use super::comparison::{FormComparison, Measured, Subject};
use super::curve;
use super::generator::InputGenerator;
use super::{Examined, Findings, Hints, RunTimes};
use crate::engine::{EngineError, Fault, Model, ModelForm, Precision, Reach, Rewrite, Signature};
use crate::inference::Batching;
use crate::tensor::DataType;
use std::time::Duration;

/// How much faster than what is chosen so far a form must be: less may be chance, or lost again
/// where several threads run the model, and every step away from the file's own form has to be worth
/// something. (A text encoder's optimized form, 1.05 times as fast alone, was slower on two threads.)
const MIN_GAIN: f64 = 1.1;

/// How long the costs by rows may be measured.
const CURVE_TIME: Duration = Duration::from_secs(6);

/// Loads the model in a form, whose outputs in the plain form have these datatypes, and may be ended
/// after that time.
pub type LoadForm<'a> =
    dyn FnMut(ModelForm, &[DataType], Duration) -> Result<Box<dyn Model>, EngineError> + 'a;

/// What is wanted of the form of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FormOptions {
    /// Whether rewritten forms are to be tried.
    pub optimize: bool,
    /// In which numbers to compute.
    pub precision: Precision,
    /// How far answers in a reduced precision may be from the file's own, relative to the largest, and
    /// which share of rows may change their class.
    pub max_difference: f64,
    /// Whether the first output holds scores of classes; if there is a single one, the value from
    /// which it means the second class.
    pub classes: Option<f64>,
    /// How long all forms may take together.
    pub budget: Duration,
}

impl Default for FormOptions {
    fn default() -> Self {
        Self {
            optimize: true,
            precision: Precision::Fp32,
            max_difference: 1e-2,
            classes: None,
            budget: Duration::from_secs(20),
        }
    }
}

/// What became of a form.
#[derive(Debug, Clone, PartialEq)]
pub struct TriedForm {
    /// Which.
    pub form: ModelForm,
    /// What it is like; or why it is out.
    pub outcome: Result<FormFacts, String>,
}

/// What is known about a form beside the plain one.
#[derive(Debug, Clone, PartialEq)]
pub struct FormFacts {
    /// The plain form's time over this one's: the geometric mean over the sizes that were timed.
    pub gain: f64,
    /// The largest difference from the plain form's answers, relative to the largest of them.
    pub difference: f64,
    /// How many rows changed their class, and of how many, where there are classes.
    pub changed: Option<(usize, usize)>,
    /// How long its runs take.
    pub times: RunTimes,
}

/// In which form a model is to run, and why.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FormFindings {
    /// The form.
    pub chosen: ModelForm,
    /// The others that were tried, and the chosen one among them unless it is the plain one.
    pub tried: Vec<TriedForm>,
}

impl FormFindings {
    /// What is known about the chosen form; `None` for the plain one.
    #[must_use]
    pub fn facts(&self) -> Option<&FormFacts> {
        let chosen = self.tried.iter().find(|tried| tried.form == self.chosen)?;
        chosen.outcome.as_ref().ok()
    }

    /// How much faster than the plain form the chosen one is.
    #[must_use]
    pub fn gain(&self) -> f64 {
        self.facts().map_or(1.0, |facts| facts.gain)
    }
}

/// What the forms of a model are run with: inputs that it takes in its plain form.
pub(super) struct Workload {
    pub(super) generator: InputGenerator,
    pub(super) fixed: Option<usize>,
    /// Rows that are unlike the given ones, which the model took alone.
    pub(super) unlike: Vec<u64>,
}

/// Adds to the findings in which form the model is to run, and what its runs cost by their rows.
pub(super) fn choose(
    plain: Box<dyn Model>,
    examined: Examined,
    hints: &Hints,
    load: &mut LoadForm<'_>,
) -> Result<Findings, EngineError> {
    let Examined { findings, workload } = examined;
    let mut findings = compare(&*plain, findings, workload.as_ref(), hints, load)?;
    let is_asked = findings.batching.is_allowed() && !hints.batch_size_is_chosen;
    if let (true, Some(Workload { generator, fixed: None, .. }), Some(times)) =
        (is_asked, &workload, findings.times)
    {
        let within = hints.form.budget.min(CURVE_TIME);
        let datatypes: Vec<_> = findings.outputs.iter().map(|spec| spec.datatype).collect();
        let sizes = curve::Sizes {
            max_rows: hints.max_batch_size,
            per_row: times.max_rows.per_row(),
            within,
        };
        let model = match findings.form.chosen {
            ModelForm::PLAIN => Ok(plain),
            form => {
                drop(plain);
                load(form, &datatypes, hints.form.budget)
            }
        };
        let curve = model
            .and_then(|model| model.instance())
            .and_then(|mut engine| curve::measure(&mut *engine, generator, sizes));
        match curve {
            Ok(curve) => findings.curve = curve,
            // It has passed: what came over it now costs it this finding and nothing else.
            Err(error) => findings.notes.push(format!("no batch size was looked for: {error}")),
        }
    }
    Ok(findings)
}

fn compare(
    plain: &dyn Model,
    mut findings: Findings,
    workload: Option<&Workload>,
    hints: &Hints,
    load: &mut LoadForm<'_>,
) -> Result<Findings, EngineError> {
    let options = &hints.form;
    let forms = candidates(plain.signature(), options);
    if forms.is_empty() {
        return Ok(findings);
    }
    let stateful = findings.batching == Batching::Stateful;
    let (Some(workload), Some(times), false) = (workload, findings.times, stateful) else {
        return without_comparison(findings, options);
    };
    let eager = forms.iter().filter(|form| !is_fallback(**form, options)).count().max(1);
    let subject = Subject { findings: &findings, times, workload };
    let comparison = FormComparison::new(plain, subject, options, eager, load);
    let mut comparison = match comparison {
        Ok(comparison) => comparison,
        // It has passed: whatever came over it now costs it the other forms and nothing else.
        Err(error) if options.precision == Precision::Fp32 => {
            findings.notes.push(format!("no other form was tried: {error}"));
            return Ok(findings);
        }
        Err(error) => return Err(error),
    };
    let mut tried = Vec::new();
    let mut circumstances = false;
    for (place, &form) in forms.iter().enumerate() {
        if is_fallback(form, options) && tried.iter().any(|it: &TriedForm| it.outcome.is_ok()) {
            continue;
        }
        let outcome = comparison.measure(form, forms.len() - place);
        if let Err(excluded) = &outcome {
            circumstances |= excluded.by_circumstance;
            if excluded.ended {
                let reason = &excluded.reason;
                findings.notes.push(format!("the form {form} ended its process: {reason}"));
            }
        }
        let outcome = outcome.map_err(|it| it.reason).and_then(|it| admit(form, it, options));
        tried.push(TriedForm { form, outcome });
    }
    let chosen = pick(&tried, options.precision);
    let Some(chosen) = chosen else {
        return Err(refusal(options, &tried, circumstances));
    };
    findings.form = FormFindings { chosen, tried };
    if let Some(facts) = findings.form.facts() {
        findings.times = Some(facts.times);
    }
    Ok(findings)
}

/// The forms to try, in the order in which one has to be better than those before.
fn candidates(signature: &Signature, options: &FormOptions) -> Vec<ModelForm> {
    let has_images = signature.parameters.iter().any(|parameter| parameter.shape.len() == 4);
    let reduced = options.precision != Precision::Fp32;
    if signature.reach == Reach::Native && !reduced {
        return Vec::new();
    }
    if (signature.mutates_state || signature.takes_gradients()) && !reduced {
        return Vec::new();
    }
    let mut forms: Vec<ModelForm> = ModelForm::of(options.precision)
        .filter(|form| form.rewrite == Rewrite::Plain || options.optimize)
        // Kernels for reduced precision want this layout by far; in FP32 it is one more way.
        .filter(|form| {
            form.channels_last == (has_images && reduced) || (has_images && is_third(*form))
        })
        .filter(|form| *form != ModelForm::PLAIN)
        .collect();
    // What is not rewritten has its turn only when nothing else will do.
    forms.sort_by_key(|form| is_fallback(*form, options));
    forms
}

/// Whether a form is tried only when no other would do.
fn is_fallback(form: ModelForm, options: &FormOptions) -> bool {
    options.optimize && form.rewrite == Rewrite::Plain
}

fn is_third(form: ModelForm) -> bool {
    form.precision == Precision::Fp32 && form.channels_last && form.rewrite == Rewrite::Frozen
}

/// Findings of a model that cannot be compared with itself.
fn without_comparison(findings: Findings, options: &FormOptions) -> Result<Findings, EngineError> {
    if options.precision == Precision::Fp32 {
        return Ok(findings);
    }
    let why = match findings.batching {
        Batching::Stateful => "the model keeps state between calls",
        _ => "no input is known to compare answers with: declare the inputs or add a sample.json",
    };
    let precision = options.precision.as_str();
    Err(EngineError::new(Fault::Unsupported, format!("precision = {precision:?}: {why}")))
}

/// Whether a form's answers are near enough.
fn admit(form: ModelForm, measured: Measured, options: &FormOptions) -> Result<FormFacts, String> {
    let Measured { difference, changed, times, gain } = measured;
    let limit = match (form.precision, form.rewrite) {
        (Precision::Fp32, Rewrite::Plain | Rewrite::Frozen) => 1e-5,
        (Precision::Fp32, Rewrite::Optimized) => 1e-3,
        (Precision::Bf16 | Precision::Fp16, _) => options.max_difference,
    };
    if difference > limit {
        return Err(format!(
            "an answer differs by {difference:.1e} of the largest, at most {limit:.0e} is allowed"
        ));
    }
    if let Some((rows, all)) = changed
        && rows as f64 > limit * all as f64
    {
        return Err(format!("{rows} of {all} rows changed their class"));
    }
    Ok(FormFacts { gain, difference, changed, times })
}

/// The fastest of those that agree; the plain one counts where nothing else was asked for.
fn pick(tried: &[TriedForm], precision: Precision) -> Option<ModelForm> {
    let mut best = (precision == Precision::Fp32).then_some((ModelForm::PLAIN, 1.0));
    for TriedForm { form, outcome } in tried {
        if let Ok(facts) = outcome
            && best.is_none_or(|(_, gain)| facts.gain >= gain * MIN_GAIN)
        {
            best = Some((*form, facts.gain));
        }
    }
    best.map(|(form, _)| form)
}

fn refusal(options: &FormOptions, tried: &[TriedForm], circumstances: bool) -> EngineError {
    let reason = |tried: &TriedForm| {
        tried.outcome.as_ref().err().map(|reason| format!("{}: {reason}", tried.form))
    };
    let reasons: Vec<_> = tried.iter().filter_map(reason).collect();
    let message = format!(
        "precision = {:?} cannot be had with max_difference = {}: {}",
        options.precision.as_str(),
        options.max_difference,
        reasons.join("; ")
    );
    // Another trial may come to more, on a machine that has more time or memory.
    let fault = if circumstances { Fault::TimedOut } else { Fault::Unsupported };
    EngineError::new(fault, message)
}
