//! Inputs that a model is run with before it counts as ready. Pure.

use crate::engine::probe::RunTimes;
use crate::inference::{Batching, ModelSpec, Padding, TensorSpec};
use crate::scheduler::{Inputs, Shapes, Warmup};
use crate::tensor::{BufferMut, Tensor};
use std::sync::Arc;
use std::time::Duration;

/// Longest that a warm-up run may be expected to take: a slow model is not run in its largest batches
/// before anybody has asked for them.
const MAX_RUN: Duration = Duration::from_millis(500);
/// How long the shapes that are run once may take in all. What the first run of a shape costs is
/// milliseconds at most: it is fast models that notice, and their shapes are soon run.
const SHAPES_BUDGET: Duration = Duration::from_millis(500);
/// Longest that one of them may be expected to take.
const MAX_SHAPE_RUN: Duration = Duration::from_millis(100);
/// Maximum number of them.
const MAX_SHAPES: usize = 4096;
/// Maximum bytes of a warm-up tensor.
const MAX_BYTES: usize = 64 << 20;
/// What variable dimensions are made up as.
const VARIABLE: usize = 8;

/// What to warm a version up for.
#[derive(Debug, Clone)]
pub(super) struct WarmupPlan {
    pub(super) batching: Batching,
    pub(super) padding: Option<Arc<Padding>>,
    pub(super) max_batch_size: usize,
    pub(super) times: Option<RunTimes>,
}

impl WarmupPlan {
    /// Runs of the first row of `sample`: of one row, of two, and of as many as there is time for, until
    /// the library has settled; then every other shape that requests will be run in, once. A model whose
    /// rows must not be put together sees the sample as it is.
    pub(super) fn warmup(&self, sample: &Inputs) -> Warmup {
        if !self.batching.is_allowed() {
            return Warmup { settle: vec![sample.clone()], shapes: None };
        }
        let max_rows = self.max_settle_rows();
        let mut counts = vec![1, 2.min(max_rows), max_rows];
        counts.dedup();
        let own = self.padded(sample).unwrap_or_else(|| sample.clone());
        let settle = counts.iter().filter_map(|&n_rows| repeat_first_row(&own, n_rows)).collect();
        Warmup { settle, shapes: self.shapes(sample, &counts).map(Arc::new) }
    }

    /// The sample as a request like it is run.
    fn padded(&self, sample: &Inputs) -> Option<Inputs> {
        let padding = self.padding.as_ref()?;
        padding.resized(sample, padding.padded_size(sample)?.to)
    }

    /// Each number of rows in each bucket: single rows first, as at a light load, then full batches, then
    /// what lies between. `settled` are run already where there are no buckets.
    fn shapes(&self, sample: &Inputs, settled: &[usize]) -> Option<Shapes> {
        let padded_size = self.padding.as_ref().and_then(|padding| padding.padded_size(sample));
        let padding = self.padding.clone().filter(|_| padded_size.is_some());
        let sizes: Vec<Option<usize>> = match &padding {
            Some(padding) => padding.buckets.iter().copied().map(Some).collect(),
            None => vec![None],
        };
        let own_size = padded_size.map_or(1, |padded_size| padded_size.to).max(1);
        let is_affordable = |n_rows: usize, size: Option<usize>| {
            let rows = u32::try_from(n_rows).unwrap_or(u32::MAX);
            let padded = size.unwrap_or(own_size) as f64 / own_size as f64;
            let time = self.row_time().saturating_mul(rows).as_secs_f64() * padded;
            time <= MAX_SHAPE_RUN.as_secs_f64()
        };
        let max_rows = self.max_batch_size;
        let counts = [1, max_rows].into_iter().chain(2..max_rows).take(max_rows);
        let is_new = |n_rows: usize| padding.is_some() || !settled.contains(&n_rows);
        let shapes: Vec<(usize, Option<usize>)> = counts
            .filter(|&n_rows| is_new(n_rows))
            .flat_map(|n_rows| sizes.iter().map(move |&size| (n_rows, size)))
            .filter(|&(n_rows, size)| is_affordable(n_rows, size))
            .take(MAX_SHAPES)
            .collect();
        let (n_shapes, sample) = (shapes.len(), sample.clone());
        (n_shapes > 0).then(|| {
            Shapes::new(n_shapes, SHAPES_BUDGET, move |place| {
                let &(n_rows, size) = shapes.get(place)?;
                match (&padding, size) {
                    (Some(padding), Some(size)) => {
                        repeat_first_row(&padding.resized(&sample, size)?, n_rows)
                    }
                    _ => repeat_first_row(&sample, n_rows),
                }
            })
        })
    }

    /// How long a row takes in a batch, as far as that is known.
    fn row_time(&self) -> Duration {
        self.times.map_or(Duration::ZERO, |times| times.max_rows.per_row())
    }

    /// How many rows a run may have that is repeated until the library has settled.
    fn max_settle_rows(&self) -> usize {
        let per_row = self.row_time().as_nanos();
        let affordable = MAX_RUN.as_nanos().checked_div(per_row).unwrap_or(u128::MAX);
        self.max_batch_size.min(usize::try_from(affordable).unwrap_or(usize::MAX)).max(1)
    }
}

/// Inputs of zeros; `None` when the model is not known to take such.
pub(super) fn made_up(spec: &ModelSpec) -> Option<Inputs> {
    let zeros = |spec: &TensorSpec| {
        if spec.optional {
            return Some(None);
        }
        let shape = spec.shape.example(1, VARIABLE)?;
        let bytes = shape.elements()?.checked_mul(spec.datatype.byte_size()?)?;
        let buffer = (bytes <= MAX_BYTES).then(|| BufferMut::zeroed(bytes).freeze())?;
        Tensor::new(spec.datatype, shape, buffer).ok().map(Some)
    };
    if spec.batching == Batching::Unprobed {
        return None;
    }
    spec.inputs.iter().map(zeros).collect()
}

