//! Values to probe with, made from numbers: pseudo-random ones, a sample's, variations of them, and such as are unlike
//! all of these.

use crate::tensor::{Buffer, DataType, Element, Shape, Tensor};
use half::{bf16, f16};

/// Numbers of rows from here on stand for rows that are unlike what was given: the higher bits say how.
const UNLIKE: u32 = 40;
/// In which ways: negative, large, zero, of all magnitudes and signs, large and negative, all the same.
pub(super) const WAYS: u64 = 6;

/// The number of a row that is unlike the usual ones, in one of [`WAYS`] ways, from 1.
pub(super) fn unlike(way: u64, number: u64) -> u64 {
    (way << UNLIKE) | number
}

#[derive(Debug, Clone)]
pub(super) enum Values {
    /// Pseudo-random: 0 to 1 for floating-point numbers, 0 to 2 for whole ones.
    Random,
    /// A sample's rows as they are; further rows are variations of them, or repeat them.
    Sample { tensor: Tensor, vary: bool },
}

/// Numbers of rows, and what sets one input's random values apart from another's.
#[derive(Clone, Copy)]
pub(super) struct RowNumbers<'a> {
    pub(super) numbers: &'a [u64],
    pub(super) seed: u64,
}

/// A tensor of the rows of these numbers.
pub(super) fn rows(
    datatype: DataType,
    row: &[usize],
    values: &Values,
    numbers: RowNumbers,
) -> Option<Tensor> {
    let shape = Shape::new([&[numbers.numbers.len()], row].concat());
    let elements: usize = row.iter().product();
    let buffer = match datatype {
        DataType::Bool => flags(elements, values, numbers),
        DataType::UInt8 => generate::<u8>(elements, values, numbers),
        DataType::UInt16 => generate::<u16>(elements, values, numbers),
        DataType::UInt32 => generate::<u32>(elements, values, numbers),
        DataType::UInt64 => generate::<u64>(elements, values, numbers),
        DataType::Int8 => generate::<i8>(elements, values, numbers),
        DataType::Int16 => generate::<i16>(elements, values, numbers),
        DataType::Int32 => generate::<i32>(elements, values, numbers),
        DataType::Int64 => generate::<i64>(elements, values, numbers),
        DataType::Fp16 => generate::<f16>(elements, values, numbers),
        DataType::Bf16 => generate::<bf16>(elements, values, numbers),
        DataType::Fp32 => generate::<f32>(elements, values, numbers),
        DataType::Fp64 => generate::<f64>(elements, values, numbers),
        DataType::Bytes => texts(elements, values, numbers),
    };
    Tensor::new(datatype, shape, buffer).ok()
}

/// A number that probing can make up and vary.
trait Value: Element + PartialEq {
    fn random(hash: u64) -> Self;
    /// Another value like this one; `pool` is everything that the sample has.
    fn like(self, hash: u64, pool: &[Self]) -> Self;
    /// A value unlike it, in one of [`WAYS`] ways. Of whole numbers, which may be indices, those that
    /// the sample has; without one, small ones.
    fn unlike(self, way: u64, hash: u64, pool: &[Self]) -> Self;
}

macro_rules! whole {
    ($($rust:ty),*) => {$(
        impl Value for $rust {
            fn random(hash: u64) -> Self {
                (hash % 3) as Self
            }
            fn like(self, hash: u64, pool: &[Self]) -> Self {
                let pick = (hash % pool.len().max(1) as u64) as usize;
                if pool.iter().any(|value| *value != self) {
                    return pool[pick];
                }
                // The sample knows only one value: those between zero and it are as likely valid.
                match u64::try_from(self) {
                    Ok(value) => (hash % value.saturating_add(1).max(2)) as Self,
                    Err(_) => self,
                }
            }
            fn unlike(self, way: u64, hash: u64, pool: &[Self]) -> Self {
                let pick = |at: u64| pool[(at % pool.len() as u64) as usize];
                let made = [0, -1, 127, 0, (hash % 256) as i64, -128, 1][way.min(WAYS) as usize];
                match way {
                    _ if pool.is_empty() => made as Self,
                    1 | 5 => pool.iter().copied().min().unwrap_or(self),
                    2 => pool.iter().copied().max().unwrap_or(self),
                    3 => pool.iter().copied().find(|it| *it == 0).unwrap_or(self),
                    4 => pick(hash),
                    _ => pool[0],
                }
            }
        }
    )*};
}

whole!(u8, u16, u32, u64, i8, i16, i32, i64);

