//! What a probe does, step by step, and what it makes of the runs.

use super::analysis::CodeAnalysis;
use super::candidates::Candidate;
use super::forms::Workload;
use super::generator::InputGenerator;
use super::independence::FILLERS;
use super::outputs::{ObservedRun, OutputFacts, describe, describe_whole};
use super::run::{Probe, other_size};
use super::squeezed::Squeezed;
use super::{Examined, Findings, FormFindings, ShapeSource, risk};
use crate::engine::compare::{agree, has_nan, scales};
use crate::engine::{EngineError, Fault, Output};
use crate::inference::{AnswerForm, Batching, Contract};

/// A candidate that the model accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    candidate: Candidate,
    run: ObservedRun,
}

impl Probe<'_> {
    /// The first candidate that the model runs with; a guess must also give a row for each row.
    pub(super) fn first_accepted(
        &mut self,
        candidates: &[Candidate],
    ) -> Result<Option<Accepted>, EngineError> {
        let mut refusal: Option<(EngineError, bool)> = None;
        // A guess that runs, and gives no row for each row: better than knowing nothing, and worse than another guess.
        let mut without_rows = None;
        // All with the number of rows that shows more, before any with the other.
        for attempt in 0..2 {
            for candidate in candidates {
                let n_rows = candidate.n_rows[attempt];
                match self.accepts(&candidate.generator, n_rows)? {
                    Ok(run) => {
                        if candidate.source != ShapeSource::Guessed || run.has_some_row_axis() {
                            let candidate = candidate.clone();
                            return Ok(Some(Accepted { candidate, run }));
                        }
                        let accepted = || Accepted { candidate: candidate.clone(), run };
                        without_rows.get_or_insert_with(accepted);
                    }
                    Err(error) => {
                        let says_more =
                            |(first, _): &(EngineError, bool)| weight(&error) > weight(first);
                        if refusal.as_ref().is_none_or(says_more) {
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

    /// What makes inputs that the model takes.
    pub(super) fn first_generator(
        mut self,
        candidates: &[Candidate],
    ) -> Result<Option<InputGenerator>, EngineError> {
        let accepted = self.first_accepted(candidates)?;
        Ok(accepted.map(|it| it.candidate.generator))
    }

    /// Everything about a model that runs.
    pub(super) fn examine(mut self, accepted: Accepted) -> Result<Examined, EngineError> {
        let Accepted { candidate: Candidate { mut generator, source, is_sample, .. }, run } =
            accepted;
        if generator.is_whole() {
            return self.examine_whole(generator, source);
        }
        let n_rows = run.n_rows;
        self.seen.push(run);
        if is_sample {
            self.vary(&mut generator, n_rows)?;
        }
        let fixed = self.fixed_rows(&generator, n_rows)?;
        if let Some(n_rows) = fixed {
            generator.fix_rows(n_rows);
        }
        self.find_squeezed();
        self.try_other_size(&mut generator, source, fixed)?;
        let analysis = CodeAnalysis::of(self.model.signature(), &generator, self.hints);
        let probed = self.verdict(&generator, fixed, &analysis)?;
        let judged = analysis.conclude(probed, self.hints);
        let stays = matches!(judged, Batching::Stateful | Batching::FixedRows);
        let batching = if self.hints.batching_wanted || stays { judged } else { Batching::Off };
        if probed == Batching::Coupled && analysis.is_proof() {
            let text = "the code says that rows keep apart, and a probe says that they do not";
            self.notes.push(text.to_owned());
        }
        let padding = self.padding(&generator, batching)?;
        let times = self.times(&generator, fixed, batching)?;
        let known = OutputFacts {
            declared: self.hints.outputs.as_deref(),
            returns: &self.model.signature().returns,
            rows_are_fixed: fixed.is_some(),
        };
        let (outputs, mut contract) = describe(&self.seen, &self.squeezed, known)?;
        // As many rows as came may have been so by chance.
        if analysis.has_shapes_by_values() && contract.form == AnswerForm::Rows {
            contract = Contract::of_form(AnswerForm::Whole);
        }
        contract.batching_scope = analysis.scope();
        // Only where they share runs it was found that the model takes them together.
        let unlike = if batching.is_allowed() { self.unlike } else { Vec::new() };
        let findings = Findings {
            inputs: generator.specs.clone(),
            outputs,
            contract,
            batching,
            grounds: analysis.grounds(batching),
            padding,
            shape_source: source,
            notes: self.notes,
            times: Some(times),
            curve: Vec::new(),
            form: FormFindings::default(),
            risk: risk(self.model.signature()),
        };
        Ok(Examined { findings, workload: Some(Workload { generator, fixed, unlike }) })
    }

    /// A model whose inputs share no number of rows: there is one input to try, and it is tried twice.
    fn examine_whole(
        mut self,
        generator: InputGenerator,
        source: ShapeSource,
    ) -> Result<Examined, EngineError> {
        let text = "the inputs share no number of rows: a request is one whole and runs alone";
        self.notes.push(text.to_owned());
        let first = self.run(&generator, &[0])?.unwrap_or_default();
        let again = self.run(&generator, &[0])?.ok();
        let keeps = !self.model.signature().mutates_state && self.is_same(&first, again.as_deref());
        let batching = if keeps { Batching::NoRowAxis } else { Batching::Stateful };
        let times = self.times(&generator, Some(1), batching)?;
        let known = OutputFacts {
            declared: self.hints.outputs.as_deref(),
            returns: &self.model.signature().returns,
            rows_are_fixed: true,
        };
        let (outputs, contract) = describe_whole(&self.seen, known)?;
        let findings = Findings {
            inputs: generator.specs.clone(),
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
            risk: risk(self.model.signature()),
        };
        let workload = Workload { generator, fixed: Some(1), unlike: Vec::new() };
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
    fn vary(&mut self, generator: &mut InputGenerator, n_rows: usize) -> Result<(), EngineError> {
        let others: Vec<u64> = (FILLERS..).take(n_rows).collect();
        if self.attempt(&generator.batch(&others, None).inputs)?.is_err() {
            generator.repeat_sample();
            self.notes.push("the model accepts the sample, but no variations of it".to_owned());
        }
        Ok(())
    }

    /// The only number of rows that the model takes, if there is only one.
    fn fixed_rows(
        &mut self,
        generator: &InputGenerator,
        accepted: usize,
    ) -> Result<Option<usize>, EngineError> {
        if let Some(n_rows) = generator.fixed_rows() {
            return Ok(Some(n_rows));
        }
        for n_rows in [1, 2, 3].into_iter().filter(|n_rows| *n_rows != accepted) {
            let all_differ: Vec<u64> = (0..n_rows as u64).collect();
            // What it refuses may be other values, and not their number.
            for numbers in [all_differ, vec![0; n_rows]] {
                if self.run(generator, &numbers)?.is_ok() {
                    return Ok(None);
                }
            }
        }
        Ok(Some(accepted))
    }

    /// Runs with another size of what is variable: to see which outputs follow, and whether a guess
    /// holds.
    fn try_other_size(
        &mut self,
        generator: &mut InputGenerator,
        source: ShapeSource,
        fixed: Option<usize>,
    ) -> Result<(), EngineError> {
        let Some(size) = generator.variable_size() else { return Ok(()) };
        let numbers: Vec<u64> = (0..fixed.unwrap_or(2) as u64).collect();
        let other = other_size(size);
        match self.attempt(&generator.batch(&numbers, Some(other)).inputs)? {
            Ok((outputs, _)) => self.seen.push(ObservedRun::new(numbers.len(), &outputs)),
            Err(_) if source == ShapeSource::Guessed => generator.fix_sizes(),
            Err(error) => self.notes.push(format!(
                "variable dimensions were tried at {size}; at {other} the model raised: {}",
                error.message
            )),
        }
        Ok(())
    }

    fn verdict(
        &mut self,
        generator: &InputGenerator,
        fixed: Option<usize>,
        analysis: &CodeAnalysis,
    ) -> Result<Batching, EngineError> {
        if self.model.signature().mutates_state {
            self.notes.push("a method of the model writes to what the model holds".to_owned());
            return Ok(Batching::Stateful);
        }
        let n_rows = fixed.unwrap_or(1) as u64;
        let same: Vec<u64> = (0..n_rows).collect();
        let first = match self.run(generator, &same)? {
            Ok(outputs) => outputs,
            Err(error) => return self.needs_company(&error),
        };
        if has_nan(&first) {
            self.notes.push("the model's answers to the probe contain NaN".to_owned());
        }
        let again = self.run(generator, &same)?.ok();
        if !self.is_same(&first, again.as_deref()) {
            return Ok(Batching::Stateful);
        }
        let batching = match fixed {
            Some(_) => Batching::FixedRows,
            None => self.independence(generator, analysis)?,
        };
        // Once more, after all the others: on the same engine and on a new one.
        let last = self.run(generator, &same)?.ok();
        self.engine = self.model.instance()?;
        let anew = self.run(generator, &same)?.ok();
        let keeps = self.is_same(&first, last.as_deref()) && self.is_same(&first, anew.as_deref());
        Ok(if keeps { batching } else { Batching::Stateful })
    }

    /// A model that takes several rows but not one.
    fn needs_company(&mut self, error: &EngineError) -> Result<Batching, EngineError> {
        self.notes.push(format!("the model raised for a single row: {}", error.message));
        Ok(Batching::Coupled)
    }

    fn is_same(&self, first: &[Output], other: Option<&[Output]>) -> bool {
        other.is_some_and(|other| agree(first, other, &scales([first]), self.hints.tolerance))
    }
}

/// How much a refusal says about the model: the minimum where the inputs may only have been too large, the maximum
/// where no input would help.
fn weight(error: &EngineError) -> u8 {
    match error.fault {
        Fault::OutOfMemory => 0,
        Fault::Environment => 2,
        _ => 1,
    }
}
