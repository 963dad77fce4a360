//! Inputs to probe with: every row is a function of its number, so that the same row can be asked
//! for alone, in a batch, and at another place in it.

use crate::engine::Batch;
use crate::inference::TensorSpec;
use crate::tensor::{Buffer, DataType, Dim, Element, Shape, ShapePattern, Tensor};
use half::{bf16, f16};

/// Numbers of rows from here on stand for rows that are unlike what was given: the higher bits say how.
const UNLIKE: u32 = 40;
/// In which ways: negative, large, zero, of all magnitudes and signs, large and negative, all the same.
pub(super) const WAYS: u64 = 6;

/// The number of a row that is unlike the usual ones, in one of [`WAYS`] ways, from 1.
pub(super) fn unlike(way: u64, number: u64) -> u64 {
    (way << UNLIKE) | number
}

/// Rows of each input that has no number of them in common with the others.
const WHOLE_ROWS: usize = 8;

/// How many rows, and of what, to make inputs from.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    /// The inputs that it makes, one for each argument.
    pub(super) specs: Vec<TensorSpec>,
    parts: Vec<Part>,
    /// Whether the inputs share no number of rows: then every batch is the same.
    is_whole: bool,
}

#[derive(Debug, Clone)]
enum Part {
    /// Left to the model's default.
    Absent,
    /// A plain value, the same in every batch.
    Plain(Tensor),
    /// A tensor with rows, of this shape each where the pattern leaves it open.
    Rows { row: Vec<usize>, values: Values },
}

#[derive(Debug, Clone)]
enum Values {
    /// Pseudo-random: 0 to 1 for floating-point numbers, 0 to 2 for whole ones.
    Random,
    /// A sample's rows as they are; further rows are variations of them, or repeat them.
    Sample { tensor: Tensor, vary: bool },
}

impl Recipe {
    /// Random values; variable dimensions get `size`. `None` when a required input is unknown.
    pub(super) fn random(specs: Vec<TensorSpec>, size: usize) -> Option<Self> {
        let part = |spec: &TensorSpec| match (&spec.shape, spec.optional) {
            (_, true) => Some(Part::Absent),
            (ShapePattern::Unknown, false) => None,
            (ShapePattern::Dims(dims), false) if dims.is_empty() => {
                plain(spec.datatype).map(Part::Plain)
            }
            (pattern, false) => {
                let row = pattern.example(1, size)?.row().to_vec();
                Some(Part::Rows { row, values: Values::Random })
            }
        };
        let parts = specs.iter().map(part).collect::<Option<_>>()?;
        Some(Self { specs, parts, is_whole: false })
    }

    /// A sample's rows and variations of them. The sample has been checked against the specifications.
    pub(super) fn sample(specs: Vec<TensorSpec>, sample: &[Option<Tensor>]) -> Self {
        let part = |tensor: &Option<Tensor>| match tensor {
            None => Part::Absent,
            Some(tensor) if tensor.shape().rank() == 0 => Part::Plain(tensor.clone()),
            Some(tensor) => Part::Rows {
                row: tensor.shape().row().to_vec(),
                values: Values::Sample { tensor: tensor.clone(), vary: true },
            },
        };
        Self { specs, parts: sample.iter().map(part).collect(), is_whole: false }
    }

    /// The same for inputs that share no number of rows: they are given as they are, or with as many
    /// rows each as its own first dimension says.
    pub(super) fn into_whole(mut self) -> Self {
        self.is_whole = true;
        for (place, (spec, part)) in self.specs.iter().zip(&mut self.parts).enumerate() {
            let Part::Rows { row, values } = part else { continue };
            let n_rows = match (spec.shape.dims().and_then(<[_]>::first), &*values) {
                (_, Values::Sample { tensor, .. }) => tensor.n_rows(),
                (Some(Dim::Fixed(n_rows)), Values::Random) => *n_rows,
                _ => WHOLE_ROWS,
            };
            let numbers: Vec<u64> = (0..n_rows as u64).collect();
            let numbers = Numbers { numbers: &numbers, seed: place as u64 };
            if let Some(tensor) = rows(spec.datatype, row, values, numbers) {
                *part = Part::Plain(tensor);
            }
        }
        self
    }

    /// Whether the inputs share no number of rows.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Repeats the sample's rows instead of varying them.
    pub(super) fn repeat_sample(&mut self) {
        for part in &mut self.parts {
            if let Part::Rows { values: Values::Sample { vary, .. }, .. } = part {
                *vary = false;
            }
        }
    }

