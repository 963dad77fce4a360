//! The watch over shared runs: rows of real batches are run again alone, and one that gets another answer
//! ends sharing for good.
//!
//! Off the way of requests: they have their answers when a batch is looked at, an instance looks only when it has
//! nothing else to do, and all looking together takes a hundredth of the time of all runs at most.

use super::batch::Part;
use super::instance::Shared;
use super::outputs::settle;
use super::run::{Health, run};
use crate::engine::compare::{agree, rounding, row_scales};
use crate::engine::{Batch, Engine, Fault, Output};
use crate::inference::{Batching, ValidRequest};
use crate::telemetry::Verification;
use crate::tensor::{BufferMut, DataType, Element, Tensor};
use half::{bf16, f16};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Rows of one batch that are run again.
const ROWS: usize = 4;
/// Of the time of all runs, the part that may be spent: one in so many.
const SHARE: u64 = 100;
/// What may be spent before that, in nanoseconds: a model that has just begun has run for no time yet.
const ADVANCE: u64 = 100_000_000;

/// Told what differed.
pub type Tell = dyn Fn(&str) + Send + Sync;

/// How shared runs are watched.
#[derive(Clone, Default)]
pub struct Watch {
    /// Of so many batches one is looked at; 0 looks at none.
    pub every: u64,
    /// How far a row's answer in a batch may be from its answer alone, relative to the largest.
    pub tolerance: f64,
    /// Told once, with what differed.
    pub on_difference: Option<Arc<Tell>>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("every", &self.every).finish_non_exhaustive()
    }
}

/// Numbers that are compared at a time.
const LANES: usize = 16;

/// The smallest and the largest number.
pub(super) type Extent = (f64, f64);

/// What the watch has come to.
#[derive(Debug, Default)]
pub(super) struct Watched {
    batches: AtomicU64,
    /// Nanoseconds of all runs, and of those that looked again.
    ran: AtomicU64,
    spent: AtomicU64,
    /// The smallest and the largest number of each input, over all batches that were looked at.
    extents: Mutex<Vec<Extent>>,
    /// The batch that is to be looked at next; no second one is kept beside it.
    suspect: Mutex<Option<Suspect>>,
    is_refuted: AtomicBool,
    reason: Mutex<Option<String>>,
}

/// Rows of a batch and what they were answered.
#[derive(Debug)]
struct Suspect {
    rows: Vec<(Vec<Option<Tensor>>, Vec<Output>)>,
    n_rows: usize,
}

impl Watched {
    pub(super) fn is_refuted(&self) -> bool {
        self.is_refuted.load(Ordering::Relaxed)
    }

