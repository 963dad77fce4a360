//! The runs of a probe.

use super::generator::InputGenerator;
use super::outputs::ObservedRun;
use super::squeezed::Squeezed;
use super::{Hints, RunTimes, TimedRun};
use crate::engine::{Batch, Engine, EngineError, Fault, Model, Output, RunOutcome};
use crate::inference::Batching;
use crate::tensor::Tensor;
use std::time::{Duration, Instant};

/// Runs that a median is taken of.
const TIMED_RUNS: usize = 5;

/// A model that is being probed, and what its runs have shown so far.
pub(super) struct Probe<'a> {
    pub(super) model: &'a dyn Model,
    pub(super) hints: &'a Hints,
    pub(super) engine: Box<dyn Engine>,
    pub(super) notes: Vec<String>,
    pub(super) seen: Vec<ObservedRun>,
    /// Rows that are unlike the given ones, which the model took alone.
    pub(super) unlike: Vec<u64>,
    /// Known after the first runs of one row and of several.
    pub(super) squeezed: Squeezed,
    pub(super) started_at: Instant,
}

impl<'a> Probe<'a> {
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

    /// How long the minimum and the maximum of rows take.
    pub(super) fn times(
        &mut self,
        generator: &InputGenerator,
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
            min_rows: self.median(generator, min_rows)?,
            max_rows: self.median(generator, max_rows)?,
        })
    }

    fn median(
        &mut self,
        generator: &InputGenerator,
        n_rows: usize,
    ) -> Result<TimedRun, EngineError> {
        let numbers: Vec<u64> = (0..n_rows as u64).collect();
        let inputs = generator.batch(&numbers, None).inputs;
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
    pub(super) fn accepts(
        &mut self,
        generator: &InputGenerator,
        n_rows: usize,
    ) -> Result<Result<ObservedRun, EngineError>, EngineError> {
        let numbers: Vec<u64> = (0..n_rows as u64).collect();
        let run = self.attempt(&generator.batch(&numbers, None).inputs)?;
        Ok(run.map(|(outputs, _)| ObservedRun::new(n_rows, &outputs)))
    }

    /// A run that counts as seen.
    pub(super) fn run(
        &mut self,
        generator: &InputGenerator,
        numbers: &[u64],
    ) -> Result<Result<Vec<Output>, EngineError>, EngineError> {
        let run = self.attempt(&generator.batch(numbers, None).inputs)?;
        Ok(run.map(|(outputs, _)| {
            let seen = ObservedRun::new(numbers.len(), &outputs);
            if !self.seen.contains(&seen) {
                self.seen.push(seen);
            }
            outputs
        }))
    }

    /// A run: what the model refuses is the inner error, what ends the probe is the outer one.
    pub(super) fn attempt(
        &mut self,
        inputs: &[Option<Tensor>],
    ) -> Result<Result<(Vec<Output>, Duration), EngineError>, EngineError> {
        let started_at = Instant::now();
        match self.engine.run(Batch::without_deadline(inputs.to_vec())) {
            Ok(outcome) => {
                let time = run_time(&outcome, started_at);
                let mut tensors = inputs.iter().flatten().filter(|it| it.shape().rank() > 0);
                let n_rows = tensors.next().map_or(1, Tensor::n_rows);
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
