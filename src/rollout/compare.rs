//! Two answers to the same request: how far apart they are, and to how many rows they give another class. Pure.

use super::sequential::Share;
use crate::inference::{ExtraValues, InferResponse, NamedTensor};
use crate::tensor::{DataType, Tensor};
use half::{bf16, f16};
use std::sync::Arc;

/// Rows of one request count at most as so many, so that a large one does not speak for all others.
const MAX_ROWS: u64 = 16;

/// How two answers compare.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The largest difference of two numbers, relative to the largest of its output in the reference; infinite where
    /// the answers are not of the same kind.
    pub difference: f64,
    /// Rows that have a class.
    pub rows: u64,
    /// Those of another class.
    pub flips: u64,
    /// What is not of the same kind, if anything.
    pub mismatch: Option<String>,
}

impl Comparison {
    /// Whether the numbers are within a tolerance.
    #[must_use]
    pub fn is_within(&self, tolerance: f64) -> bool {
        self.difference <= tolerance
    }
}

/// All comparisons so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Agreement {
    /// Requests.
    pub compared: u64,
    /// Those whose answers are not of the same kind.
    pub mismatched: u64,
    /// Rows that have a class, few of each request.
    pub rows: u64,
    /// Those of another class; a part of one where of a large request few rows count.
    pub flips: f64,
    /// The largest difference, relative, of answers of the same kind.
    pub largest_difference: f64,
}

impl Agreement {
    /// Counts one.
    pub fn add(&mut self, comparison: &Comparison) {
        self.compared += 1;
        if comparison.mismatch.is_some() {
            self.mismatched += 1;
            return;
        }
        self.largest_difference = self.largest_difference.max(comparison.difference);
        let Comparison { rows, flips, .. } = *comparison;
        let counted = rows.min(MAX_ROWS);
        self.rows += counted;
        self.flips += flips as f64 * counted as f64 / rows.max(1) as f64;
    }

    /// How many answers are others: rows of another class, and answers of another kind.
    #[must_use]
    pub fn others(&self) -> Share {
        let of = (self.rows + self.mismatched) as f64;
        Share { hits: self.flips + self.mismatched as f64, of }
    }

    /// The part of rows that get the same; `None` before there is any.
    #[must_use]
    pub fn same(&self) -> Option<f64> {
        let others = self.others();
        (others.of > 0.0).then(|| 1.0 - others.rate())
    }
}

/// Compares an answer with the one that is taken for right.
#[must_use]
pub fn compare(reference: &InferResponse, other: &InferResponse) -> Comparison {
    let (difference, mismatch) = match difference(&reference.outputs, &other.outputs) {
        Ok(difference) => (difference, None),
        Err(mismatch) => (f64::INFINITY, Some(mismatch)),
    };
    let classes = mismatch.is_none().then(|| classes(reference).zip(classes(other))).flatten();
    let (rows, flips) = classes.map_or((0, 0), |(a, b)| {
        let flips = a.iter().zip(&b).filter(|(a, b)| a != b).count() + a.len().abs_diff(b.len());
        (a.len() as u64, flips as u64)
    });
    Comparison { difference, rows, flips, mismatch }
}

/// The largest difference, or what is not of the same kind.
fn difference(reference: &[NamedTensor], other: &[NamedTensor]) -> Result<f64, String> {
    if reference.len() != other.len() {
        return Err(format!("{} outputs, not {}", other.len(), reference.len()));
    }
    let mut worst = 0.0f64;
    for (a, b) in reference.iter().zip(other) {
        if a.name != b.name || a.tensor.shape() != b.tensor.shape() {
            let [a, b] = [a, b].map(|it| format!("{:?} {}", it.name, it.tensor.shape()));
            return Err(format!("output {b}, not {a}"));
        }
        if a.tensor == b.tensor {
            continue;
        }
        let (Some(left), Some(right)) = (numbers(&a.tensor), numbers(&b.tensor)) else {
            return Err(format!("output {:?} has other texts", a.name));
        };
        worst = worst.max(relative(&left, &right));
    }
    Ok(worst)
}

