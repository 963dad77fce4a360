//! The runs of a trial, and what each says about the model.

use super::candidates::Candidate;
use super::forms::Workload;
use super::independence::FILLERS;
use super::judgement::Judgement;
use super::outputs::{Known, Seen, describe, describe_whole};
use super::recipe::Recipe;
use super::squeezed::Squeezed;
use super::{Examined, Findings, FormFindings, Hints, RunTimes, ShapeSource, TimedRun};
use crate::engine::compare::{agree, has_nan, scales};
use crate::engine::{Batch, Engine, EngineError, Fault, Model, Output, RunOutcome};
use crate::inference::{AnswerForm, Batching, Contract};
use std::time::{Duration, Instant};

/// Runs that a median is taken of.
const TIMED_RUNS: usize = 5;

/// A candidate that the model accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    candidate: Candidate,
    run: Seen,
}

/// A model under trial.
pub(super) struct Trial<'a> {
    model: &'a dyn Model,
    pub(super) hints: &'a Hints,
    engine: Box<dyn Engine>,
    pub(super) notes: Vec<String>,
    pub(super) seen: Vec<Seen>,
    /// Rows that are unlike the given ones, which the model took alone.
    pub(super) unlike: Vec<u64>,
    /// Known after the first runs of one row and of several.
    squeezed: Squeezed,
    pub(super) started_at: Instant,
}

/// Why rows may not be batched, or that they may.
pub(super) type Verdict = Result<Batching, EngineError>;

impl<'a> Trial<'a> {
    pub(super) fn new(model: &'a dyn Model, hints: &'a Hints) -> Result<Self, EngineError> {
        let engine = model.instance()?;
        let started_at = Instant::now();
        let (notes, seen, squeezed) = (Vec::new(), Vec::new(), Squeezed::default());
        let unlike = Vec::new();
        Ok(Self { model, hints, engine, notes, seen, squeezed, unlike, started_at })
    }

    pub(super) fn into_notes(self) -> Vec<String> {
        self.notes
    }

