//! Putting requests together into one batch and cutting its outputs apart again: pure functions.

use crate::engine::Output;
use crate::inference::{PaddedSize, Padding, ValidRequest};
use crate::tensor::{BufferMut, Shape, Tensor, TensorError};

/// A request as a batch sees it.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The request.
    pub request: &'a ValidRequest,
    /// The size that its inputs are padded to; `None` when they are run as they are.
    pub padded: Option<PaddedSize>,
}

impl Part<'_> {
    /// Whether something has to be put behind its inputs.
    #[must_use]
    pub fn is_padded(&self) -> bool {
        self.padded.is_some_and(|size| !size.is_exact())
    }
}

/// Whether the rows of two requests may lie in one tensor: the same arguments are given, rows are of one
/// datatype and have the same dimensions once they are padded, plain numbers, which hold for a whole
/// batch, are equal, and both are near enough to what the model was seen to work with.
#[must_use]
pub fn compatible(a: Part<'_>, b: Part<'_>, padding: Option<&Padding>) -> bool {
    let may_share = a.request.may_share_runs() && b.request.may_share_runs();
    if !may_share || a.padded.map(|it| it.to) != b.padded.map(|it| it.to) {
        return false;
    }
    let padded = padding.filter(|_| a.padded.is_some()).map_or(&[][..], |it| &it.pads);
    let pairs = a.request.inputs().iter().zip(b.request.inputs());
    pairs.enumerate().all(|(place, pair)| match pair {
        (None, None) => true,
        (Some(a), Some(b)) if a.shape().rank() == 0 => a == b,
        (Some(a), Some(b)) => {
            let axis = padded.get(place).and_then(Option::as_ref).map(|it| it.axis);
            // `BYTES` elements differ in length, so their rows cannot be laid end to end by size.
            let is_fixed = a.datatype().byte_size().is_some();
            is_fixed && a.datatype() == b.datatype() && same_rows(a.shape(), b.shape(), axis)
        }
        _ => false,
    })
}

/// Whether all dimensions but the rows, and that which is padded, are the same.
fn same_rows(a: &Shape, b: &Shape, padded: Option<usize>) -> bool {
    let mut pairs = a.dims().iter().zip(b.dims()).enumerate().skip(1);
    a.rank() == b.rank() && pairs.all(|(axis, (a, b))| a == b || padded == Some(axis))
}

