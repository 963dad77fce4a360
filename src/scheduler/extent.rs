//! The smallest and the largest number of a tensor, and of all tensors of an input. Pure.

use crate::tensor::{DataType, Element, Tensor};
use half::{bf16, f16};

/// Numbers that are compared at a time.
const LANES: usize = 16;

/// The smallest and the largest number.
pub(super) type Extent = (f64, f64);

/// The extents of each input, over all requests that were added.
#[derive(Debug, Default)]
pub(super) struct Extents(Vec<Extent>);

impl Extents {
    /// Whether a number of these inputs lies beyond all that were added.
    pub(super) fn are_exceeded_by(&self, inputs: &[Option<Extent>]) -> bool {
        inputs.iter().enumerate().any(|(place, own)| {
            let Some((smallest, largest)) = *own else { return false };
            self.0.get(place).is_none_or(|known| smallest < known.0 || largest > known.1)
        })
    }

    /// Adds the inputs of a request; says whether a number of them lies beyond all before.
    pub(super) fn add(&mut self, inputs: impl ExactSizeIterator<Item = Option<Extent>>) -> bool {
        let mut is_beyond = false;
        self.0.resize(inputs.len(), (f64::INFINITY, f64::NEG_INFINITY));
        for (known, own) in self.0.iter_mut().zip(inputs) {
            let Some((smallest, largest)) = own else { continue };
            is_beyond |= smallest < known.0 || largest > known.1;
            *known = (known.0.min(smallest), known.1.max(largest));
        }
        is_beyond
    }
}

/// The smallest and the largest number of a tensor; `None` of texts and of nothing but NaN.
pub(super) fn extent(tensor: &Tensor) -> Option<Extent> {
    fn of<T: Element + Copy + PartialOrd>(tensor: &Tensor, widen: fn(T) -> f64) -> Option<Extent> {
        let values = tensor.as_slice::<T>()?;
        let first = values.iter().copied().find(|value| value.partial_cmp(value).is_some())?;
        let (mut smallest, mut largest) = ([first; LANES], [first; LANES]);
        let (chunks, rest) = values.as_chunks::<LANES>();
        // Lanes by themselves: the compiler may take them together, which it may not over one sum of floats.
        for chunk in chunks {
            for (lane, value) in chunk.iter().enumerate() {
                smallest[lane] = if *value < smallest[lane] { *value } else { smallest[lane] };
                largest[lane] = if *value > largest[lane] { *value } else { largest[lane] };
            }
        }
        let smaller = |a: T, b: T| if b < a { b } else { a };
        let larger = |a: T, b: T| if b > a { b } else { a };
        let smallest = smallest.iter().chain(rest).copied().fold(first, smaller);
        let largest = largest.iter().chain(rest).copied().fold(first, larger);
        Some((widen(smallest), widen(largest)))
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