/// The largest difference of numbers in pairs, relative to the largest finite one on the left. What is no number equals
/// itself.
fn relative(reference: &[f64], other: &[f64]) -> f64 {
    let finite = reference.iter().filter(|value| value.is_finite());
    let scale = finite.fold(0.0f64, |largest, value| largest.max(value.abs()));
    let differences = reference.iter().zip(other).map(|(a, b)| {
        let is_same = a == b || (a.is_nan() && b.is_nan());
        let difference = if is_same { 0.0 } else { (a - b).abs() / scale };
        if difference.is_finite() { difference } else { f64::INFINITY }
    });
    differences.fold(0.0, f64::max)
}

/// The class of each row, as a text or a number; `None` where answers have none.
fn classes(response: &InferResponse) -> Option<Vec<Class>> {
    if let Some(labels) = response.extras.iter().find_map(|extra| match &extra.values {
        ExtraValues::Texts(labels) => Some(labels),
        ExtraValues::Numbers(_) | ExtraValues::Rankings(_) => None,
    }) {
        let class = |label: &Option<Arc<str>>| label.clone().map_or(Class::None, Class::Label);
        return Some(labels.iter().map(class).collect());
    }
    let first = &response.outputs.first()?.tensor;
    match (first.shape().dims(), first.datatype()) {
        // Scores of classes. One score a row is a number like any other: where it means a class, there are labels.
        (&[_, width], datatype) if width > 1 && datatype.is_float() => {
            let best = |row: &[f64]| {
                // Scores that are not numbers say nothing of a class.
                if row.iter().any(|score| score.is_nan()) {
                    return Class::None;
                }
                // The first of equals.
                let order = |i: &usize, j: &usize| row[*i].total_cmp(&row[*j]).then(j.cmp(i));
                Class::Number((0..row.len()).max_by(order).unwrap_or(0) as f64)
            };
            Some(numbers(first)?.chunks(width).map(best).collect())
        }
        // Classes by their number.
        ([_] | [_, 1], datatype) if !datatype.is_float() && datatype != DataType::Bytes => {
            Some(numbers(first)?.into_iter().map(Class::Number).collect())
        }
        _ => None,
    }
}

#[derive(Debug, PartialEq)]
enum Class {
    None,
    Label(Arc<str>),
    Number(f64),
}

