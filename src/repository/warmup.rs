//! Inputs that a model is run with before it counts as ready. Pure.

use crate::inference::ModelSpec;
use crate::tensor::{BufferMut, Tensor};

/// Tensors in the order of the model's arguments.
pub(super) type Inputs = Vec<Option<Tensor>>;

/// Warm-up batches made of the first row of `sample`: of one row, of two, and as many as share a
/// run, because the library specializes on the first shapes that it sees. A model whose rows must
/// not be put together sees the sample as it is.
pub(super) fn batches(spec: &ModelSpec, sample: &Inputs, max_batch_size: usize) -> Vec<Inputs> {
    if !spec.batching.is_allowed() {
        return vec![sample.clone()];
    }
    let mut sizes = vec![1, 2.min(max_batch_size), max_batch_size];
    sizes.dedup();
    sizes.into_iter().filter_map(|n_rows| repeat_first_row(sample, n_rows)).collect()
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
    let mut buffer = BufferMut::zeroed(bytes.len().checked_mul(n_rows)?);
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
    fn rows_are_repeated_only_where_they_may_share_a_run() {
        assert_eq!(rows(Batching::Safe, 4), [vec![1.0], vec![1.0; 2], vec![1.0; 4]]);
        assert_eq!(rows(Batching::Safe, 2), [vec![1.0], vec![1.0; 2]]);
        assert_eq!(rows(Batching::Safe, 1), [vec![1.0]]);
        assert_eq!(rows(Batching::Coupled, 4), [vec![1.0, 2.0]]);
    }
}
