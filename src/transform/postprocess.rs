//! From a row of numbers to the label that it stands for.

use crate::inference::{ErrorCode, InferError, NamedTensor, RowLabel, TensorSpec};
use crate::tensor::{DataType, Dim, Tensor};
use half::{bf16, f16};
use std::collections::HashSet;
use std::str::FromStr;
use std::sync::Arc;
use thiserror::Error;

/// Most runners-up that are told.
const MAX_TOP: usize = 100;

/// What is applied to a row's values before they are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// Nothing: the values are scores as they are.
    #[default]
    None,
    /// The values are logits of classes that exclude each other.
    Softmax,
    /// Each value is a logit of its own.
    Sigmoid,
}

impl FromStr for Activation {
    type Err = TransformError;

    fn from_str(text: &str) -> Result<Self, TransformError> {
        match text {
            "none" => Ok(Self::None),
            "softmax" => Ok(Self::Softmax),
            "sigmoid" => Ok(Self::Sigmoid),
            _ => Err(TransformError::Activation(text.to_owned())),
        }
    }
}

/// Why a model cannot have the labels that are declared for it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TransformError {
    /// Not a word for an activation.
    #[error("unknown activation {0:?}, expected \"none\", \"softmax\" or \"sigmoid\"")]
    Activation(String),
    /// One label says nothing.
    #[error("{0} labels are given, expected two or more")]
    TooFew(usize),
    /// Two classes would look the same to a client.
    #[error("label {0:?} is given twice")]
    Duplicate(Arc<str>),
    /// A size for the list of the best labels that cannot be met.
    #[error("top is {0}, expected 1 to {MAX_TOP}")]
    Top(usize),
    /// Labels stand for floating-point scores.
    #[error("output {output:?} is of {got}, labels need FP16, BF16, FP32 or FP64")]
    DataType {
        /// The output that the labels are for.
        output: Arc<str>,
        /// What it is.
        got: DataType,
    },
    /// The output does not have one list of scores for each row.
    #[error("output {output:?} has shape {got}, labels need {expected}")]
    Shape {
        /// The output that the labels are for.
        output: Arc<str>,
        /// A shape that the labels fit.
        expected: String,
        /// The shape it has.
        got: String,
    },
    /// The model gives nothing.
    #[error("the model has no output for the labels")]
    NoOutput,
}

/// Labels for the first output of a model.
///
/// A row of as many values as there are labels takes the label of its largest value, the first of
/// them where several are equal. A row of one value and two labels is the probability `p` of the
/// second label: below 0.5 the row takes the first label with score `1 - p`, otherwise the second
/// with score `p`. NaN is never larger than anything; a row whose activated values are all NaN takes
/// the first label with score NaN, so that the score tells that the label means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postprocess {
    labels: Vec<Arc<str>>,
    activation: Activation,
    top: usize,
}

impl Postprocess {
    /// How many of the best labels are told unless somebody says otherwise.
    pub const DEFAULT_TOP: usize = 5;

    /// Checks what was declared. `top` is cut to the number of labels.
    ///
    /// # Errors
    ///
    /// [`TransformError`] for fewer than two labels, a label given twice, a `top` of zero or beyond
    /// all reason.
    pub fn new(
        labels: Vec<Arc<str>>,
        activation: Activation,
        top: usize,
    ) -> Result<Self, TransformError> {
        if labels.len() < 2 {
            return Err(TransformError::TooFew(labels.len()));
        }
        if !(1..=MAX_TOP).contains(&top) {
            return Err(TransformError::Top(top));
        }
        let mut seen = HashSet::new();
        if let Some(twice) = labels.iter().find(|label| !seen.insert(&***label)) {
            return Err(TransformError::Duplicate(Arc::clone(twice)));
        }
        Ok(Self { top: top.min(labels.len()), labels, activation })
    }

    /// The labels, in the order of the classes.
    #[must_use]
    pub fn labels(&self) -> &[Arc<str>] {
        &self.labels
    }

    /// Checks the labels against what is known of the model's outputs, when it is loaded.
    ///
    /// # Errors
    ///
    /// [`TransformError`] when the first output can never fit the labels.
    pub fn check(&self, outputs: &[TensorSpec]) -> Result<(), TransformError> {
        let output = outputs.first().ok_or(TransformError::NoOutput)?;
        if !output.datatype.is_float() {
            let (output, got) = (Arc::clone(&output.name), output.datatype);
            return Err(TransformError::DataType { output, got });
        }
        let fits = match output.shape.dims() {
            None | Some([_, Dim::Variable]) => true,
            Some([_]) => self.is_binary(1),
            Some([_, Dim::Fixed(width)]) => self.is_width(*width),
            Some(_) => false,
        };
        if fits { Ok(()) } else { Err(self.wrong_shape(&output.name, &output.shape)) }
    }