/// The values of a tensor of numbers.
fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    macro_rules! cast {
        ($ty:ty, $to:expr) => {
            tensor.as_slice::<$ty>()?.iter().map($to).collect()
        };
    }
    Some(match tensor.datatype() {
        DataType::Bool => tensor.buffer().as_bytes().iter().map(|&it| f64::from(it)).collect(),
        DataType::UInt8 => cast!(u8, |&it| it.into()),
        DataType::UInt16 => cast!(u16, |&it| it.into()),
        DataType::UInt32 => cast!(u32, |&it| it.into()),
        DataType::UInt64 => cast!(u64, |&it| it as f64),
        DataType::Int8 => cast!(i8, |&it| it.into()),
        DataType::Int16 => cast!(i16, |&it| it.into()),
        DataType::Int32 => cast!(i32, |&it| it.into()),
        DataType::Int64 => cast!(i64, |&it| it as f64),
        DataType::Fp16 => cast!(f16, |it| it.to_f64()),
        DataType::Bf16 => cast!(bf16, |it| it.to_f64()),
        DataType::Fp32 => cast!(f32, |&it| it.into()),
        DataType::Fp64 => cast!(f64, |&it| it),
        DataType::Bytes => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::{Extra, Layout, Timings, Version, Work};
    use crate::tensor::Shape;

    fn response(name: &str, tensor: Tensor) -> InferResponse {
        let n_rows = tensor.n_rows();
        InferResponse {
            model: "m".parse().unwrap(),
            version: Version(1),
            request_id: "r".into(),
            outputs: vec![NamedTensor { name: name.into(), tensor }],
            n_rows,
            extras: Vec::new(),
            timings: Timings::default(),
            work: Work::default(),
            layout: Layout::default(),
        }
    }

    fn floats(dims: &[usize], values: &[f32]) -> InferResponse {
        response("y", Tensor::from_vec(Shape::new(dims.to_vec()), values.to_vec()).unwrap())
    }

    fn labelled(labels: &[&str]) -> InferResponse {
        let labels = labels.iter().map(|&label| Some(label.into())).collect();
        let values = ExtraValues::Texts(labels);
        let extras = vec![Extra { name: "label", plural: "labels", values }];
        InferResponse { extras, ..floats(&[2, 1], &[0.4, 0.6]) }
    }

    #[track_caller]
    fn check(a: &InferResponse, b: &InferResponse, expected: (f64, u64, u64)) {
        let found = compare(a, b);
        assert!((found.difference - expected.0).abs() < 1e-6 || found.difference == expected.0);
        assert_eq!((found.rows, found.flips), (expected.1, expected.2), "{found:?}");
        assert_eq!(found.mismatch.is_some(), expected.0.is_infinite() && expected.1 == 0);
    }

    #[test]
    fn answers_differ_by_their_largest_number_and_by_their_classes() {
        let one = |values: &[f32]| floats(&[values.len()], values);
        let two = |values: &[f32]| floats(&[2, 2], values);
        check(&one(&[1.0, -4.0]), &one(&[1.0, -3.0]), (0.25, 0, 0));
        check(&one(&[f32::NAN, 2.0]), &one(&[f32::NAN, 2.0]), (0.0, 0, 0));
        check(&one(&[f32::INFINITY, 2.0]), &one(&[f32::INFINITY, 2.0]), (0.0, 0, 0));
        assert!(!compare(&one(&[f32::NAN]), &one(&[0.0])).is_within(1e9));
        assert!(!compare(&one(&[1.0]), &one(&[f32::INFINITY])).is_within(1e9));
        assert!(compare(&one(&[0.0]), &one(&[-0.0])).is_within(0.0));
        check(&two(&[1.0, 2.0, 4.0, 3.0]), &two(&[1.0, 2.0, 3.0, 4.0]), (0.25, 2, 1));
        check(&two(&[1.0, 1.0, 4.0, 3.0]), &two(&[1.0, 1.0, 4.0, 3.5]), (0.125, 2, 0));
        check(&labelled(&["a", "b"]), &labelled(&["a", "a"]), (0.0, 2, 1));
    }

    #[test]
    fn other_names_shapes_and_texts_are_another_kind() {
        let texts = |text: &[u8]| {
            let bytes = [&(text.len() as u32).to_le_bytes(), text].concat();
            response("y", Tensor::new(DataType::Bytes, Shape::from([1]), bytes.into()).unwrap())
        };
        let named =
            |name: &str| response(name, Tensor::from_vec(Shape::from([1]), vec![1f32]).unwrap());
        let none = InferResponse { outputs: Vec::new(), ..named("y") };
        for (a, b) in [
            (named("y"), named("z")),
            (named("y"), floats(&[1, 1], &[1.0])),
            (named("y"), none),
            (texts(b"a"), texts(b"b")),
        ] {
            check(&a, &b, (f64::INFINITY, 0, 0));
        }
        check(&texts(b"a"), &texts(b"a"), (0.0, 0, 0));
    }

    #[test]
    fn numbers_of_classes_and_other_datatypes_compare_by_value() {
        let ids =
            |values: Vec<i64>| response("y", Tensor::from_vec(Shape::from([3]), values).unwrap());
        check(&ids(vec![1, 2, 4]), &ids(vec![1, 3, 4]), (0.25, 3, 1));
        let wide = Tensor::from_vec(Shape::from([2]), vec![1f64, 2.0]).unwrap();
        check(&floats(&[2], &[1.0, 2.0]), &response("y", wide), (0.0, 0, 0));
    }

    #[test]
    fn a_large_request_speaks_for_a_few_rows_and_another_kind_is_another_answer() {
        let mut all = Agreement::default();
        let comparison = |rows, flips| Comparison { difference: 0.5, rows, flips, mismatch: None };
        all.add(&comparison(1, 1));
        all.add(&comparison(1600, 1));
        all.add(&comparison(1600, 800));
        assert_eq!((all.compared, all.rows, all.flips), (3, 33, 1.0 + 0.01 + 8.0));
        assert_eq!(all.largest_difference, 0.5);
        all.add(&compare(&floats(&[1], &[1.0]), &floats(&[2], &[1.0, 2.0])));
        assert_eq!((all.mismatched, all.others()), (1, Share { hits: 10.01, of: 34.0 }));
        assert_eq!(Agreement::default().same(), None);
    }
}