fn repeat_first_row(sample: &Inputs, n_rows: usize) -> Option<Inputs> {
    let repeat = |tensor: &Option<Tensor>| match tensor {
        None => Some(None),
        Some(tensor) if tensor.shape().rank() == 0 => Some(Some(tensor.clone())),
        Some(tensor) => repeat_row(&tensor.rows(0, 1)?, n_rows).map(Some),
    };
    sample.iter().map(repeat).collect()
}

fn repeat_row(row: &Tensor, n_rows: usize) -> Option<Tensor> {
    let bytes = row.buffer().as_bytes();
    let total = bytes.len().checked_mul(n_rows).filter(|total| *total <= MAX_BYTES)?;
    let mut buffer = BufferMut::zeroed(total);
    for place in buffer.as_mut().chunks_exact_mut(bytes.len().max(1)) {
        place.copy_from_slice(bytes);
    }
    Tensor::new(row.datatype(), row.shape().with_rows(n_rows), buffer.freeze()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::probe::TimedRun;
    use crate::inference::InputPadding;
    use crate::tensor::Shape;

    fn plan(batching: Batching, max_batch_size: usize) -> WarmupPlan {
        WarmupPlan { batching, padding: None, max_batch_size, times: None }
    }

    fn rows(batching: Batching, max_batch_size: usize) -> Vec<Vec<f32>> {
        let x = Tensor::from_vec(Shape::from([2, 1]), vec![1f32, 2.0]).unwrap();
        let k = Tensor::from_vec(Shape::default(), vec![5i64]).unwrap();
        let sample = vec![Some(x), None, Some(k.clone())];
        let warmup = plan(batching, max_batch_size).warmup(&sample);
        let first = |batch: &Inputs| {
            assert_eq!((&batch[1], &batch[2]), (&None, &Some(k.clone())));
            batch[0].as_ref().unwrap().as_slice::<f32>().unwrap().to_vec()
        };
        warmup.settle.iter().map(first).collect()
    }

    /// Those of a model that takes so many milliseconds for so many rows.
    fn times_of(n_rows: usize, millis: u64) -> RunTimes {
        let max_rows = TimedRun { n_rows, duration: Duration::from_millis(millis) };
        RunTimes { min_rows: TimedRun { n_rows: 1, duration: Duration::ZERO }, max_rows }
    }

    #[test]
    fn slow_models_are_warmed_up_with_fewer_rows() {
        let max_rows = |times: Option<(usize, u64)>| {
            let times = times.map(|(n_rows, millis)| times_of(n_rows, millis));
            WarmupPlan { times, ..plan(Batching::Proved, 64) }.max_settle_rows()
        };
        assert_eq!(max_rows(None), 64);
        assert_eq!(max_rows(Some((64, 0))), 64);
        assert_eq!(max_rows(Some((8, 800))), 5);
        assert_eq!(max_rows(Some((1, 9000))), 1);
    }

    #[test]
    fn rows_are_repeated_only_where_they_may_share_a_run() {
        assert_eq!(rows(Batching::Proved, 4), [vec![1.0], vec![1.0; 2], vec![1.0; 4]]);
        assert_eq!(rows(Batching::Proved, 2), [vec![1.0], vec![1.0; 2]]);
        assert_eq!(rows(Batching::Proved, 1), [vec![1.0]]);
        assert_eq!(rows(Batching::Coupled, 4), [vec![1.0, 2.0]]);
    }

    /// The shapes that are run once, as (rows, size of the second dimension).
    fn shapes(plan: &WarmupPlan) -> Vec<[usize; 2]> {
        let ids = Tensor::from_vec(Shape::from([2, 3]), vec![1i64; 6]).unwrap();
        let sample = vec![Some(ids)];
        let Some(shapes) = plan.warmup(&sample).shapes else { return Vec::new() };
        let shape = |place| {
            let inputs = shapes.inputs(place).unwrap();
            inputs[0].as_ref().unwrap().shape().dims().try_into().unwrap()
        };
        (0..shapes.progress().0).map(shape).collect()
    }

    #[test]
    fn every_shape_in_use_is_run_the_most_wanted_first() {
        assert_eq!(
            shapes(&plan(Batching::Proved, 5)),
            [[3, 3], [4, 3]],
            "what settles is not again"
        );
        assert_eq!(shapes(&plan(Batching::Coupled, 5)), [[0; 2]; 0]);
        let padding = Padding {
            pads: vec![Some(InputPadding { axis: 1, element: [0; 8].into() })],
            given: vec![true],
            follows: vec![],
            buckets: vec![2, 4],
        };
        let padded = WarmupPlan { padding: Some(Arc::new(padding)), ..plan(Batching::Proved, 3) };
        assert_eq!(shapes(&padded), [[1, 2], [1, 4], [3, 2], [3, 4], [2, 2], [2, 4]]);
        let sample = vec![Tensor::from_vec(Shape::from([1, 3]), vec![1i64; 3]).ok()];
        let settle = padded.warmup(&sample).settle;
        assert_eq!(settle[0][0].as_ref().unwrap().shape(), &Shape::from([1, 4]), "the bucket's");
        let slow = WarmupPlan { times: Some(times_of(1, 40)), ..padded };
        assert_eq!(shapes(&slow), [[1, 2], [1, 4], [3, 2], [2, 2], [2, 4]], "3 x 4 takes 120 ms");
    }
}
