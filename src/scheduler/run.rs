//! A batch on an engine: put together, run, checked, cut apart, answered; and run again in halves where it fails.

use super::Answer;
use super::batch::{self, Part};
use super::failure::Failure;
use super::instance::Shared;
use super::outputs;
use super::queue::Queued;
use super::verify;
use crate::engine::{Batch, Engine, EngineError, Fault, RunOutcome};
use crate::inference::{NamedTensor, Timings};
use crate::telemetry::RunRecord;
use crate::tensor::{Tensor, TensorError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is left of an engine after a run.
pub(super) enum Health {
    Good,
    /// The run panicked: the engine's state is not to be trusted.
    Rebuild,
    /// No engine of this process can run the model any more.
    Lost(String),
}

/// A part of a batch.
struct Piece {
    batch: Vec<Queued>,
    /// Whether it and the next piece are the halves of one that failed.
    is_first_half: bool,
    /// Whether a request in it is known to make it fail, since all else that failed with it has passed.
    fails: bool,
}

/// Runs a batch, and what fails by its inputs again in halves, down to the requests that are to blame: one may hold what
/// the model refuses, or the batch or the size that it was padded to may be what does not fit. By itself and as it is,
/// each gets the answer that it would have got without the others.
pub(super) fn run_batch(shared: &Shared, engine: &mut dyn Engine, batch: Vec<Queued>) -> Health {
    let mut whole = Some(Piece { batch, is_first_half: false, fails: false });
    // Takes no memory as long as nothing fails.
    let mut pieces = Vec::new();
    while let Some(piece) = whole.take().or_else(|| pieces.pop()) {
        let Piece { batch, is_first_half, fails } = piece;
        if fails && batch.len() > 1 {
            pieces.extend(halves(batch));
            continue;
        }
        match attempt(shared, engine, batch) {
            Ok(()) => {
                // Of two halves that failed together one has passed: the other need not be asked.
                if is_first_half && let Some(second) = pieces.last_mut() {
                    second.fails = true;
                }
            }
            Err((batch, failure)) if batch.len() > 1 && failure.is_of_inputs() => {
                pieces.extend(halves(batch));
                // Memory, or a contract of the whole, may be short for both and enough for each.
                if !failure.is_of_one_request()
                    && let Some(first) = pieces.last_mut()
                {
                    first.is_first_half = false;
                }
            }
            Err((mut batch, failure)) if is_padded(&batch) && failure.is_of_inputs() => {
                batch.iter_mut().for_each(|queued| queued.padded_size = None);
                pieces.push(Piece { batch, is_first_half: false, fails: false });
            }
            Err((batch, failure)) => {
                refuse(shared, batch, &failure);
                match failure.health() {
                    Health::Good => {}
                    // Those behind it are answered by their replies' drop: the engine is gone.
                    lost => return lost,
                }
            }
        }
    }
    Health::Good
}

/// The halves of a batch, the first last: it is run next.
fn halves(mut batch: Vec<Queued>) -> [Piece; 2] {
    let second = batch.split_off(batch.len() / 2);
    let piece = |batch, is_first_half| Piece { batch, is_first_half, fails: false };
    [piece(second, false), piece(batch, true)]
}

fn is_padded(batch: &[Queued]) -> bool {
    batch.iter().filter_map(|queued| queued.padded_size).any(|padded_size| !padded_size.is_exact())
}

/// Tells the senders of what cannot be run why.
fn refuse(shared: &Shared, batch: Vec<Queued>, failure: &Failure) {
    for queued in batch {
        if failure.is_of_inputs() {
            shared.queue.failed(&queued);
        }
        let refusal = failure.report(&shared.job.spec, &queued.request);
        queued.reply.send(Err(refusal));
    }
}

/// Runs a batch once and answers it; gives it back where that fails.
fn attempt(
    shared: &Shared,
    engine: &mut dyn Engine,
    batch: Vec<Queued>,
) -> Result<(), (Vec<Queued>, Failure)> {
    let taken_at = Instant::now();
    // What is logged during a run belongs to its oldest request.
    let _span = batch.first().map(|queued| queued.span.clone().entered());
    let parts: Vec<Part<'_>> = batch.iter().map(Queued::part).collect();
    let n_rows = parts.iter().map(|part| part.request.n_rows()).sum();
    let outcome = batch::concat(&parts, shared.padding(), |bytes| engine.buffer(bytes))
        .map_err(|error: TensorError| EngineError::new(Fault::Internal, error.to_string()));
    let input = taken_at.elapsed();
    observe(shared, &parts, n_rows);
    let outcome = outcome
        .and_then(|inputs| run(engine, Batch { inputs, deadline: latest_deadline(&batch) }))
        .map_err(Failure::Engine)
        .and_then(|outcome| check(shared, outcome, &parts));
    match outcome {
        Ok(outcome) => {
            answer(shared, batch, outcome, (taken_at, input));
            Ok(())
        }
        Err(failure) => Err((batch, failure)),
    }
}

/// Counts a run and what of it is padding.
fn observe(shared: &Shared, parts: &[Part<'_>], n_rows: usize) {
    let metrics = &shared.job.metrics;
    metrics.observe_batch(n_rows);
    let (mut positions, mut padding) = (0, 0);
    for (rows, padded_size) in
        parts.iter().filter_map(|it| Some((it.request.n_rows(), it.padded_size?)))
    {
        positions += rows * padded_size.to;
        padding += rows * (padded_size.to - padded_size.from);
    }
    if positions > 0 {
        metrics.observe_padding(positions, padding);
    }
}

/// When the last of them stops waiting.
fn latest_deadline(batch: &[Queued]) -> Option<Instant> {
    batch.iter().map(|queued| queued.request.context().deadline).max()
}

/// Runs the engine; a panic in it becomes an error.
pub(super) fn run(engine: &mut dyn Engine, batch: Batch) -> Result<RunOutcome, EngineError> {
    catch_unwind(AssertUnwindSafe(|| engine.run(batch)))
        .unwrap_or_else(|_| Err(EngineError::new(Fault::Internal, "the engine panicked")))
}

/// The outcome with its outputs as the contract has them, if they can be cut apart and back.
fn check(shared: &Shared, outcome: RunOutcome, parts: &[Part<'_>]) -> Result<RunOutcome, Failure> {
    let n_rows = parts.iter().map(|part| part.request.n_rows()).sum();
    let outputs = outputs::settle(&shared.job.spec, outcome.outputs, n_rows)?;
    if parts.len() > 1 && !batch::has_rows(&outputs, n_rows) {
        return Err(Failure::broken("an output has no row for each row of the batch"));
    }
    let padded = parts.iter().filter_map(|part| part.padded_size).find(|it| !it.is_exact());
    if let (Some(padded_size), Some(padding)) = (padded, shared.padding())
        && !batch::follow(&outputs, padding, padded_size.to)
    {
        return Err(Failure::broken("an output does not have the size of the padded inputs"));
    }
    Ok(RunOutcome { outputs, ..outcome })
}

fn answer(
    shared: &Shared,
    batch: Vec<Queued>,
    outcome: RunOutcome,
    (taken_at, input): (Instant, Duration),
) {
    let ran_at = Instant::now();
    let asked: Vec<Part<'_>> = batch.iter().map(Queued::part).collect();
    let parts = batch::split(&outcome.outputs, &asked, shared.padding());
    let is_kept = verify::remember(shared, &asked, &parts, ran_at - taken_at);
    let names: Vec<_> =
        outcome.outputs.iter().map(|it| it.name.clone().unwrap_or_default()).collect();
    let phases = outcome.phases;
    let ended_at = Instant::now();
    let output = phases.output + (ended_at - ran_at);
    let (input, compute) = (input + phases.input, phases.compute);
    let n_rows = batch.iter().map(|queued| queued.request.n_rows()).sum();
    shared.job.metrics.record_run(&RunRecord { n_rows, input, compute, output, ended_at });
    shared.queue.answered(&batch);
    for (queued, tensors) in batch.into_iter().zip(parts) {
        let named =
            |(name, tensor): (&Arc<str>, Tensor)| NamedTensor { name: Arc::clone(name), tensor };
        let outputs = names.iter().zip(tensors).map(named).collect();
        let queue = taken_at.saturating_duration_since(queued.enqueued_at);
        let timings = Timings { queue, input, compute, output };
        queued.reply.send(Ok(Answer { outputs, timings }));
    }
    if is_kept {
        shared.queue.wake_for_spare();
    }
}
