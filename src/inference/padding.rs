//! How a variable dimension is filled up, so that requests of different sizes share runs and shapes.

use crate::tensor::{BufferMut, Filling, Tensor};

/// What fills up an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// The only variable dimension besides the rows.
    pub axis: usize,
    /// The bytes of one element of the input's datatype.
    pub element: Box<[u8]>,
}

/// What was found to be safe: the answers to inputs that are filled up are, once they are cut back,
/// the answers to the inputs as they are.
///
/// All inputs that are filled up have one size in common. A request whose sizes differ, or that leaves
/// out or gives another argument than the probe did, is run as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Padding {
    /// For each input, in the order of the model's arguments, what it is filled up with.
    pub fills: Vec<Option<Fill>>,
    /// For each input, whether it was given in the probe.
    pub given: Vec<bool>,
    /// For each output, the dimensions that follow the padded one and are cut back.
    pub follows: Vec<Vec<usize>>,
    /// Sizes that are filled up to, rising.
    pub buckets: Vec<usize>,
}

/// From which to which size a request's inputs are filled up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// The size that the request has.
    pub from: usize,
    /// The size that it is run with.
    pub to: usize,
}

impl Stretch {
    /// Whether nothing has to be filled up.
    #[must_use]
    pub fn is_exact(self) -> bool {
        self.from == self.to
    }
}

impl Padding {
    /// The sizes that are filled up to by default: in steps of 8, and from 128 on eight to each doubling,
    /// so that padding stays below an eighth from 64 on; few enough that requests still meet in them.
    #[must_use]
    pub fn default_buckets() -> Vec<usize> {
        let step = |first: usize, last: usize, by: usize| (first..=last).step_by(by);
        step(8, 128, 8).chain(step(144, 256, 16)).chain(step(288, 512, 32)).collect()
    }

    /// How far a request's inputs are to be filled up; `None` when they are to be run as they are and
    /// only with such of the same shapes.
    #[must_use]
    pub fn stretch(&self, inputs: &[Option<Tensor>]) -> Option<Stretch> {
        let as_probed = inputs.iter().map(Option::is_some).eq(self.given.iter().copied());
        let size = |(input, fill): (&Option<Tensor>, &Option<Fill>)| {
            fill.as_ref().map(|fill| input.as_ref()?.shape().dims().get(fill.axis).copied())
        };
        let mut sizes = inputs.iter().zip(&self.fills).filter_map(size);
        let from = sizes.next()??;
        let agree = sizes.all(|size| size == Some(from));
        (as_probed && agree).then(|| Stretch { from, to: self.bucket(from) })
    }

    /// The smallest bucket that a size fits; the size itself beyond the largest.
    #[must_use]
    pub fn bucket(&self, size: usize) -> usize {
        let position = self.buckets.partition_point(|bucket| *bucket < size);
        self.buckets.get(position).copied().unwrap_or(size)
    }

    /// The same inputs with another size: filled up, or cut. `None` when that cannot be.
    #[must_use]
    pub fn resized(&self, inputs: &[Option<Tensor>], size: usize) -> Option<Vec<Option<Tensor>>> {
        let resize = |(place, input): (usize, &Option<Tensor>)| {
            let (Some(tensor), Some(filling)) = (input, self.filling(place, size)) else {
                return Some(input.clone());
            };
            if tensor.shape().dims().get(filling.axis).is_some_and(|dim| *dim >= size) {
                return tensor.cut(&[filling.axis], size).map(Some);
            }
            let mut buffer = BufferMut::zeroed(tensor.filled_bytes(filling)?);
            tensor.write_filled(filling, buffer.as_mut());
            let shape = tensor.shape().with_dim(filling.axis, size);
            Tensor::new(tensor.datatype(), shape, buffer.freeze()).ok().map(Some)
        };
        inputs.iter().enumerate().map(resize).collect()
    }

    /// What is to be done to the input at this place.
    #[must_use]
    pub fn filling(&self, place: usize, size: usize) -> Option<Filling<'_>> {
        let fill = self.fills.get(place)?.as_ref()?;
        Some(Filling { axis: fill.axis, size, element: &fill.element })
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
        let fill = || Some(Fill { axis: 1, element: [0; 8].into() });
        Padding {
            fills: vec![fill(), fill(), None],
            given: vec![true, true, false],
            follows: vec![],
            buckets: vec![4, 8],
        }
    }

    #[test]
    fn a_request_goes_to_the_smallest_bucket_that_it_fits() {
        let stretch = |a: usize, b: usize| padding().stretch(&[ids(1, a), ids(1, b), None]);
        assert_eq!(stretch(1, 1), Some(Stretch { from: 1, to: 4 }));
        assert_eq!(stretch(4, 4), Some(Stretch { from: 4, to: 4 }));
        assert_eq!(stretch(5, 5), Some(Stretch { from: 5, to: 8 }));
        assert_eq!(stretch(9, 9), Some(Stretch { from: 9, to: 9 }), "longer than the largest");
        assert_eq!(stretch(4, 5), None, "sizes differ");
        assert_eq!(padding().stretch(&[ids(1, 4), None, None]), None, "the mask is left out");
        assert_eq!(padding().stretch(&[ids(1, 4), ids(1, 4), ids(1, 4)]), None);
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
