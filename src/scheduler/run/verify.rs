//! Looking at a batch that was answered: its rows are run again, each alone, and one that gets another answer ends sharing.

use super::engine::{Health, run};
use super::outputs::settle;
use crate::engine::compare::{agree, rounding, row_scales};
use crate::engine::{Batch, Engine, EngineError, Fault, Output};
use crate::inference::Batching;
use crate::scheduler::metrics::Verification;
use crate::scheduler::shared::Shared;
use crate::scheduler::watch::Sample;
use crate::tensor::{BufferMut, Tensor};
use std::time::Instant;

/// Runs the rows of the batch that waits to be looked at, each alone, and ends sharing where one gets
/// another answer. Nothing comes of it where the model raises: it has answered these rows.
pub(in crate::scheduler) fn verify(shared: &Shared, engine: &mut dyn Engine) -> Health {
    let Some(Sample { rows, n_rows }) = shared.watched.take() else { return Health::Good };
    let started_at = Instant::now();
    let answers: Vec<_> = rows.iter().map(|(_, answer)| answer.clone()).collect();
    for (inputs, answer) in rows {
        let alone = match run(engine, Batch::without_deadline(inputs.clone())) {
            Ok(outcome) => settle(&shared.job.spec, outcome.outputs, 1),
            Err(error) if is_of_engine(&error) => return Health::Rebuild,
            Err(_) => {
                shared.metrics.verified(Verification::Skipped);
                continue;
            }
        };
        let scales = row_scales(&answer, &answers);
        let tolerance = shared.options.watch.tolerance;
        let rounding = rounding(tolerance, shared.job.spec.batching == Batching::Proved);
        let alone = alone.map(unnamed);
        let agrees = |tolerance| {
            let answers = |alone: &Vec<Output>| agree(&answer, alone, &scales, tolerance);
            alone.as_ref().is_ok_and(answers)
        };
        let same = agrees(tolerance)
            || agrees(rounding)
                && match among_itself(shared, engine, &inputs, n_rows) {
                    Err(error) if is_of_engine(&error) => return Health::Rebuild,
                    own => own.is_ok_and(|own| agree(&answer, &own, &scales, tolerance)),
                };
        let outcome = if same { Verification::Same } else { Verification::Different };
        shared.metrics.verified(outcome);
        if !same {
            refute(shared, n_rows);
            break;
        }
    }
    shared.watched.spend(started_at.elapsed());
    Health::Good
}

/// Whether it says nothing of the row: the engine is lost.
const fn is_of_engine(error: &EngineError) -> bool {
    matches!(error.fault, Fault::Internal | Fault::Device | Fault::Died(_) | Fault::TimedOut)
}

/// The answer of a row in a batch of nothing but itself: it has other kernels than alone, and their rounding, and no
/// other rows.
fn among_itself(
    shared: &Shared,
    engine: &mut dyn Engine,
    inputs: &[Option<Tensor>],
    n_rows: usize,
) -> Result<Vec<Output>, EngineError> {
    let broken = || EngineError::new(Fault::Raised, "the answer breaks the contract");
    let repeated = |input: &Option<Tensor>| match input {
        Some(tensor) if tensor.shape().rank() > 0 => {
            let bytes = tensor.buffer().as_bytes().repeat(n_rows);
            let mut buffer = BufferMut::zeroed(bytes.len());
            buffer.as_mut().copy_from_slice(&bytes);
            let shape = tensor.shape().with_rows(n_rows);
            Tensor::new(tensor.datatype(), shape, buffer.freeze()).ok().map(Some)
        }
        other => Some(other.clone()),
    };
    let inputs = inputs.iter().map(repeated).collect::<Option<_>>().ok_or_else(broken)?;
    let outcome = run(engine, Batch::without_deadline(inputs))?;
    let outputs = settle(&shared.job.spec, outcome.outputs, n_rows).map_err(|_| broken())?;
    let first = |it: Output| Some(Output { tensor: it.tensor.rows(0, 1)?, name: None });
    outputs.into_iter().map(first).collect::<Option<_>>().ok_or_else(broken)
}

fn unnamed(outputs: Vec<Output>) -> Vec<Output> {
    outputs.into_iter().map(|it| Output { name: None, ..it }).collect()
}

/// Lets the batch go that waits to be looked at.
pub(in crate::scheduler) fn skip(shared: &Shared) {
    if shared.watched.take().is_some() {
        shared.metrics.verified(Verification::Skipped);
    }
}

/// Ends sharing for this version.
fn refute(shared: &Shared, n_rows: usize) {
    let text = format!(
        "a row in a batch of {n_rows} got another answer than alone (more than {:.0e} of the largest)",
        shared.options.watch.tolerance
    );
    if !shared.watched.refute(&text) {
        return;
    }
    shared.queue.keep_apart();
    shared.job.metrics.set_batching(Batching::Refuted.as_str());
    tracing::error!(
        model = %shared.options.label,
        reason = text,
        "Requests of this model share no runs any more: a row got another answer in a batch than alone"
    );
    if let Some(on_difference) = &shared.options.watch.on_difference {
        on_difference(&text);
    }
}