    /// The number of rows that the specifications fix, if they do.
    pub(super) fn fixed_rows(&self) -> Option<usize> {
        let first = |spec: &TensorSpec| match spec.shape.dims()?.first()? {
            Dim::Fixed(rows) => Some(*rows),
            Dim::Variable => None,
        };
        self.specs.iter().find_map(first)
    }

    /// Lets the model take only this number of rows.
    pub(super) fn fix_rows(&mut self, n_rows: usize) {
        for spec in &mut self.specs {
            if let ShapePattern::Dims(dims) = &mut spec.shape
                && let Some(first) = dims.first_mut()
            {
                *first = Dim::Fixed(n_rows);
            }
        }
    }

    /// Lets the model take only the sizes that this recipe makes.
    pub(super) fn fix_sizes(&mut self) {
        for (spec, part) in self.specs.iter_mut().zip(&self.parts) {
            if let (ShapePattern::Dims(dims), Part::Rows { row, .. }) = (&mut spec.shape, part) {
                for (dim, &size) in dims.iter_mut().skip(1).zip(row) {
                    *dim = Dim::Fixed(size);
                }
            }
        }
    }

    /// The size of the first variable dimension behind the rows, if there is one.
    pub(super) fn variable_size(&self) -> Option<usize> {
        self.specs.iter().zip(&self.parts).find_map(|(spec, part)| {
            let Part::Rows { row, .. } = part else { return None };
            let mut sizes = spec.shape.dims()?.iter().skip(1).zip(row);
            sizes.find(|(dim, _)| **dim == Dim::Variable).map(|(_, &size)| size)
        })
    }

    /// How many of the first rows differ from each other for certain.
    pub(super) fn distinct_rows(&self) -> usize {
        let rows = |part: &Part| match part {
            Part::Rows { values: Values::Sample { tensor, vary: false }, .. } => tensor.n_rows(),
            _ => usize::MAX,
        };
        self.parts.iter().map(rows).min().unwrap_or(usize::MAX)
    }

    /// The number of a row that is taken from the sample as it is, where there is one.
    pub(super) fn as_given(&self, number: u64) -> u64 {
        let rows = |part: &Part| match part {
            Part::Rows { values: Values::Sample { tensor, .. }, .. } => {
                Some(tensor.n_rows() as u64)
            }
            _ => None,
        };
        let n_rows = self.parts.iter().filter_map(rows).min();
        n_rows.and_then(|n_rows| number.checked_rem(n_rows)).unwrap_or(number)
    }

    /// A batch of the rows of these numbers; variable dimensions get `size` where it is given.
    pub(super) fn batch(&self, numbers: &[u64], size: Option<usize>) -> Batch {
        let input = |(place, (spec, part)): (usize, (&TensorSpec, &Part))| match part {
            Part::Absent => None,
            Part::Plain(tensor) => Some(tensor.clone()),
            Part::Rows { row, values } => {
                let row = resized(&spec.shape, row, size);
                rows(spec.datatype, &row, values, Numbers { numbers, seed: place as u64 })
            }
        };
        let inputs = self.specs.iter().zip(&self.parts).enumerate().map(input).collect();
        Batch::without_deadline(inputs)
    }
}

/// Numbers of rows, and what sets one input's random values apart from another's.
#[derive(Clone, Copy)]
struct Numbers<'a> {
    numbers: &'a [u64],
    seed: u64,
}

fn resized(pattern: &ShapePattern, row: &[usize], size: Option<usize>) -> Vec<usize> {
    let dims = pattern.dims().unwrap_or_default();
    let resize = |(axis, &old): (usize, &usize)| match (dims.get(axis + 1), size) {
        (Some(Dim::Variable), Some(size)) => size,
        _ => old,
    };
    row.iter().enumerate().map(resize).collect()
}

