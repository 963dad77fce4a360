//! What fails by its inputs is run again in halves, down to the requests that are to blame.

use super::attempt::attempt;
use super::engine::Health;
use super::failure::Failure;
use crate::engine::Engine;
use crate::inference::Reached;
use crate::scheduler::queue::Queued;
use crate::scheduler::shared::Shared;
use std::time::Instant;

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
pub(in crate::scheduler) fn run_batch(
    shared: &Shared,
    engine: &mut dyn Engine,
    batch: Vec<Queued>,
) -> Health {
    let taken_at = Instant::now();
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
                batch.iter_mut().for_each(|queued| queued.padded = None);
                pieces.push(Piece { batch, is_first_half: false, fails: false });
            }
            Err((batch, failure)) => {
                refuse(shared, batch, &failure, taken_at);
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
    batch.iter().any(|queued| queued.part().is_padded())
}

/// Tells the senders of what cannot be run why. `taken_at`: when they left the queue.
fn refuse(shared: &Shared, batch: Vec<Queued>, failure: &Failure, taken_at: Instant) {
    for queued in batch {
        if failure.is_of_inputs() {
            shared.queue.failed(&queued);
        }
        let refusal = failure.report(&shared.job.spec, &queued.request);
        let queue = taken_at.saturating_duration_since(queued.enqueued_at);
        let reached = Reached { queue, compute: Some(taken_at.elapsed()) };
        queued.reply.send(Err(refusal.with_reached(reached)));
    }
}
