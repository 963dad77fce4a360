//! The watch over shared runs: which batches are to be looked at again, and what has come of it so far.
//!
//! Rows of real batches are run again alone (`run/verify`), and one that gets another answer ends sharing for good. Off
//! the way of requests: they have their answers when a batch is looked at, an instance looks only when it has nothing
//! else to do, and all looking together takes a hundredth of the time of all runs at most.

use super::batch::Part;
use super::extent::{Extents, extent};
use crate::engine::Output;
use crate::inference::ValidRequest;
use crate::tensor::Tensor;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Rows of one batch that are run again.
const ROWS: usize = 4;
/// Of the time of all runs, the part that may be spent: one in so many.
const SHARE: u64 = 100;
/// What may be spent before that, in nanoseconds: a model that has just begun has run for no time yet.
const ADVANCE: u64 = 100_000_000;

/// How shared runs are watched.
#[derive(Clone, Default)]
pub struct Watch {
    /// Of so many batches one is looked at; 0 looks at none.
    pub every: u64,
    /// How far a row's answer in a batch may be from its answer alone, relative to the largest.
    pub tolerance: f64,
    /// Called once, with what differed.
    pub on_difference: Option<Arc<OnDifference>>,
}

/// What is called when a difference is found, with a sentence that says which.
pub type OnDifference = dyn Fn(&str) + Send + Sync;

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("every", &self.every).finish_non_exhaustive()
    }
}

/// What the watch has come to.
#[derive(Debug, Default)]
pub(super) struct Watched {
    batches: AtomicU64,
    /// Nanoseconds of all runs, and of those that looked again.
    ran: AtomicU64,
    spent: AtomicU64,
    /// Over all batches that were looked at.
    extents: Mutex<Extents>,
    /// The batch that is to be looked at next; no second one is kept beside it.
    sample: Mutex<Option<Sample>>,
    is_refuted: AtomicBool,
    reason: Mutex<Option<String>>,
}

/// Rows of a batch and what they were answered.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) rows: Vec<(Vec<Option<Tensor>>, Vec<Output>)>,
    /// Rows of the whole batch.
    pub(super) n_rows: usize,
}

impl Watched {
    pub(super) fn is_refuted(&self) -> bool {
        self.is_refuted.load(Ordering::Relaxed)
    }

    /// Why sharing has ended, if it has.
    pub(super) fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends sharing; says whether it had not ended before.
    pub(super) fn refute(&self, reason: &str) -> bool {
        if self.is_refuted.swap(true, Ordering::Relaxed) {
            return false;
        }
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        true
    }

    /// Whether there is something to look at.
    pub(super) fn has_sample(&self) -> bool {
        self.sample().is_some()
    }

    /// What is to be looked at.
    pub(super) fn take(&self) -> Option<Sample> {
        self.sample().take()
    }

    /// Looking took so long.
    pub(super) fn spend(&self, time: Duration) {
        self.spent.fetch_add(nanos(time), Ordering::Relaxed);
    }

    /// Keeps a few rows of a batch that was answered, if its turn has come, and says so. `answers` are those of its
    /// requests, and the run took `took`.
    pub(super) fn remember(
        &self,
        watch: &Watch,
        parts: &[Part<'_>],
        answers: &[Vec<Tensor>],
        took: Duration,
    ) -> bool {
        if !self.is_due(watch, parts, took) {
            return false;
        }
        let n_rows: usize = parts.iter().map(|part| part.request.n_rows()).sum();
        // Spread over the batch, and begun elsewhere each time.
        let start = self.batches.load(Ordering::Relaxed) as usize / watch.every.max(1) as usize;
        let step = n_rows.div_ceil(ROWS).max(1);
        let places = (0..n_rows.min(ROWS)).map(|nth| (start + nth * step) % n_rows);
        let rows = places.filter_map(|place| row(parts, answers, place)).collect();
        *self.sample() = Some(Sample { rows, n_rows });
        true
    }

    /// Counts a run, and says whether its batch is to be looked at: in its turn, or because a number lies beyond all that
    /// were looked at. What code does for rare values it does most often for those.
    fn is_due(&self, watch: &Watch, parts: &[Part<'_>], took: Duration) -> bool {
        let took = nanos(took);
        let ran = self.ran.fetch_add(took, Ordering::Relaxed).saturating_add(took);
        let is_shared = parts.len() > 1
            || parts.iter().any(|part| part.request.n_rows() > 1 || part.is_padded());
        if watch.every == 0 || !is_shared || self.is_refuted() {
            return false;
        }
        let nth = self.batches.fetch_add(1, Ordering::Relaxed) + 1;
        let may_be = self.spent.load(Ordering::Relaxed) <= ran / SHARE + ADVANCE
            && !self.has_sample()
            && parts.iter().all(|part| part.request.fits_evidence());
        // At first more often: 1, 2, 4, 8 and so on.
        let is_its_turn = nth.is_multiple_of(watch.every) || nth.is_power_of_two();
        may_be && (self.is_beyond(parts) || is_its_turn)
    }

    /// Whether any number of these inputs lies beyond all that were looked at; from here on they count among those.
    fn is_beyond(&self, parts: &[Part<'_>]) -> bool {
        let mut known = self.extents.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_beyond = false;
        for part in parts {
            let inputs = part.request.inputs().iter();
            is_beyond |= known.add(inputs.map(|input| input.as_ref().and_then(extent)));
        }
        is_beyond
    }

    fn sample(&self) -> MutexGuard<'_, Option<Sample>> {
        self.sample.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The inputs and the answer of the row at this place of a batch.
fn row(
    parts: &[Part<'_>],
    answers: &[Vec<Tensor>],
    mut place: usize,
) -> Option<(Vec<Option<Tensor>>, Vec<Output>)> {
    for (part, answer) in parts.iter().zip(answers) {
        let n_rows = part.request.n_rows();
        if place >= n_rows {
            place -= n_rows;
            continue;
        }
        let outputs = answer.iter().map(|tensor| tensor.rows(place, 1));
        let outputs = outputs.map(|it| it.map(|tensor| Output { name: None, tensor }));
        return Some((inputs(part.request, place)?, outputs.collect::<Option<_>>()?));
    }
    None
}

/// One row of each input, as it came and without its padding.
fn inputs(request: &ValidRequest, place: usize) -> Option<Vec<Option<Tensor>>> {
    let one = |input: &Option<Tensor>| match input {
        None => Some(None),
        Some(tensor) if tensor.shape().rank() == 0 => Some(Some(tensor.clone())),
        Some(tensor) => tensor.rows(place, 1).map(Some),
    };
    request.inputs().iter().map(one).collect()
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
