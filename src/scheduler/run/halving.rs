//! What fails by its inputs is run again in halves, down to the requests that are to blame.

use super::attempt::attempt;
use super::engine::Health;
use super::failure::Failure;
use super::refusal::refuse;
use crate::engine::Engine;
use crate::scheduler::queue::Queued;
use crate::scheduler::shared::Shared;
use std::time::Instant;

/// How the run of a batch ended.
pub(in crate::scheduler) enum Ended {
    /// With an answer for each request, unless the engine is lost.
    Here(Health),
    /// With the process that the model runs in.
    Died(Died),
}

/// What was being run when the model's process ended.
pub(in crate::scheduler) struct Died {
    /// What ran.
    pub(in crate::scheduler) batch: Vec<Queued>,
    /// What was to run after it.
    pub(in crate::scheduler) behind: Vec<Queued>,
    pub(in crate::scheduler) failure: Failure,
    /// When they left the queue.
    pub(in crate::scheduler) taken_at: Instant,
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
///
/// Where the model's process ends meanwhile, it stops there: what has no answer yet is given back.
pub(in crate::scheduler) fn run_batch(
    shared: &Shared,
    engine: &mut dyn Engine,
    batch: Vec<Queued>,
) -> Ended {
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
            Err((batch, failure)) if failure.is_end() => {
                let behind =
                    pieces.into_iter().rev().flat_map(|piece: Piece| piece.batch).collect();
                return Ended::Died(Died { batch, behind, failure, taken_at });
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
                    lost => return Ended::Here(lost),
                }
            }
        }
    }
    Ended::Here(Health::Good)
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
