//! Padding one dimension of a tensor to a larger size, and cutting dimensions back: plain copies.

use super::{BufferMut, Shape, Tensor};

/// How a dimension is padded: where, how far and with what.
#[derive(Debug, Clone, Copy)]
pub struct PadTo<'a> {
    /// The dimension; 0 counts rows and is never padded.
    pub axis: usize,
    /// The size that it gets, at least its own.
    pub size: usize,
    /// The bytes of the element that is put behind what is there.
    pub element: &'a [u8],
}

impl Tensor {
    /// Bytes of this tensor once it is padded; `None` when that cannot be: no such dimension, one
    /// that is larger already, an element of another size, more bytes than can be counted.
    #[must_use]
    pub fn padded_bytes(&self, pad_to: PadTo<'_>) -> Option<usize> {
        let size = self.datatype().byte_size().filter(|size| *size == pad_to.element.len())?;
        let dims = self.shape().dims();
        if pad_to.axis == 0 || *dims.get(pad_to.axis)? > pad_to.size {
            return None;
        }
        self.shape().with_dim(pad_to.axis, pad_to.size).elements()?.checked_mul(size)
    }

    /// Writes the padded tensor's bytes to `place`, which has [`Tensor::padded_bytes`] of them.
    pub fn write_padded(&self, pad_to: PadTo<'_>, place: &mut [u8]) {
        let element = pad_to.element;
        let dims = self.shape().dims();
        let inner: usize = dims[pad_to.axis + 1..].iter().product::<usize>() * element.len();
        let (old, new) = (dims[pad_to.axis] * inner, pad_to.size * inner);
        if old == 0 {
            return;
        }
        let parts = self.buffer().as_bytes().chunks_exact(old);
        for (part, place) in parts.zip(place.chunks_exact_mut(new)) {
            let (front, behind) = place.split_at_mut(old);
            front.copy_from_slice(part);
            // Nearly always the case, and a plain clearing of memory.
            if element.iter().all(|byte| *byte == 0) {
                behind.fill(0);
                continue;
            }
            for place in behind.chunks_exact_mut(element.len()) {
                place.copy_from_slice(element);
            }
        }
    }

    /// The first `size` of each of these dimensions, in memory of its own; `None` when one is not there
    /// or smaller, and for `BYTES`, whose elements have no fixed size.
    #[must_use]
    pub fn cut(&self, axes: &[usize], size: usize) -> Option<Self> {
        let element = self.datatype().byte_size()?;
        let old = self.shape().dims();
        let mut new = old.to_vec();
        for &axis in axes {
            let dim = new.get_mut(axis).filter(|dim| **dim >= size)?;
            *dim = size;
        }
        let Some(last) = (0..old.len()).rev().find(|&axis| old[axis] != new[axis]) else {
            return Some(self.clone());
        };
        let behind = old[last + 1..].iter().product::<usize>() * element;
        let run = new[last] * behind;
        let mut buffer = BufferMut::zeroed(new.iter().product::<usize>() * element);
        let source = self.buffer().as_bytes();
        if run > 0 {
            let mut at = vec![0; last];
            for place in buffer.as_mut().chunks_exact_mut(run) {
                let start = at.iter().zip(old).fold(0, |start, (at, dim)| start * dim + at);
                let start = start * old[last] * behind;
                place.copy_from_slice(&source[start..start + run]);
                step(&mut at, &new);
            }
        }
        Self::new(self.datatype(), Shape::new(new), buffer.freeze()).ok()
    }
}

/// The next index in row-major order.
fn step(at: &mut [usize], dims: &[usize]) {
    for (at, dim) in at.iter_mut().zip(dims).rev() {
        *at += 1;
        if *at < *dim {
            return;
        }
        *at = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counting(dims: &[usize]) -> Tensor {
        let shape = Shape::new(dims.to_vec());
        let values = (1..=shape.elements().unwrap() as i64).collect();
        Tensor::from_vec(shape, values).unwrap()
    }

    fn padded(tensor: &Tensor, axis: usize, size: usize, element: i64) -> Option<Tensor> {
        let element = element.to_le_bytes();
        let pad_to = PadTo { axis, size, element: &element };
        let mut buffer = BufferMut::zeroed(tensor.padded_bytes(pad_to)?);
        buffer.as_mut().fill(0xaa);
        tensor.write_padded(pad_to, buffer.as_mut());
        Tensor::new(tensor.datatype(), tensor.shape().with_dim(axis, size), buffer.freeze()).ok()
    }

    #[test]
    fn a_dimension_is_padded_behind_what_is_there() {
        let tensor = counting(&[2, 2]);
        let wider = padded(&tensor, 1, 3, -7).unwrap();
        assert_eq!(wider.as_slice::<i64>(), Some(&[1, 2, -7, 3, 4, -7][..]));
        assert_eq!(padded(&tensor, 1, 1, 0).map(|it| it.shape().clone()), None, "no cutting here");
        assert!(padded(&tensor, 0, 3, 0).is_none(), "rows are never padded");
        assert!(padded(&tensor, 2, 3, 0).is_none());
        let other = PadTo { axis: 1, size: 3, element: &[0] };
        assert_eq!(tensor.padded_bytes(other), None, "an element of another size");
    }

    #[test]
    fn several_dimensions_are_cut_at_once() {
        let square = counting(&[2, 3, 3]);
        let cut = square.cut(&[1, 2], 2).unwrap();
        assert_eq!(cut.shape(), &Shape::from([2, 2, 2]));
        assert_eq!(cut.as_slice::<i64>(), Some(&[1, 2, 4, 5, 10, 11, 13, 14][..]));
        assert_eq!(square.cut(&[], 1).as_ref(), Some(&square));
        assert!(square.cut(&[3], 1).is_none());
        assert!(square.cut(&[1], 4).is_none());
    }

    proptest! {
        #[test]
        fn what_is_padded_and_cut_back_is_what_it_was(
            dims in prop::collection::vec(1usize..5, 2..5), axis in 1usize..4, more in 0usize..5
        ) {
            let axis = axis.min(dims.len() - 1);
            let tensor = counting(&dims);
            for element in [0, -1] {
                let wider = padded(&tensor, axis, dims[axis] + more, element).unwrap();
                prop_assert_eq!(wider.cut(&[axis], dims[axis]).unwrap(), tensor.clone());
                let kept = |value: &&i64| **value != element;
                let values: Vec<_> = wider.as_slice::<i64>().unwrap().iter().filter(kept).collect();
                prop_assert_eq!(values, tensor.as_slice::<i64>().unwrap().iter().collect::<Vec<_>>());
            }
        }
    }
}