    /// The first candidate that the model runs with; a guess must also give a row for each row.
    pub(super) fn first_accepted(
        &mut self,
        candidates: &[Candidate],
    ) -> Result<Option<Accepted>, EngineError> {
        let mut refusal: Option<(EngineError, bool)> = None;
        // A guess that runs, and gives no row for each row: better than knowing nothing, and worse than another guess.
        let mut without_rows = None;
        // All with the number of rows that tells most, before any with the other.
        for attempt in 0..2 {
            for candidate in candidates {
                let n_rows = candidate.n_rows[attempt];
                match self.accepts(&candidate.recipe, n_rows)? {
                    Ok(run) => {
                        if candidate.source != ShapeSource::Guessed || run.has_some_row_axis() {
                            let candidate = candidate.clone();
                            return Ok(Some(Accepted { candidate, run }));
                        }
                        let accepted = || Accepted { candidate: candidate.clone(), run };
                        without_rows.get_or_insert_with(accepted);
                    }
                    Err(error) => {
                        let tells_more =
                            |(first, _): &(EngineError, bool)| weight(&error) > weight(first);
                        if refusal.as_ref().is_none_or(tells_more) {
                            refusal = Some((error, candidate.is_sample));
                        }
                    }
                }
            }
        }
        match refusal {
            _ if without_rows.is_some() => Ok(without_rows),
            // None of them is to blame, and no request's would fare better.
            Some((error, _)) if error.fault == Fault::Environment => Err(error),
            Some((error, false)) if error.fault == Fault::OutOfMemory => {
                let message = format!(
                    "there is no memory to run the model on what was tried, a sample.json could name smaller inputs: {}",
                    error.message
                );
                Err(EngineError::new(error.fault, message))
            }
            Some((error, true)) => {
                let message = format!("the model refuses its sample: {}", error.message);
                Err(EngineError::new(error.fault, message))
            }
            Some((error, false)) => {
                let text = error.message;
                self.notes.push(format!("the model refused the inputs that were tried: {text}"));
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Everything about a model that runs.
    pub(super) fn examine(mut self, accepted: Accepted) -> Result<Examined, EngineError> {
        let Accepted { candidate: Candidate { mut recipe, source, is_sample, .. }, run } = accepted;
        if recipe.is_whole() {
            return self.examine_whole(recipe, source);
        }
        let n_rows = run.n_rows;
        self.seen.push(run);
        if is_sample {
            self.vary(&mut recipe, n_rows)?;
        }
        let fixed = self.fixed_rows(&recipe, n_rows)?;
        if let Some(n_rows) = fixed {
            recipe.fix_rows(n_rows);
        }
        self.find_squeezed();
        self.try_other_size(&mut recipe, source, fixed)?;
        let judgement = Judgement::of(self.model.signature(), &recipe, self.hints);
        let probed = self.verdict(&recipe, fixed, &judgement)?;
        let judged = judgement.conclude(probed, self.hints);
        let stays = matches!(judged, Batching::Stateful | Batching::FixedRows);
        let batching = if self.hints.batching_wanted || stays { judged } else { Batching::Off };
        if probed == Batching::Coupled && judgement.is_proof() {
            let text = "the code says that rows keep apart, and a probe says that they do not";
            self.notes.push(text.to_owned());
        }
        let padding = self.padding(&recipe, batching)?;
        let times = self.times(&recipe, fixed, batching)?;
        let known = Known {
            declared: self.hints.outputs.as_deref(),
            returns: &self.model.signature().returns,
            rows_are_fixed: fixed.is_some(),
        };
        let (outputs, mut contract) = describe(&self.seen, &self.squeezed, known)?;
        // As many rows as came may have been so by chance.
        if judgement.has_shapes_by_values() && contract.form == AnswerForm::Rows {
            contract = Contract::of_form(AnswerForm::Whole);
        }
        contract.batching_scope = judgement.scope();
        // Only where they share runs it was found that the model takes them together.
        let unlike = if batching.is_allowed() { self.unlike } else { Vec::new() };
        let findings = Findings {
            inputs: recipe.specs.clone(),
            outputs,
            contract,
            batching,
            grounds: judgement.grounds(batching),
            padding,
            shape_source: source,
            notes: self.notes,
            times: Some(times),
            curve: Vec::new(),
            form: FormFindings::default(),
        };
        Ok(Examined { findings, workload: Some(Workload { recipe, fixed, unlike }) })
    }

    /// A model whose inputs share no number of rows: there is one input to try, and it is tried twice.
    fn examine_whole(
        mut self,
        recipe: Recipe,
        source: ShapeSource,
    ) -> Result<Examined, EngineError> {
        let text = "the inputs share no number of rows: a request is one whole and runs alone";
        self.notes.push(text.to_owned());
        let first = self.run(&recipe, &[0])?.unwrap_or_default();
        let again = self.run(&recipe, &[0])?.ok();
        let keeps = !self.model.signature().mutates_state && self.is_same(&first, again.as_deref());
        let batching = if keeps { Batching::NoRowAxis } else { Batching::Stateful };
        let times = self.times(&recipe, Some(1), batching)?;
        let known = Known {
            declared: self.hints.outputs.as_deref(),
            returns: &self.model.signature().returns,
            rows_are_fixed: true,
        };
        let (outputs, contract) = describe_whole(&self.seen, known)?;
        let findings = Findings {
            inputs: recipe.specs.clone(),
            outputs,
            contract,
            batching,
            grounds: None,
            padding: None,
            shape_source: source,
            notes: self.notes,
            times: Some(times),
            curve: Vec::new(),
            form: FormFindings::default(),
        };
        let workload = Workload { recipe, fixed: Some(1), unlike: Vec::new() };
        Ok(Examined { findings, workload: Some(workload) })
    }

    /// From here on, runs of one row have the dimension of the rows that the model may have dropped.
    fn find_squeezed(&mut self) {
        self.squeezed = Squeezed::of(&self.seen);
        if !self.squeezed.is_empty() {
            self.squeezed.restore_seen(&mut self.seen);
            let note =
                "the model drops the dimension of the rows when there is one row; it is put back";
            self.notes.push(note.to_owned());
        }
    }

    /// Checks that variations of the sample are accepted, and otherwise does without them.
    fn vary(&mut self, recipe: &mut Recipe, n_rows: usize) -> Result<(), EngineError> {
        let others: Vec<u64> = (FILLERS..).take(n_rows).collect();
        if self.attempt(&recipe.batch(&others, None).inputs)?.is_err() {
            recipe.repeat_sample();
            self.notes.push("the model accepts the sample, but no variations of it".to_owned());
        }
        Ok(())
    }

    /// The only number of rows that the model takes, if there is only one.
    fn fixed_rows(
        &mut self,
        recipe: &Recipe,
        accepted: usize,
    ) -> Result<Option<usize>, EngineError> {
        if let Some(n_rows) = recipe.fixed_rows() {
            return Ok(Some(n_rows));
        }
        for n_rows in [1, 2, 3] {
            let numbers: Vec<u64> = (0..n_rows as u64).collect();
            if n_rows != accepted && self.run(recipe, &numbers)?.is_ok() {
                return Ok(None);
            }
        }
        Ok(Some(accepted))
    }

    /// Runs with another size of what is variable: to see which outputs follow, and whether a guess
    /// holds.
    fn try_other_size(
        &mut self,
        recipe: &mut Recipe,
        source: ShapeSource,
        fixed: Option<usize>,
    ) -> Result<(), EngineError> {
        let Some(size) = recipe.variable_size() else { return Ok(()) };
        let numbers: Vec<u64> = (0..fixed.unwrap_or(2) as u64).collect();
        let other = other_size(size);
        match self.attempt(&recipe.batch(&numbers, Some(other)).inputs)? {
            Ok((outputs, _)) => self.seen.push(Seen::new(numbers.len(), &outputs)),
            Err(_) if source == ShapeSource::Guessed => recipe.fix_sizes(),
            Err(error) => self.notes.push(format!(
                "variable dimensions were tried at {size}; at {other} the model raised: {}",
                error.message
            )),
        }
        Ok(())
    }

    fn verdict(&mut self, recipe: &Recipe, fixed: Option<usize>, judgement: &Judgement) -> Verdict {
        if self.model.signature().mutates_state {
            self.notes.push("a method of the model writes to what the model holds".to_owned());
            return Ok(Batching::Stateful);
        }
        let n_rows = fixed.unwrap_or(1) as u64;
        let same: Vec<u64> = (0..n_rows).collect();
        let first = match self.run(recipe, &same)? {
            Ok(outputs) => outputs,
            Err(error) => return self.needs_company(&error),
        };
        if has_nan(&first) {
            self.notes.push("the model's answers to the probe contain NaN".to_owned());
        }
        let again = self.run(recipe, &same)?.ok();
        if !self.is_same(&first, again.as_deref()) {
            return Ok(Batching::Stateful);
        }
        let batching = match fixed {
            Some(_) => Batching::FixedRows,
            None => self.independence(recipe, judgement)?,
        };
        // Once more, after all the others: on the same engine and on a new one.
        let last = self.run(recipe, &same)?.ok();
        self.engine = self.model.instance()?;
        let anew = self.run(recipe, &same)?.ok();
        let keeps = self.is_same(&first, last.as_deref()) && self.is_same(&first, anew.as_deref());
        Ok(if keeps { batching } else { Batching::Stateful })
    }

    /// A model that takes several rows but not one.
    fn needs_company(&mut self, error: &EngineError) -> Verdict {
        self.notes.push(format!("the model raised for a single row: {}", error.message));
        Ok(Batching::Coupled)
    }

    fn is_same(&self, first: &[Output], other: Option<&[Output]>) -> bool {
        other.is_some_and(|other| agree(first, other, &scales([first]), self.hints.tolerance))
    }

    /// How long the minimum and the maximum of rows take.
    fn times(
        &mut self,
        recipe: &Recipe,
        fixed: Option<usize>,
        batching: Batching,
    ) -> Result<RunTimes, EngineError> {
        // What takes no batches is timed with the number of rows that it takes, or with one.
        let tried = self.seen.iter().map(|run| run.n_rows);
        let max_rows = match (fixed, batching) {
            (Some(n_rows), _) => n_rows,
            (None, batching) if batching.is_allowed() || batching == Batching::Off => {
                tried.max().unwrap_or(1)
            }
            (None, _) => tried.min().unwrap_or(1),
        };
        let min_rows =
            fixed.unwrap_or_else(|| self.seen.iter().map(|run| run.n_rows).min().unwrap_or(1));
        Ok(RunTimes {
            min_rows: self.median(recipe, min_rows)?,
            max_rows: self.median(recipe, max_rows)?,
        })
    }

    fn median(&mut self, recipe: &Recipe, n_rows: usize) -> Result<TimedRun, EngineError> {
        let numbers: Vec<u64> = (0..n_rows as u64).collect();
        let inputs = recipe.batch(&numbers, None).inputs;
        let mut times = Vec::with_capacity(TIMED_RUNS);
        for _ in 0..TIMED_RUNS {
            if let Ok((_, time)) = self.attempt(&inputs)? {
                times.push(time);
            }
            if self.started_at.elapsed() > self.hints.budget {
                break;
            }
        }
        times.sort_unstable();
        let duration = times.get(times.len() / 2).copied().unwrap_or_default();
        Ok(TimedRun { n_rows, duration })
    }

    /// Whether the model runs with that many rows; the inner error is its own refusal.
    fn accepts(
        &mut self,
        recipe: &Recipe,
        n_rows: usize,
    ) -> Result<Result<Seen, EngineError>, EngineError> {
        let numbers: Vec<u64> = (0..n_rows as u64).collect();
        let run = self.attempt(&recipe.batch(&numbers, None).inputs)?;
        Ok(run.map(|(outputs, _)| Seen::new(n_rows, &outputs)))
    }

    /// A run that counts as seen.
    pub(super) fn run(
        &mut self,
        recipe: &Recipe,
        numbers: &[u64],
    ) -> Result<Result<Vec<Output>, EngineError>, EngineError> {
        let run = self.attempt(&recipe.batch(numbers, None).inputs)?;
        Ok(run.map(|(outputs, _)| {
            let seen = Seen::new(numbers.len(), &outputs);
            if !self.seen.contains(&seen) {
                self.seen.push(seen);
            }
            outputs
        }))
    }

    /// A run: what the model refuses is the inner error, what ends the trial is the outer one.
    pub(super) fn attempt(
        &mut self,
        inputs: &[Option<crate::tensor::Tensor>],
    ) -> Result<Result<(Vec<Output>, Duration), EngineError>, EngineError> {
        let started_at = Instant::now();
        match self.engine.run(Batch::without_deadline(inputs.to_vec())) {
            Ok(outcome) => {
                let time = run_time(&outcome, started_at);
                let mut tensors = inputs.iter().flatten().filter(|it| it.shape().rank() > 0);
                let n_rows = tensors.next().map_or(1, crate::tensor::Tensor::n_rows);
                Ok(Ok((self.squeezed.restore(n_rows, outcome.outputs), time)))
            }
            Err(error) => match error.fault {
                Fault::Raised | Fault::Environment | Fault::OutOfMemory => Ok(Err(error)),
                Fault::InvalidFile
                | Fault::Device
                | Fault::Unsupported
                | Fault::Died(_)
                | Fault::TimedOut
                | Fault::Internal => Err(error),
            },
        }
    }
}

/// How much a refusal tells about the model: least where the inputs may only have been too large, most
/// where no input would help.
fn weight(error: &EngineError) -> u8 {
    match error.fault {
        Fault::OutOfMemory => 0,
        Fault::Environment => 2,
        _ => 1,
    }
}

/// What a run took by the engine's own account, or since it was started if it keeps none.
pub(super) fn run_time(outcome: &RunOutcome, started_at: Instant) -> Duration {
    let measured = outcome.phases.total();
    if measured.is_zero() { started_at.elapsed() } else { measured }
}

/// The size that variable dimensions are tried at beside the first.
pub(super) fn other_size(size: usize) -> usize {
    if size > 64 { size / 2 } else { size * 2 }
}

/// One row of each output, with one row.
pub(super) fn row(outputs: &[Output], place: usize) -> Option<Vec<Output>> {
    let row = |output: &Output| {
        let tensor = output.tensor.rows(place, 1)?;
        Some(Output { name: output.name.clone(), tensor })
    };
    outputs.iter().map(row).collect()
}
