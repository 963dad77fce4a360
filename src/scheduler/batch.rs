//! Putting requests together into one batch and cutting its outputs apart again: pure functions.

use crate::engine::Output;
use crate::inference::ValidRequest;
use crate::tensor::BufferMut;
use crate::tensor::Shape;
use crate::tensor::Tensor;
use crate::tensor::TensorError;

/// Whether the rows of two requests may lie in one tensor: the same arguments are given, rows have
/// the same dimensions, and plain numbers, which hold for a whole batch, are equal.
pub(super) fn compatible(a: &ValidRequest, b: &ValidRequest) -> bool {
    a.inputs().iter().zip(b.inputs()).all(|pair| match pair {
        (None, None) => true,
        (Some(a), Some(b)) if a.shape().rank() == 0 => a == b,
        (Some(a), Some(b)) => {
            // `BYTES` elements differ in length, so their rows cannot be laid end to end by size.
            a.datatype().byte_size().is_some()
                && a.shape().rank() == b.shape().rank()
                && a.shape().row() == b.shape().row()
        }
        _ => false,
    })
}

/// The inputs of all requests, end to end along the rows. One request's tensors are passed on as
/// they are; several are copied once into memory that `allocate` gives.
pub(super) fn concat(
    requests: &[&ValidRequest],
    mut allocate: impl FnMut(usize) -> BufferMut,
) -> Result<Vec<Option<Tensor>>, TensorError> {
    let Some((first, rest)) = requests.split_first() else {
        return Ok(Vec::new());
    };
    if rest.is_empty() {
        return Ok(first.inputs().to_vec());
    }
    let n_rows = requests.iter().map(|request| request.n_rows()).sum();
    let mut inputs = Vec::with_capacity(first.inputs().len());
    for (position, input) in first.inputs().iter().enumerate() {
        let Some(tensor) = input else {
            inputs.push(None);
            continue;
        };
        if tensor.shape().rank() == 0 {
            inputs.push(Some(tensor.clone()));
            continue;
        }
        let parts = requests.iter().filter_map(|request| request.inputs()[position].as_ref());
        let bytes = parts.clone().map(|part| part.buffer().len()).sum();
        let mut buffer = allocate(bytes);
        let mut free = buffer.as_mut();
        for part in parts {
            let (place, behind) = free.split_at_mut(part.buffer().len());
            place.copy_from_slice(part.buffer().as_bytes());
            free = behind;
        }
        let shape = tensor.shape().with_rows(n_rows);
        inputs.push(Some(Tensor::new(tensor.datatype(), shape, buffer.freeze())?));
    }
    Ok(inputs)
}

/// Whether each output has a row for each row of the batch, so that it can be cut apart.
pub(super) fn has_rows(outputs: &[Output], n_rows: usize) -> bool {
    outputs.iter().all(|output| {
        let shape: &Shape = output.tensor.shape();
        shape.rank() > 0
            && shape.n_rows() == n_rows
            && output.tensor.datatype().byte_size().is_some()
    })
}

/// Each request's rows of each output, without copying. Call only where [`has_rows`] holds.
pub(super) fn split(outputs: &[Output], rows: impl Iterator<Item = usize>) -> Vec<Vec<Tensor>> {
    let mut start = 0;
    rows.map(|n_rows| {
        let part = outputs.iter().filter_map(|output| output.tensor.rows(start, n_rows)).collect();
        start += n_rows;
        part
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::testing::{request, spec};
    use crate::tensor::Tensor;
    use proptest::prelude::*;

    #[test]
    fn only_equal_rows_and_equal_numbers_go_together() {
        let a = request(&[1.0, 2.0], Some(3));
        assert!(compatible(&a, &request(&[5.0], Some(3))));
        assert!(!compatible(&a, &request(&[5.0], Some(4))), "plain numbers must be equal");
        assert!(!compatible(&a, &request(&[5.0], None)), "the same arguments must be given");
        assert_eq!(spec().inputs.len(), 2);
    }

    proptest! {
        #[test]
        fn what_is_put_together_comes_apart_unchanged(sizes in prop::collection::vec(1usize..5, 1..9)) {
            let mut next = 0.0;
            let requests: Vec<_> = sizes.iter().map(|&n_rows| {
                let rows: Vec<f32> = (0..n_rows).map(|_| { next += 1.0; next }).collect();
                request(&rows, None)
            }).collect();
            let inputs = concat(&requests.iter().collect::<Vec<_>>(), BufferMut::zeroed).unwrap();
            let tensor = inputs[0].clone().unwrap();
            let outputs = [Output { name: None, tensor }];
            prop_assert!(has_rows(&outputs, sizes.iter().sum()));
            let parts = split(&outputs, sizes.iter().copied());
            for (request, part) in requests.iter().zip(&parts) {
                let expected: &Tensor = request.inputs()[0].as_ref().unwrap();
                prop_assert_eq!(&part[0], expected);
            }
        }
    }
}
