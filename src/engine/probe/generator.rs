//! Inputs to probe with: every row is a function of its number, so that the same row can be asked
//! for alone, in a batch, and at another place in it.

use super::values::{RowNumbers, Values, rows};
use crate::engine::Batch;
use crate::inference::TensorSpec;
use crate::tensor::{Buffer, DataType, Dim, Shape, ShapePattern, Tensor};

/// Rows of each input that has no number of them in common with the others.
const WHOLE_ROWS: usize = 8;

/// How many rows, and of what, to make inputs from.
#[derive(Debug, Clone)]
pub(super) struct InputGenerator {
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

impl InputGenerator {
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
            let numbers = RowNumbers { numbers: &numbers, seed: place as u64 };
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

    /// Lets the model take only the sizes that this generator makes.
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
                rows(spec.datatype, &row, values, RowNumbers { numbers, seed: place as u64 })
            }
        };
        let inputs = self.specs.iter().zip(&self.parts).enumerate().map(input).collect();
        Batch::without_deadline(inputs)
    }
}

fn resized(pattern: &ShapePattern, row: &[usize], size: Option<usize>) -> Vec<usize> {
    let dims = pattern.dims().unwrap_or_default();
    let resize = |(axis, &old): (usize, &usize)| match (dims.get(axis + 1), size) {
        (Some(Dim::Variable), Some(size)) => size,
        _ => old,
    };
    row.iter().enumerate().map(resize).collect()
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
    use super::super::values::{WAYS, unlike};
    use super::*;

    fn spec(datatype: DataType, shape: &[i64]) -> TensorSpec {
        let shape = ShapePattern::from_wire(shape).unwrap();
        TensorSpec { name: "x".into(), datatype, shape, optional: false, declared: true }
    }

    #[test]
    fn a_row_is_the_same_wherever_it_stands() {
        for &datatype in DataType::ALL {
            let generator = InputGenerator::random(vec![spec(datatype, &[-1, 6])], 4).unwrap();
            let batch = |numbers: &[u64]| generator.batch(numbers, None).inputs[0].clone().unwrap();
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
            let generator = InputGenerator::random(vec![spec(datatype, &[-1, 6])], 4).unwrap();
            let batch = |numbers: &[u64]| generator.batch(numbers, None).inputs[0].clone().unwrap();
            for way in 1..=WAYS {
                let row = unlike(way, 3);
                assert_eq!(batch(&[9, row]).rows(1, 1), Some(batch(&[row])), "{datatype} {way}");
            }
        }
        let generator = InputGenerator::random(vec![spec(DataType::Fp32, &[-1, 6])], 4).unwrap();
        let values = |way| {
            let tensor = generator.batch(&[unlike(way, 1)], None).inputs[0].clone().unwrap();
            tensor.as_slice::<f32>().unwrap().to_vec()
        };
        assert!(values(1).iter().all(|it| *it < 0.0) && values(3) == [0.0; 6]);
        assert!(values(2).iter().any(|it| *it > 255.0) && values(5).iter().any(|it| *it < -255.0));
        let ids = Tensor::from_vec(Shape::from([1, 3]), vec![5i64, 7, 9]).unwrap();
        let generator = InputGenerator::sample(vec![spec(DataType::Int64, &[-1, 3])], &[Some(ids)]);
        for way in 1..=WAYS {
            let tensor = generator.batch(&[unlike(way, 0)], None).inputs[0].clone().unwrap();
            let valid = |it: &i64| [5, 7, 9].contains(it);
            assert!(tensor.as_slice::<i64>().unwrap().iter().all(valid), "others may be invalid");
        }
    }

    #[test]
    fn a_sample_comes_first_as_it_is() {
        let sample = Tensor::from_vec(Shape::from([2, 3]), vec![5i64, 7, 9, 1, 1, 1]).unwrap();
        let mut generator =
            InputGenerator::sample(vec![spec(DataType::Int64, &[-1, 3])], &[Some(sample.clone())]);
        let batch = |generator: &InputGenerator, numbers: &[u64]| {
            generator.batch(numbers, None).inputs[0].clone()
        };
        assert_eq!(batch(&generator, &[0, 1]), Some(sample));
        let further = batch(&generator, &[2, 3, 4, 5]).unwrap();
        let known = |value: &i64| [1, 5, 7, 9].contains(value);
        assert!(further.as_slice::<i64>().unwrap().iter().all(known), "ids outside may be invalid");
        generator.repeat_sample();
        assert_eq!(
            (batch(&generator, &[4]), generator.distinct_rows()),
            (batch(&generator, &[0]), 2)
        );
    }

    #[test]
    fn sizes_and_rows_can_be_fixed() {
        let mut generator =
            InputGenerator::random(vec![spec(DataType::Fp32, &[-1, 3, -1])], 8).unwrap();
        assert_eq!(generator.variable_size(), Some(8));
        let larger = generator.batch(&[0, 1], Some(16));
        assert_eq!(larger.inputs[0].as_ref().unwrap().shape(), &Shape::from([2, 3, 16]));
        generator.fix_sizes();
        generator.fix_rows(4);
        assert_eq!(generator.specs[0].shape.to_string(), "[4, 3, 8]");
        assert_eq!(generator.fixed_rows(), Some(4));
    }
}