    /// Finds the labels of the rows of an answer.
    ///
    /// # Errors
    ///
    /// `inference_failed` when the output does not fit the labels, which shows only now for models
    /// whose outputs were not known at load.
    pub fn apply(
        &self,
        outputs: &[NamedTensor],
        n_rows: usize,
    ) -> Result<Vec<RowLabel>, InferError> {
        let output = outputs.first().ok_or_else(|| run_error(&TransformError::NoOutput))?;
        let (name, tensor) = (&output.name, &output.tensor);
        let shape = tensor.shape();
        let width = match *shape.dims() {
            [rows] if rows == n_rows => 1,
            [rows, width] if rows == n_rows => width,
            _ => return Err(run_error(&self.wrong_shape(name, shape))),
        };
        if !self.is_width(width) {
            return Err(run_error(&self.wrong_shape(name, shape)));
        }
        let values = to_f64(tensor).ok_or_else(|| {
            let (output, got) = (Arc::clone(name), tensor.datatype());
            run_error(&TransformError::DataType { output, got })
        })?;
        Ok(values.chunks(width).map(|row| self.row(row)).collect())
    }

    fn is_binary(&self, width: usize) -> bool {
        width == 1 && self.labels.len() == 2
    }

    fn is_width(&self, width: usize) -> bool {
        width == self.labels.len() || self.is_binary(width)
    }

    fn wrong_shape(&self, output: &Arc<str>, got: &impl ToString) -> TransformError {
        let n_labels = self.labels.len();
        let binary = if n_labels == 2 { " or [-1, 1]" } else { "" };
        let expected = format!("[-1, {n_labels}]{binary} for {n_labels} labels");
        TransformError::Shape { output: Arc::clone(output), expected, got: got.to_string() }
    }

    fn row(&self, values: &[f64]) -> RowLabel {
        let mut scores = match (self.activation, values) {
            // A softmax over one value is 1 whatever the value: for two classes the logit of the
            // second against the first is meant, which is a sigmoid.
            (Activation::Softmax, [_]) | (Activation::Sigmoid, _) => {
                values.iter().copied().map(sigmoid).collect()
            }
            (Activation::Softmax, _) => softmax(values),
            (Activation::None, _) => values.to_vec(),
        };
        if let [p] = scores[..] {
            scores = vec![1.0 - p, p];
        }
        // One value that is exactly 0.5 means the second label; equal values otherwise the first.
        let last_wins = values.len() == 1;
        let mut order: Vec<usize> = (0..scores.len()).collect();
        let rank = |a: &usize, b: &usize| {
            let tie = if last_wins { b.cmp(a) } else { a.cmp(b) };
            descending(scores[*a], scores[*b]).then(tie)
        };
        if self.top < order.len() {
            order.select_nth_unstable_by(self.top - 1, rank);
            order.truncate(self.top);
        }
        order.sort_unstable_by(rank);
        let label = |&class: &usize| (Arc::clone(&self.labels[class]), scores[class] as f32);
        let top: Vec<_> = order.iter().map(label).collect();
        let (label, score) = top[0].clone();
        RowLabel { label, score, top }
    }
}

/// Larger first, NaN last.
fn descending(a: f64, b: f64) -> std::cmp::Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn run_error(error: &TransformError) -> InferError {
    InferError::new(ErrorCode::InferenceFailed, error.to_string())
}

/// All values of a floating-point tensor. In `f64`, where every activation is exact enough that the
/// rounding to `f32` in the end is the only one that shows.
fn to_f64(tensor: &Tensor) -> Option<Vec<f64>> {
    match tensor.datatype() {
        DataType::Fp16 => Some(tensor.as_slice::<f16>()?.iter().map(|v| v.to_f64()).collect()),
        DataType::Bf16 => Some(tensor.as_slice::<bf16>()?.iter().map(|v| v.to_f64()).collect()),
        DataType::Fp32 => Some(tensor.as_slice::<f32>()?.iter().copied().map(f64::from).collect()),
        DataType::Fp64 => Some(tensor.as_slice::<f64>()?.to_vec()),
        _ => None,
    }
}