/// The inputs of all requests, end to end along the rows and padded to one size. The tensors of a
/// request that is alone and needs no padding are passed on as they are; else they are copied, once,
/// into memory that `allocate` gives.
///
/// # Errors
///
/// Together they have more elements than can be addressed.
pub fn concat(
    parts: &[Part<'_>],
    padding: Option<&Padding>,
    mut allocate: impl FnMut(usize) -> BufferMut,
) -> Result<Vec<Option<Tensor>>, TensorError> {
    let Some((first, rest)) = parts.split_first() else {
        return Ok(Vec::new());
    };
    if rest.is_empty() && !first.is_padded() {
        return Ok(first.request.inputs().to_vec());
    }
    let n_rows = parts.iter().map(|part| part.request.n_rows()).sum();
    let mut inputs = Vec::with_capacity(first.request.inputs().len());
    for (place, input) in first.request.inputs().iter().enumerate() {
        let pad = first.padded.and_then(|size| padding?.pad_to(place, size.to));
        let Some(tensor) = input else {
            inputs.push(None);
            continue;
        };
        if tensor.shape().rank() == 0 || (rest.is_empty() && pad.is_none()) {
            inputs.push(Some(tensor.clone()));
            continue;
        }
        let tensors = parts.iter().filter_map(|part| part.request.inputs()[place].as_ref());
        let bytes = |tensor: &Tensor| match pad {
            None => Ok(tensor.buffer().len()),
            Some(pad) => tensor
                .padded_bytes(pad)
                .ok_or_else(|| TensorError::Overflow { shape: tensor.shape().clone() }),
        };
        let total = tensors.clone().map(bytes).sum::<Result<usize, _>>()?;
        let mut buffer = allocate(total);
        let mut free = buffer.as_mut();
        for tensor in tensors {
            let (place, behind) = free.split_at_mut(bytes(tensor)?);
            match pad {
                None => place.copy_from_slice(tensor.buffer().as_bytes()),
                Some(pad) => tensor.write_padded(pad, place),
            }
            free = behind;
        }
        let mut shape = tensor.shape().with_rows(n_rows);
        if let Some(pad) = pad {
            shape = shape.with_dim(pad.axis, pad.size);
        }
        inputs.push(Some(Tensor::new(tensor.datatype(), shape, buffer.freeze())?));
    }
    Ok(inputs)
}

/// Whether each output has a row for each row of the batch, so that it can be cut apart.
#[must_use]
pub fn has_rows(outputs: &[Output], n_rows: usize) -> bool {
    outputs.iter().all(|output| {
        let shape: &Shape = output.tensor.shape();
        shape.rank() > 0
            && shape.n_rows() == n_rows
            && output.tensor.datatype().byte_size().is_some()
    })
}

/// Whether the outputs of a run with this size have it where the probe found that they would.
pub(super) fn follow(outputs: &[Output], padding: &Padding, size: usize) -> bool {
    let mut pairs = outputs.iter().zip(&padding.follows);
    outputs.len() == padding.follows.len()
        && pairs.all(|(output, axes)| {
            axes.iter().all(|&axis| output.tensor.shape().dims().get(axis) == Some(&size))
        })
}

/// Each request's rows of each output, copied only where it was padded. Call only where [`has_rows`] and,
/// for what was padded, `follow` hold.
#[must_use]
pub fn split(
    outputs: &[Output],
    parts: &[Part<'_>],
    padding: Option<&Padding>,
) -> Vec<Vec<Tensor>> {
    let mut start = 0;
    let mut split = Vec::with_capacity(parts.len());
    for part in parts {
        let n_rows = part.request.n_rows();
        let cut = part.padded.filter(|size| !size.is_exact()).zip(padding);
        let own = |(place, output): (usize, &Output)| {
            let rows = match parts {
                [_] => output.tensor.clone(),
                _ => output.tensor.rows(start, n_rows)?,
            };
            match cut {
                Some((size, padding)) => rows.cut(padding.follows.get(place)?, size.from),
                None => Some(rows),
            }
        };
        split.push(outputs.iter().enumerate().filter_map(own).collect());
        start += n_rows;
    }
    split
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::testing::{padded, plain, request, spec, texts};
    use crate::tensor::Tensor;
    use proptest::prelude::*;

    #[test]
    fn only_equal_rows_and_equal_numbers_go_together() {
        let a = request(&[1.0, 2.0], Some(3));
        let compatible = |b: ValidRequest| compatible(plain(&a), plain(&b), None);
        assert!(compatible(request(&[5.0], Some(3))));
        assert!(!compatible(request(&[5.0], Some(4))), "plain numbers must be equal");
        assert!(!compatible(request(&[5.0], None)), "the same arguments must be given");
        assert_eq!(spec().inputs.len(), 2);
    }

    #[test]
    fn only_what_goes_to_one_bucket_goes_together() {
        let padding = padded::padding(&[4, 8]);
        let three = padded::request(1, 3, 5);
        let compatible = |b: ValidRequest| {
            let parts = [&three, &b].map(|it| padded::part(it, &padding));
            super::compatible(parts[0], parts[1], Some(&padding))
        };
        assert!(compatible(padded::request(2, 4, 5)));
        assert!(!compatible(padded::request(1, 5, 5)), "another bucket");
        assert!(!compatible(padded::request(1, 3, 6)), "a dimension that is not padded");
        let long = padded::request(1, 9, 5);
        let pair = |b: &ValidRequest| {
            super::compatible(
                padded::part(&long, &padding),
                padded::part(b, &padding),
                Some(&padding),
            )
        };
        assert!(pair(&padded::request(3, 9, 5)), "beyond the largest, equal sizes");
        assert!(!pair(&padded::request(1, 10, 5)));
    }

    #[test]
    fn what_is_unlike_all_that_was_tried_shares_no_run() {
        let mut model = spec();
        model.inputs[0].declared = false;
        let request = |dims: &[usize], datatype| {
            let shape = Shape::new(dims.to_vec());
            let bytes = vec![0u8; shape.elements().unwrap() * 4];
            let tensor = Tensor::new(datatype, shape, bytes.into()).unwrap();
            let deadline = std::time::Instant::now();
            let context = crate::inference::Context::new("r", deadline);
            let inputs = vec![crate::inference::NamedTensor { name: "x".into(), tensor }];
            ValidRequest::new(&model, crate::inference::InferRequest { context, inputs }).unwrap()
        };
        let share = |dims: &[usize], datatype| {
            let [a, b] = [request(dims, datatype), request(dims, datatype)];
            compatible(plain(&a), plain(&b), None)
        };
        use crate::tensor::DataType::{Fp32, Int32};
        assert!(share(&[2], Fp32), "as it was tried");
        assert!(!share(&[2, 3], Fp32), "with another dimension");
        assert!(!share(&[2], Int32), "of another datatype");
    }

    #[test]
    fn texts_are_neither_put_together_nor_padded() {
        let request = texts(&["a", "bc"]);
        assert!(!compatible(plain(&request), plain(&request), None));
        let inputs = concat(&[plain(&request)], None, BufferMut::zeroed).unwrap();
        assert_eq!(inputs, request.inputs());
    }

    proptest! {
        #[test]
        fn what_is_put_together_comes_apart_unchanged(sizes in prop::collection::vec(1usize..5, 1..9)) {
            let mut next = 0.0;
            let requests: Vec<_> = sizes.iter().map(|&n_rows| {
                let rows: Vec<f32> = (0..n_rows).map(|_| { next += 1.0; next }).collect();
                request(&rows, None)
            }).collect();
            let parts: Vec<_> = requests.iter().map(plain).collect();
            let inputs = concat(&parts, None, BufferMut::zeroed).unwrap();
            let tensor = inputs[0].clone().unwrap();
            let outputs = [Output { name: None, tensor }];
            prop_assert!(has_rows(&outputs, sizes.iter().sum()));
            let split = split(&outputs, &parts, None);
            for (request, part) in requests.iter().zip(&split) {
                let expected: &Tensor = request.inputs()[0].as_ref().unwrap();
                prop_assert_eq!(&part[0], expected);
            }
        }

        /// Two inputs that are padded, one that is not; outputs that follow and one that does not.
        #[test]
        fn what_is_padded_comes_back_as_it_was(
            requests in prop::collection::vec((1usize..4, 5usize..9), 1..7)
        ) {
            let padding = padded::padding(&[4, 8]);
            let requests: Vec<_> = requests.into_iter()
                .map(|(n_rows, size)| padded::request(n_rows, size, 2)).collect();
            let parts: Vec<_> = requests.iter().map(|it| padded::part(it, &padding)).collect();
            let dirty = |bytes| {
                let mut buffer = BufferMut::zeroed(bytes);
                buffer.as_mut().fill(0xaa);
                buffer
            };
            let inputs = concat(&parts, Some(&padding), dirty).unwrap();
            let outputs: Vec<_> = inputs.iter().flatten()
                .map(|tensor| Output { name: None, tensor: tensor.clone() }).collect();
            let n_rows = requests.iter().map(ValidRequest::n_rows).sum();
            prop_assert!(has_rows(&outputs, n_rows));
            let is_padded = parts.iter().any(|part| part.is_padded());
            prop_assert!(parts.len() == 1 && !is_padded || follow(&outputs, &padding, 8));
            let ids = outputs[0].tensor.as_slice::<i64>().unwrap();
            let expected: usize = requests.iter()
                .map(|it| it.n_rows() * (8 - it.inputs()[0].as_ref().unwrap().shape().dims()[1])).sum();
            if parts.len() > 1 || is_padded {
                let padded = ids.iter().filter(|id| **id == padded::PAD).count();
                prop_assert_eq!(padded, expected, "every place behind a row holds the declared value");
            }
            for (request, part) in requests.iter().zip(split(&outputs, &parts, Some(&padding))) {
                let inputs: Vec<_> = request.inputs().iter().flatten().cloned().collect();
                prop_assert_eq!(part, inputs);
            }
        }
    }
}