    /// Why sharing has ended, if it has.
    pub(super) fn reason(&self) -> Option<String> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there is something to look at.
    pub(super) fn has_suspect(&self) -> bool {
        self.suspect.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn take(&self) -> Option<Suspect> {
        self.suspect.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Counts a run, and says whether its batch is to be looked at: in its turn, or because a number lies beyond all that
    /// were looked at. What code does for rare values it does most often for those.
    fn is_due(&self, watch: &Watch, parts: &[Part<'_>], took: Duration) -> bool {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let ran = self.ran.fetch_add(nanos, Ordering::Relaxed).saturating_add(nanos);
        let is_shared = parts.len() > 1
            || parts.iter().any(|part| part.request.n_rows() > 1)
            || parts.iter().filter_map(|part| part.padded_size).any(|it| !it.is_exact());
        if watch.every == 0 || !is_shared || self.is_refuted() {
            return false;
        }
        let nth = self.batches.fetch_add(1, Ordering::Relaxed) + 1;
        let may_be = self.spent.load(Ordering::Relaxed) <= ran / SHARE + ADVANCE
            && !self.has_suspect()
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
            known.resize(part.request.inputs().len(), (f64::INFINITY, f64::NEG_INFINITY));
            for (known, input) in known.iter_mut().zip(part.request.inputs()) {
                let Some((least, most)) = input.as_ref().and_then(extent) else { continue };
                is_beyond |= least < known.0 || most > known.1;
                *known = (known.0.min(least), known.1.max(most));
            }
        }
        is_beyond
    }
}

/// The smallest and the largest number of a tensor; `None` of texts and of nothing but NaN.
pub(super) fn extent(tensor: &Tensor) -> Option<Extent> {
    fn of<T: Element + Copy + PartialOrd>(tensor: &Tensor, widen: fn(T) -> f64) -> Option<Extent> {
        let values = tensor.as_slice::<T>()?;
        let first = values.iter().copied().find(|value| value.partial_cmp(value).is_some())?;
        let (mut least, mut most) = ([first; LANES], [first; LANES]);
        let (chunks, rest) = values.as_chunks::<LANES>();
        // Lanes by themselves: the compiler may take them together, which it may not over one sum of floats.
        for chunk in chunks {
            for (lane, value) in chunk.iter().enumerate() {
                least[lane] = if *value < least[lane] { *value } else { least[lane] };
                most[lane] = if *value > most[lane] { *value } else { most[lane] };
            }
        }
        let smaller = |a: T, b: T| if b < a { b } else { a };
        let larger = |a: T, b: T| if b > a { b } else { a };
        let least = least.iter().chain(rest).copied().fold(first, smaller);
        let most = most.iter().chain(rest).copied().fold(first, larger);
        Some((widen(least), widen(most)))
    }
    match tensor.datatype() {
        DataType::Fp32 => of::<f32>(tensor, f64::from),
        DataType::Fp64 => of::<f64>(tensor, |value| value),
        DataType::Fp16 => of::<f16>(tensor, f64::from),
        DataType::Bf16 => of::<bf16>(tensor, f64::from),
        DataType::Int64 => of::<i64>(tensor, |value| value as f64),
        DataType::Int32 => of::<i32>(tensor, f64::from),
        DataType::Int16 => of::<i16>(tensor, f64::from),
        DataType::Int8 => of::<i8>(tensor, f64::from),
        DataType::UInt8 => of::<u8>(tensor, f64::from),
        _ => None,
    }
}

/// Keeps a few rows of a batch that was answered, if its turn has come. `answers` are those of its requests.
pub(super) fn remember(
    shared: &Shared,
    parts: &[Part<'_>],
    answers: &[Vec<Tensor>],
    took: Duration,
) -> bool {
    let n_rows: usize = parts.iter().map(|part| part.request.n_rows()).sum();
    let (watch, watched) = (&shared.options.watch, &shared.watched);
    if !watched.is_due(watch, parts, took) {
        return false;
    }
    // Spread over the batch, and begun elsewhere each time.
    let start = watched.batches.load(Ordering::Relaxed) as usize / watch.every.max(1) as usize;
    let step = n_rows.div_ceil(ROWS).max(1);
    let places = (0..n_rows.min(ROWS)).map(|nth| (start + nth * step) % n_rows);
    let rows: Vec<_> = places.filter_map(|place| row(parts, answers, place)).collect();
    let mut suspect = watched.suspect.lock().unwrap_or_else(PoisonError::into_inner);
    *suspect = Some(Suspect { rows, n_rows });
    true
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

/// One row of each input, as it came and without what it was padded with.
fn inputs(request: &ValidRequest, place: usize) -> Option<Vec<Option<Tensor>>> {
    let one = |input: &Option<Tensor>| match input {
        None => Some(None),
        Some(tensor) if tensor.shape().rank() == 0 => Some(Some(tensor.clone())),
        Some(tensor) => tensor.rows(place, 1).map(Some),
    };
    request.inputs().iter().map(one).collect()
}

/// Runs the rows of the batch that waits to be looked at, each alone, and ends sharing where one gets
/// another answer. Nothing comes of it where the model raises: it has answered these rows.
pub(super) fn verify(shared: &Shared, engine: &mut dyn Engine) -> Health {
    let watched = &shared.watched;
    let Some(Suspect { rows, n_rows }) = watched.take() else { return Health::Good };
    let started_at = Instant::now();
    let answers: Vec<_> = rows.iter().map(|(_, answer)| answer.clone()).collect();
    for (inputs, answer) in rows {
        let alone = match run(engine, Batch::without_deadline(inputs.clone())) {
            Ok(outcome) => settle(&shared.job.spec, outcome.outputs, 1),
            Err(error) if matches!(error.fault, Fault::Internal | Fault::Device) => {
                return Health::Rebuild;
            }
            Err(_) => {
                shared.job.metrics.verified(Verification::Skipped);
                continue;
            }
        };
        let scales = row_scales(&answer, &answers);
        let tolerance = shared.options.watch.tolerance;
        let rounding = rounding(tolerance, shared.job.spec.batching == Batching::Proved);
        let same = alone.map(unnamed).is_ok_and(|alone| {
            agree(&answer, &alone, &scales, tolerance)
                || (agree(&answer, &alone, &scales, rounding)
                    && among_itself(shared, engine, &inputs, n_rows)
                        .is_some_and(|own| agree(&answer, &own, &scales, tolerance)))
        });
        let outcome = if same { Verification::Same } else { Verification::Different };
        shared.job.metrics.verified(outcome);
        if !same {
            refute(shared, n_rows);
            break;
        }
    }
    let nanos = u64::try_from(started_at.elapsed().as_nanos()).unwrap_or(u64::MAX);
    watched.spent.fetch_add(nanos, Ordering::Relaxed);
    Health::Good
}

/// The answer of a row in a batch of nothing but itself: it has other kernels than alone, and their rounding, and no
/// other rows.
fn among_itself(
    shared: &Shared,
    engine: &mut dyn Engine,
    inputs: &[Option<Tensor>],
    n_rows: usize,
) -> Option<Vec<Output>> {
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
    let inputs = inputs.iter().map(repeated).collect::<Option<_>>()?;
    let outputs = settle(
        &shared.job.spec,
        run(engine, Batch::without_deadline(inputs)).ok()?.outputs,
        n_rows,
    )
    .ok()?;
    let first = |it: Output| Some(Output { tensor: it.tensor.rows(0, 1)?, name: None });
    outputs.into_iter().map(first).collect()
}

fn unnamed(outputs: Vec<Output>) -> Vec<Output> {
    outputs.into_iter().map(|it| Output { name: None, ..it }).collect()
}

/// Lets the batch go that waits to be looked at.
pub(super) fn skip(shared: &Shared) {
    if shared.watched.take().is_some() {
        shared.job.metrics.verified(Verification::Skipped);
    }
}

/// Ends sharing for this version.
fn refute(shared: &Shared, n_rows: usize) {
    let text = format!(
        "a row in a batch of {n_rows} got another answer than alone (more than {:.0e} of the largest)",
        shared.options.watch.tolerance
    );
    if shared.watched.is_refuted.swap(true, Ordering::Relaxed) {
        return;
    }
    *shared.watched.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.clone());
    shared.queue.keep_apart();
    shared.job.metrics.set_batching(crate::inference::Batching::Refuted.as_str());
    tracing::error!(
        model = %shared.options.label,
        reason = text,
        "Requests of this model share no runs any more: a row got another answer in a batch than alone"
    );
    if let Some(tell) = &shared.options.watch.on_difference {
        tell(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Shape;

    #[test]
    fn the_extent_is_that_of_all_numbers() {
        let mut values: Vec<f32> = (0..50).map(|it| it as f32).collect();
        values[0] = f32::NAN;
        values[37] = -3.5;
        values[49] = f32::INFINITY;
        let tensor =
            |values: Vec<f32>| Tensor::from_vec(Shape::from([values.len()]), values).unwrap();
        assert_eq!(extent(&tensor(values)), Some((-3.5, f64::INFINITY)));
        assert_eq!(extent(&tensor(vec![f32::NAN; 3])), None);
        let whole = Tensor::from_vec(Shape::from([2]), vec![i64::MIN, 7]).unwrap();
        assert_eq!(extent(&whole), Some((i64::MIN as f64, 7.0)));
    }
}
