//! A batch on an engine, once: put together, run, checked, cut apart, answered.

use super::engine::run;
use super::failure::Failure;
use super::outputs;
use crate::engine::{Batch, Engine, EngineError, Fault, RunOutcome};
use crate::inference::{NamedTensor, RunId, Timings};
use crate::scheduler::batch::{self, Part};
use crate::scheduler::options::Answer;
use crate::scheduler::queue::Queued;
use crate::scheduler::shared::Shared;
use crate::telemetry::RunRecord;
use crate::tensor::{Tensor, TensorError};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Runs a batch once and answers it; gives it back where that fails.
pub(super) fn attempt(
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
        .and_then(|inputs| {
            let deadline = latest_deadline(&batch);
            let until = deadline.map(|deadline| shared.given_up_at(deadline, taken_at));
            run(engine, Batch { inputs, deadline, until })
        })
        .map_err(Failure::Engine)
        .and_then(|outcome| check(shared, outcome, &parts));
    match outcome {
        Ok(outcome) => {
            answer(shared, batch, outcome, Began { taken_at, input });
            Ok(())
        }
        Err(failure) => Err((batch, failure)),
    }
}

/// When the last of them stops waiting.
fn latest_deadline(batch: &[Queued]) -> Option<Instant> {
    batch.iter().map(|queued| queued.request.context().deadline).max()
}

/// Counts a run and what of it is padding.
fn observe(shared: &Shared, parts: &[Part<'_>], n_rows: usize) {
    let metrics = &shared.metrics;
    metrics.observe_batch(n_rows);
    let (mut positions, mut padding) = (0, 0);
    for (rows, size) in parts.iter().filter_map(|it| Some((it.request.n_rows(), it.padded?))) {
        positions += rows * size.to;
        padding += rows * (size.to - size.from);
    }
    if positions > 0 {
        metrics.observe_padding(positions, padding);
    }
}

/// The outcome with its outputs as the contract has them, if they can be cut apart and back.
fn check(shared: &Shared, outcome: RunOutcome, parts: &[Part<'_>]) -> Result<RunOutcome, Failure> {
    let n_rows = parts.iter().map(|part| part.request.n_rows()).sum();
    let outputs = outputs::settle(&shared.job.spec, outcome.outputs, n_rows)?;
    if parts.len() > 1 && !batch::has_rows(&outputs, n_rows) {
        return Err(Failure::broken("an output has no row for each row of the batch"));
    }
    let padded = parts.iter().find(|part| part.is_padded()).and_then(|part| part.padded);
    if let (Some(size), Some(padding)) = (padded, shared.padding())
        && !batch::follow(&outputs, padding, size.to)
    {
        return Err(Failure::broken("an output does not have the size of the padded inputs"));
    }
    Ok(RunOutcome { outputs, ..outcome })
}

/// When the batch was taken, and how long it took to put it together.
struct Began {
    taken_at: Instant,
    input: Duration,
}

/// Cuts the outputs apart and answers everybody.
fn answer(
    shared: &Shared,
    batch: Vec<Queued>,
    outcome: RunOutcome,
    Began { taken_at, input }: Began,
) {
    let ran_at = Instant::now();
    let asked: Vec<Part<'_>> = batch.iter().map(Queued::part).collect();
    let parts = batch::split(&outcome.outputs, &asked, shared.padding());
    let watch = &shared.options.watch;
    let is_kept = shared.watched.remember(watch, &asked, &parts, ran_at - taken_at);
    let names: Vec<_> =
        outcome.outputs.iter().map(|it| it.name.clone().unwrap_or_default()).collect();
    let phases = outcome.phases;
    let ended_at = Instant::now();
    let output = phases.output + (ended_at - ran_at);
    let (input, compute) = (input + phases.input, phases.compute);
    let n_rows = batch.iter().map(|queued| queued.request.n_rows()).sum();
    shared.job.metrics.record_run(&RunRecord { n_rows, input, compute, output, ended_at });
    shared.queue.answered(&batch);
    let run = RunId { number: shared.next_run(), n_rows };
    for (queued, tensors) in batch.into_iter().zip(parts) {
        let named =
            |(name, tensor): (&Arc<str>, Tensor)| NamedTensor { name: Arc::clone(name), tensor };
        let outputs = names.iter().zip(tensors).map(named).collect();
        let queue = taken_at.saturating_duration_since(queued.enqueued_at);
        let timings = Timings { queue, input, compute, output, run };
        queued.reply.send(Ok(Answer { outputs, timings }));
    }
    if is_kept {
        shared.queue.wake_for_spare();
    }
}
