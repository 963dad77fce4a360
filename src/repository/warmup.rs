//! Inputs that a model is run with before it counts as ready. Pure.

use crate::engine::probe::RunTimes;
use crate::inference::{Batching, ModelSpec, TensorSpec};
use crate::tensor::{BufferMut, Tensor};
use std::time::Duration;

/// Longest that a warm-up run may be expected to take: a slow model is not run in its largest batches
/// before anybody has asked for them.
const MAX_RUN: Duration = Duration::from_millis(500);
/// Most bytes of a warm-up tensor.
const MAX_BYTES: usize = 64 << 20;
/// What variable dimensions are made up as.
const VARIABLE: usize = 8;

/// Tensors in the order of the model's arguments.
pub(super) type Inputs = Vec<Option<Tensor>>;

/// Warm-up batches made of the first row of `sample`: of one row, of two, and of `most_rows`, because the library specializes on the first shapes that it sees. A model whose rows must
/// not be put together sees the sample as it is.
pub(super) fn batches(spec: &ModelSpec, sample: &Inputs, most_rows: usize) -> Vec<Inputs> {
    if !spec.batching.is_allowed() {
        return vec![sample.clone()];
    }
    let mut sizes = vec![1, 2.min(most_rows), most_rows];
    sizes.dedup();
    sizes.into_iter().filter_map(|n_rows| repeat_first_row(sample, n_rows)).collect()
}

/// How many rows a warm-up run may have.
pub(super) fn most_rows(max_batch_size: usize, times: Option<RunTimes>) -> usize {
    let Some(RunTimes { most: (n_rows, time), .. }) = times else { return max_batch_size };
    let per_row = time.as_nanos() / n_rows.max(1) as u128;
    let affordable = MAX_RUN.as_nanos().checked_div(per_row).unwrap_or(u128::MAX);
    max_batch_size.min(usize::try_from(affordable).unwrap_or(usize::MAX)).max(1)
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
    use crate::inference::Batching;
    use crate::tensor::Shape;

    fn rows(batching: Batching, max_batch_size: usize) -> Vec<Vec<f32>> {
        let spec = ModelSpec { inputs: vec![], outputs: vec![], batching, max_rows: 9 };
        let x = Tensor::from_vec(Shape::from([2, 1]), vec![1f32, 2.0]).unwrap();
        let k = Tensor::from_vec(Shape::default(), vec![5i64]).unwrap();
        let sample = vec![Some(x), None, Some(k.clone())];
        let batches = batches(&spec, &sample, max_batch_size);
        let first = |batch: &Inputs| {
            assert_eq!((&batch[1], &batch[2]), (&None, &Some(k.clone())));
            batch[0].as_ref().unwrap().as_slice::<f32>().unwrap().to_vec()
        };
        batches.iter().map(first).collect()
    }

    #[test]
    fn slow_models_are_warmed_up_with_fewer_rows() {
        let times = |n_rows, millis| {
            let most = (n_rows, Duration::from_millis(millis));
            Some(RunTimes { least: (1, Duration::ZERO), most })
        };
        assert_eq!(most_rows(64, None), 64);
        assert_eq!(most_rows(64, times(64, 0)), 64);
        assert_eq!(most_rows(64, times(8, 800)), 5);
        assert_eq!(most_rows(64, times(1, 9000)), 1);
    }

    #[test]
    fn rows_are_repeated_only_where_they_may_share_a_run() {
        assert_eq!(rows(Batching::Safe, 4), [vec![1.0], vec![1.0; 2], vec![1.0; 4]]);
        assert_eq!(rows(Batching::Safe, 2), [vec![1.0], vec![1.0; 2]]);
        assert_eq!(rows(Batching::Safe, 1), [vec![1.0]]);
        assert_eq!(rows(Batching::Coupled, 4), [vec![1.0, 2.0]]);
    }
}