fn sigmoid(value: f64) -> f64 {
    1.0 / (1.0 + (-value).exp())
}

/// Shifted by the largest value, so that no exponential overflows. Infinite values share what there
/// is between them; a NaN makes all NaN, as it does in torch.
fn softmax(values: &[f64]) -> Vec<f64> {
    if values.iter().any(|value| value.is_nan()) {
        return vec![f64::NAN; values.len()];
    }
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shifted = |&value: &f64| if value == max { 1.0 } else { (value - max).exp() };
    let exponentials: Vec<f64> = values.iter().map(shifted).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|value| value / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Element, Shape, ShapePattern};
    use proptest::prelude::*;

    fn labels(names: &str) -> Vec<Arc<str>> {
        names.split_whitespace().map(Arc::from).collect()
    }

    fn step(names: &str, activation: Activation, top: usize) -> Postprocess {
        Postprocess::new(labels(names), activation, top).unwrap()
    }

    fn output<T: Element>(dims: &[usize], values: &[T]) -> Vec<NamedTensor> {
        let tensor = Tensor::from_vec(Shape::new(dims.to_vec()), values.to_vec()).unwrap();
        vec![NamedTensor { name: "y".into(), tensor }]
    }

    /// Compares label, score and runners-up of one row.
    #[track_caller]
    fn check(step: &Postprocess, row: &[f32], expected: &[(&str, f32)]) {
        let rows = step.apply(&output(&[1, row.len()], row), 1).unwrap();
        let [RowLabel { label, score, top }] = &rows[..] else { panic!("one row was given") };
        assert_eq!(
            (label, score.to_bits()),
            (&top[0].0, top[0].1.to_bits()),
            "the best comes first"
        );
        assert_eq!(top.len(), expected.len());
        for ((label, score), (expected_label, expected_score)) in top.iter().zip(expected) {
            assert_eq!(&**label, *expected_label);
            let is_close = (score - expected_score).abs() <= 1e-6;
            assert!(
                is_close || score.is_nan() && expected_score.is_nan(),
                "{score} {expected_score}"
            );
        }
    }

    #[test]
    fn the_largest_value_names_the_row() {
        let plain = step("a b c", Activation::None, 2);
        check(&plain, &[0.1, 0.7, 0.2], &[("b", 0.7), ("c", 0.2)]);
        check(&plain, &[0.5, 0.5, 0.0], &[("a", 0.5), ("b", 0.5)]);
        check(&plain, &[-0.0, 0.0, -1.0], &[("a", 0.0), ("b", 0.0)]);
        check(
            &step("a b c", Activation::None, 9),
            &[3.0, 1.0, 2.0],
            &[("a", 3.0), ("c", 2.0), ("b", 1.0)],
        );
        let softmax = step("a b c", Activation::Softmax, 3);
        check(
            &softmax,
            &[1.0, 2.0, 3.0],
            &[("c", 0.665_240_96), ("b", 0.244_728_48), ("a", 0.090_030_57)],
        );
        check(&softmax, &[1000.0, 1000.0, -1000.0], &[("a", 0.5), ("b", 0.5), ("c", 0.0)]);
        let infinite = [f32::INFINITY, 0.0, f32::NEG_INFINITY];
        check(&softmax, &infinite, &[("a", 1.0), ("b", 0.0), ("c", 0.0)]);
        let sigmoid = step("a b c", Activation::Sigmoid, 1);
        check(&sigmoid, &[0.0, 1000.0, -1000.0], &[("b", 1.0)]);
    }

    #[test]
    fn one_value_decides_between_two_labels() {
        let plain = step("no yes", Activation::None, 5);
        check(&plain, &[0.25], &[("no", 0.75), ("yes", 0.25)]);
        check(&plain, &[0.5], &[("yes", 0.5), ("no", 0.5)]);
        check(&plain, &[0.97], &[("yes", 0.97), ("no", 0.03)]);
        check(&plain, &[0.3, 0.7], &[("yes", 0.7), ("no", 0.3)]);
        check(&step("no yes", Activation::Sigmoid, 1), &[-2.0], &[("no", 0.880_797)]);
        check(&step("no yes", Activation::Softmax, 1), &[-2.0], &[("no", 0.880_797)]);
    }

    #[test]
    fn nan_is_told_and_harms_nobody() {
        let nan = f32::NAN;
        check(
            &step("a b c", Activation::None, 3),
            &[nan, 1.0, 2.0],
            &[("c", 2.0), ("b", 1.0), ("a", nan)],
        );
        check(&step("a b c", Activation::Softmax, 1), &[nan, 1.0, 2.0], &[("a", nan)]);
        check(&step("no yes", Activation::Sigmoid, 1), &[nan], &[("yes", nan)]);
    }

    #[test]
    fn every_float_type_has_labels_and_rows_stay_apart() {
        let step = step("a b", Activation::None, 1);
        let names = |outputs: &[NamedTensor], n_rows| {
            let rows = step.apply(outputs, n_rows).unwrap();
            rows.iter().map(|row| row.label.to_string()).collect::<Vec<_>>()
        };
        let values = [0.0, 1.0, 1.0, 0.0, 0.25, 0.75];
        assert_eq!(names(&output(&[3, 2], &values), 3), ["b", "a", "b"]);
        assert_eq!(names(&output(&[3, 2], &values.map(|v| v as f32)), 3), ["b", "a", "b"]);
        assert_eq!(names(&output(&[3, 2], &values.map(f16::from_f64)), 3), ["b", "a", "b"]);
        assert_eq!(names(&output(&[3, 2], &values.map(bf16::from_f64)), 3), ["b", "a", "b"]);
        assert_eq!(names(&output(&[6], &values), 6), ["a", "b", "b", "a", "a", "b"]);
    }

    #[test]
    fn what_cannot_be_labelled_is_refused() {
        let new = |names, top| Postprocess::new(labels(names), Activation::None, top).unwrap_err();
        assert_eq!(new("a", 1).to_string(), "1 labels are given, expected two or more");
        assert_eq!(new("a b a", 1).to_string(), "label \"a\" is given twice");
        assert_eq!(new("a b", 0).to_string(), "top is 0, expected 1 to 100");
        assert!("tanh".parse::<Activation>().is_err());

        let check = |names, datatype, wire: Option<&[i64]>| {
            let shape = wire.map_or(ShapePattern::Unknown, |w| ShapePattern::from_wire(w).unwrap());
            let output =
                TensorSpec { name: "y".into(), datatype, shape, optional: false, declared: true };
            let outcome = step(names, Activation::None, 1).check(&[output]);
            outcome.map_err(|error| error.to_string())
        };
        let fp32 = DataType::Fp32;
        for wire in [None, Some(&[-1, 3][..]), Some(&[-1, -1]), Some(&[1, 3])] {
            assert_eq!(check("a b c", fp32, wire), Ok(()));
        }
        for wire in [&[-1][..], &[-1, 1], &[-1, 2]] {
            assert_eq!(check("a b", fp32, Some(wire)), Ok(()));
        }
        let shape = "output \"y\" has shape [-1, 4], labels need [-1, 3] for 3 labels";
        assert_eq!(check("a b c", fp32, Some(&[-1, 4])), Err(shape.to_owned()));
        for wire in [&[][..], &[-1], &[-1, 1], &[-1, 3, 3]] {
            assert!(check("a b c", fp32, Some(wire)).is_err(), "{wire:?} must be refused");
        }
        let datatype = "output \"y\" is of INT64, labels need FP16, BF16, FP32 or FP64";
        assert_eq!(check("a b", DataType::Int64, Some(&[-1, 2])), Err(datatype.to_owned()));

        let step = step("a b c", Activation::None, 1);
        for (dims, n_rows) in [(&[2, 4][..], 2), (&[2, 3], 3), (&[2], 2), (&[], 1), (&[1, 1, 3], 1)]
        {
            let n: usize = dims.iter().product();
            let error = step.apply(&output(dims, &vec![0f32; n]), n_rows).unwrap_err();
            assert_eq!(error.code, ErrorCode::InferenceFailed, "{error}");
        }
        assert!(step.apply(&output(&[1, 3], &[1i64, 2, 3]), 1).is_err());
        assert!(step.apply(&[], 1).is_err());
    }

    proptest! {
        #[test]
        fn no_row_panics_and_the_best_is_best(
            row in prop::collection::vec(any::<f32>(), 3),
            activation in prop::sample::select(&[Activation::None, Activation::Softmax, Activation::Sigmoid][..]),
            top in 1usize..4,
        ) {
            let rows = step("a b c", activation, top).apply(&output(&[1, 3], &row), 1).unwrap();
            prop_assert_eq!(rows[0].top.len(), top);
            prop_assert!(rows[0].top.windows(2).all(|pair| pair[0].1 >= pair[1].1 || pair[1].1.is_nan()));
        }
    }
}