fn rows(datatype: DataType, row: &[usize], values: &Values, numbers: Numbers) -> Option<Tensor> {
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

fn generate<T: Value>(elements: usize, values: &Values, numbers: Numbers) -> Buffer {
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
fn flags(elements: usize, values: &Values, numbers: Numbers) -> Buffer {
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
fn texts(elements: usize, values: &Values, numbers: Numbers) -> Buffer {
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

/// A plain value for an argument that must be given: one, or true; `None` for texts, which cannot be guessed.
fn plain(datatype: DataType) -> Option<Tensor> {
    let scalar = || Shape::new(Vec::new());
    match datatype {
        DataType::Int64 => Tensor::from_vec(scalar(), vec![1i64]).ok(),
        DataType::Fp64 => Tensor::from_vec(scalar(), vec![1f64]).ok(),
        DataType::Bool => Tensor::new(DataType::Bool, scalar(), Buffer::from(vec![1])).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(datatype: DataType, shape: &[i64]) -> TensorSpec {
        let shape = ShapePattern::from_wire(shape).unwrap();
        TensorSpec { name: "x".into(), datatype, shape, optional: false, declared: true }
    }

    #[test]
    fn a_row_is_the_same_wherever_it_stands() {
        for &datatype in DataType::ALL {
            let recipe = Recipe::random(vec![spec(datatype, &[-1, 6])], 4).unwrap();
            let batch = |numbers: &[u64]| recipe.batch(numbers, None).inputs[0].clone().unwrap();
            assert_eq!(batch(&[3, 9]).shape(), &Shape::from([2, 6]));
            assert_ne!(batch(&[3]), batch(&[9]), "rows must differ");
            if datatype != DataType::Bytes {
                assert_eq!(batch(&[9, 3]).rows(1, 1), Some(batch(&[3])));
            }
        }
    }

    #[test]
    fn rows_that_are_unlike_the_usual_ones_differ_in_each_way() {
        for &datatype in DataType::ALL.iter().filter(|it| **it != DataType::Bytes) {
            let recipe = Recipe::random(vec![spec(datatype, &[-1, 6])], 4).unwrap();
            let batch = |numbers: &[u64]| recipe.batch(numbers, None).inputs[0].clone().unwrap();
            for way in 1..=WAYS {
                let row = unlike(way, 3);
                assert_eq!(batch(&[9, row]).rows(1, 1), Some(batch(&[row])), "{datatype} {way}");
            }
        }
        let recipe = Recipe::random(vec![spec(DataType::Fp32, &[-1, 6])], 4).unwrap();
        let values = |way| {
            let tensor = recipe.batch(&[unlike(way, 1)], None).inputs[0].clone().unwrap();
            tensor.as_slice::<f32>().unwrap().to_vec()
        };
        assert!(values(1).iter().all(|it| *it < 0.0) && values(3) == [0.0; 6]);
        assert!(values(2).iter().any(|it| *it > 255.0) && values(5).iter().any(|it| *it < -255.0));
        let ids = Tensor::from_vec(Shape::from([1, 3]), vec![5i64, 7, 9]).unwrap();
        let recipe = Recipe::sample(vec![spec(DataType::Int64, &[-1, 3])], &[Some(ids)]);
        for way in 1..=WAYS {
            let tensor = recipe.batch(&[unlike(way, 0)], None).inputs[0].clone().unwrap();
            let valid = |it: &i64| [5, 7, 9].contains(it);
            assert!(tensor.as_slice::<i64>().unwrap().iter().all(valid), "others may be invalid");
        }
    }

    #[test]
    fn a_sample_comes_first_as_it_is() {
        let sample = Tensor::from_vec(Shape::from([2, 3]), vec![5i64, 7, 9, 1, 1, 1]).unwrap();
        let mut recipe =
            Recipe::sample(vec![spec(DataType::Int64, &[-1, 3])], &[Some(sample.clone())]);
        let batch =
            |recipe: &Recipe, numbers: &[u64]| recipe.batch(numbers, None).inputs[0].clone();
        assert_eq!(batch(&recipe, &[0, 1]), Some(sample));
        let further = batch(&recipe, &[2, 3, 4, 5]).unwrap();
        let known = |value: &i64| [1, 5, 7, 9].contains(value);
        assert!(further.as_slice::<i64>().unwrap().iter().all(known), "ids outside may be invalid");
        recipe.repeat_sample();
        assert_eq!((batch(&recipe, &[4]), recipe.distinct_rows()), (batch(&recipe, &[0]), 2));
    }

    #[test]
    fn sizes_and_rows_can_be_fixed() {
        let mut recipe = Recipe::random(vec![spec(DataType::Fp32, &[-1, 3, -1])], 8).unwrap();
        assert_eq!(recipe.variable_size(), Some(8));
        let larger = recipe.batch(&[0, 1], Some(16));
        assert_eq!(larger.inputs[0].as_ref().unwrap().shape(), &Shape::from([2, 3, 16]));
        recipe.fix_sizes();
        recipe.fix_rows(4);
        assert_eq!(recipe.specs[0].shape.to_string(), "[4, 3, 8]");
        assert_eq!(recipe.fixed_rows(), Some(4));
    }
}
