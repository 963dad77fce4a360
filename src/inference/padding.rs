//! How a variable dimension is padded, so that requests of different sizes share runs and shapes.

use crate::tensor::{BufferMut, PadTo, Tensor};

/// How an input is padded: where, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputPadding {
    /// The only variable dimension besides the rows.
    pub axis: usize,
    /// The bytes of one element of the input's datatype.
    pub element: Box<[u8]>,
}

/// What was found to be safe: the answers to inputs that are padded are, once they are cut back,
/// the answers to the inputs as they are.
///
/// All inputs that are padded have one size in common. A request whose sizes differ, or that leaves
/// out or gives another argument than the probe did, is run as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Padding {
    /// For each input, in the order of the model's arguments, how it is padded; `None` where it is not.
    pub pads: Vec<Option<InputPadding>>,
    /// For each input, whether it was given in the probe.
    pub given: Vec<bool>,
    /// For each output, the dimensions that follow the padded one and are cut back.
    pub follows: Vec<Vec<usize>>,
    /// Sizes that are padded to, rising.
    pub buckets: Vec<usize>,
}

/// From which to which size a request's inputs are padded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaddedSize {
    /// The size that the request has.
    pub from: usize,
    /// The size that it is run with.
    pub to: usize,
}

impl PaddedSize {
    /// Whether nothing has to be padded.
    #[must_use]
    pub fn is_exact(self) -> bool {
        self.from == self.to
    }
}

impl Padding {
    /// The sizes that are padded to by default: in steps of 8, and from 128 on eight to each doubling,
    /// so that padding stays below an eighth from 64 on; few enough that requests still meet in them.
    #[must_use]
    pub fn default_buckets() -> Vec<usize> {
        let step = |first: usize, last: usize, by: usize| (first..=last).step_by(by);
        step(8, 128, 8).chain(step(144, 256, 16)).chain(step(288, 512, 32)).collect()
    }

    /// How far a request's inputs are to be padded; `None` when they are to be run as they are and
    /// only with such of the same shapes.
    #[must_use]
    pub fn padded_size(&self, inputs: &[Option<Tensor>]) -> Option<PaddedSize> {
        let as_probed = inputs.iter().map(Option::is_some).eq(self.given.iter().copied());
        let size = |(input, pad): (&Option<Tensor>, &Option<InputPadding>)| {
            pad.as_ref().map(|pad| input.as_ref()?.shape().dims().get(pad.axis).copied())
        };
        let mut sizes = inputs.iter().zip(&self.pads).filter_map(size);
        let from = sizes.next()??;
        let agree = sizes.all(|size| size == Some(from));
        (as_probed && agree).then(|| PaddedSize { from, to: self.bucket(from) })
    }

    /// The smallest bucket that a size fits; the size itself beyond the largest.
    #[must_use]
    pub fn bucket(&self, size: usize) -> usize {
        let position = self.buckets.partition_point(|bucket| *bucket < size);
        self.buckets.get(position).copied().unwrap_or(size)
    }

    /// The same inputs with another size: padded, or cut. `None` when that cannot be.
    #[must_use]
    pub fn resized(&self, inputs: &[Option<Tensor>], size: usize) -> Option<Vec<Option<Tensor>>> {
        let resize = |(place, input): (usize, &Option<Tensor>)| {
            let (Some(tensor), Some(pad_to)) = (input, self.pad_to(place, size)) else {
                return Some(input.clone());
            };
            if tensor.shape().dims().get(pad_to.axis).is_some_and(|dim| *dim >= size) {
                return tensor.cut(&[pad_to.axis], size).map(Some);
            }
            let mut buffer = BufferMut::zeroed(tensor.padded_bytes(pad_to)?);
            tensor.write_padded(pad_to, buffer.as_mut());
            let shape = tensor.shape().with_dim(pad_to.axis, size);
            Tensor::new(tensor.datatype(), shape, buffer.freeze()).ok().map(Some)
        };
        inputs.iter().enumerate().map(resize).collect()
    }

    /// What is to be done to the input at this place.
    #[must_use]
    pub fn pad_to(&self, place: usize, size: usize) -> Option<PadTo<'_>> {
        let pad = self.pads.get(place)?.as_ref()?;
        Some(PadTo { axis: pad.axis, size, element: &pad.element })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Shape;

    fn ids(n_rows: usize, size: usize) -> Option<Tensor> {
        Tensor::from_vec(Shape::from([n_rows, size]), vec![1i64; n_rows * size]).ok()
    }

    fn padding() -> Padding {
        let pad = || Some(InputPadding { axis: 1, element: [0; 8].into() });
        Padding {
            pads: vec![pad(), pad(), None],
            given: vec![true, true, false],
            follows: vec![],
            buckets: vec![4, 8],
        }
    }

    #[test]
    fn a_request_goes_to_the_smallest_bucket_that_it_fits() {
        let padded_size = |a: usize, b: usize| padding().padded_size(&[ids(1, a), ids(1, b), None]);
        assert_eq!(padded_size(1, 1), Some(PaddedSize { from: 1, to: 4 }));
        assert_eq!(padded_size(4, 4), Some(PaddedSize { from: 4, to: 4 }));
        assert_eq!(padded_size(5, 5), Some(PaddedSize { from: 5, to: 8 }));
        assert_eq!(
            padded_size(9, 9),
            Some(PaddedSize { from: 9, to: 9 }),
            "longer than the largest"
        );
        assert_eq!(padded_size(4, 5), None, "sizes differ");
        assert_eq!(padding().padded_size(&[ids(1, 4), None, None]), None, "the mask is left out");
        assert_eq!(padding().padded_size(&[ids(1, 4), ids(1, 4), ids(1, 4)]), None);
    }

    #[test]
    fn default_buckets_rise_and_waste_little() {
        let buckets = Padding::default_buckets();
        assert!(buckets.is_sorted_by(|a, b| a < b));
        assert_eq!((buckets.len(), buckets.last()), (32, Some(&512)));
        let padding = Padding { buckets, ..padding() };
        for size in 64..512 {
            let waste = padding.bucket(size) - size;
            assert!(waste * 8 < size, "{size} wastes {waste}");
        }
    }
}