macro_rules! floating {
    ($($rust:ty: $from:expr),*) => {$(
        impl Value for $rust {
            fn random(hash: u64) -> Self {
                $from(unit(hash))
            }
            fn like(self, hash: u64, _: &[Self]) -> Self {
                let value = f64::from(self);
                let unit = unit(hash);
                $from(if value == 0.0 { 0.1 * unit } else { value * (0.75 + 0.5 * unit) })
            }
            fn unlike(self, way: u64, hash: u64, _: &[Self]) -> Self {
                let unit = unit(hash);
                let value = f64::from(self).abs().max(unit);
                let sign = if hash % 2 == 0 { 1.0 } else { -1.0 };
                $from(match way {
                    1 => -value,
                    2 => value * 1000.0,
                    3 => 0.0,
                    4 => sign * unit * 10f64.powi((hash / 2 % 8) as i32 - 3),
                    5 => -value * 1000.0,
                    _ => 1.0,
                })
            }
        }
    )*};
}

floating!(f16: f16::from_f64, bf16: bf16::from_f64, f32: (|value: f64| value as f32), f64: (|value: f64| value));

/// From 0 up to 1.
fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

/// The finalizer of SplitMix64: the same on every machine and in every version.
fn hash(seed: u64, number: u64, element: u64) -> u64 {
    let mut z = seed
        .wrapping_mul(0xa076_1d64_78bd_642f)
        .wrapping_add(number.wrapping_mul(0xe703_7ed1_a0b4_28db))
        .wrapping_add(element.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn generate<T: Value>(elements: usize, values: &Values, numbers: RowNumbers) -> Buffer {
    let mut generated = Vec::with_capacity(elements * numbers.numbers.len());
    let (pool, n_rows, vary) = match values {
        Values::Random => (&[][..], 0, true),
        Values::Sample { tensor, vary } => {
            (tensor.as_slice::<T>().unwrap_or_default(), tensor.n_rows(), *vary)
        }
    };
    // A sample without elements has been refused before; one of another type cannot come here.
    let per_row = pool.len().checked_div(n_rows).unwrap_or(0);
    for &number in numbers.numbers {
        let way = number >> UNLIKE;
        let start = (number & ((1 << UNLIKE) - 1)).checked_rem(n_rows as u64).unwrap_or(0) as usize
            * per_row;
        for element in 0..elements {
            let hash = hash(numbers.seed, number, element as u64);
            let known = element.checked_rem(per_row).map(|offset| pool[start + offset]);
            generated.push(match known {
                _ if way > 0 => known.unwrap_or_else(|| T::random(hash)).unlike(way, hash, pool),
                None => T::random(hash),
                Some(value) if vary && number >= n_rows as u64 => value.like(hash, pool),
                Some(value) => value,
            });
        }
    }
    Buffer::from_vec(generated)
}

/// `BOOL`: bytes of 0 and 1, made like whole numbers.
fn flags(elements: usize, values: &Values, numbers: RowNumbers) -> Buffer {
    let bytes = match values {
        Values::Random => values.clone(),
        Values::Sample { tensor, vary } => {
            let (shape, buffer) = (tensor.shape().clone(), tensor.buffer().clone());
            Tensor::new(DataType::UInt8, shape, buffer)
                .map_or(Values::Random, |tensor| Values::Sample { tensor, vary: *vary })
        }
    };
    let generated = generate::<u8>(elements, &bytes, numbers);
    Buffer::from_vec(generated.as_bytes().iter().map(|byte| byte & 1).collect())
}

/// `BYTES`: a sample's rows in turn, or short words.
fn texts(elements: usize, values: &Values, numbers: RowNumbers) -> Buffer {
    let known = match values {
        Values::Random => Vec::new(),
        Values::Sample { tensor, .. } => words(tensor),
    };
    let mut bytes = Vec::new();
    for &number in numbers.numbers {
        for element in 0..elements {
            let position = (number as usize).wrapping_mul(elements).wrapping_add(element);
            let word = position.checked_rem(known.len()).map(|position| known[position].to_vec());
            let word = word.unwrap_or_else(|| {
                format!("word{}", hash(numbers.seed, number, element as u64) % 10).into_bytes()
            });
            bytes.extend((word.len() as u32).to_le_bytes());
            bytes.extend(word);
        }
    }
    Buffer::from(bytes)
}

fn words(tensor: &Tensor) -> Vec<&[u8]> {
    let mut rest = tensor.buffer().as_bytes();
    let mut words = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = (u32::from_le_bytes(*length) as usize).min(after.len());
        let (word, after) = after.split_at(length);
        words.push(word);
        rest = after;
    }
    words
}
