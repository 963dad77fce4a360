//! The step that names what a row of scores stands for.

use super::error::{MAX_TOP, TransformError};
use super::steps::{ClassScores, OutputStep, Outputs};
use crate::inference::{
    AnswerForm, ErrorCode, ExtraKind, ExtraSpec, ExtraValues, InferError, ModelSpec, NamedTensor,
    Ranking, Rankings, TensorSpec,
};
use crate::tensor::{DataType, Dim, Element, Tensor};
use half::{bf16, f16};
use std::collections::HashSet;
use std::str::FromStr;
use std::sync::Arc;

const LABEL: ExtraSpec = ExtraSpec { name: "label", plural: "labels", kind: ExtraKind::Text };
const SCORE: ExtraSpec = ExtraSpec { name: "score", plural: "scores", kind: ExtraKind::Number };
const TOP: ExtraSpec = ExtraSpec { name: "top", plural: "top", kind: ExtraKind::Ranking };

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

/// Labels for the first output of a model.
///
/// A row of as many values as there are labels takes the label of its largest value, the first of
/// them where several are equal. A row of one value and two labels is the probability `p` of the
/// second label: below 0.5 the row takes the first label with score `1 - p`, otherwise the second
/// with score `p`. NaN is never larger than anything; a row whose activated values are all NaN takes
/// the first label with score NaN, so that the score tells that the label means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    labels: Arc<[Arc<str>]>,
    activation: Activation,
    top: usize,
}

impl Labels {
    /// What they add to an answer.
    pub const EXTRAS: &[ExtraSpec] = &[LABEL, SCORE, TOP];
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
        Ok(Self { top: top.min(labels.len()), labels: labels.into(), activation })
    }

    /// Checks the labels against what is known of the model's outputs.
    fn check(&self, outputs: &[TensorSpec]) -> Result<(), TransformError> {
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

    /// The best labels of each row.
    fn rankings(&self, output: &NamedTensor, n_rows: usize) -> Result<Rankings, InferError> {
        let width = self.width(output, n_rows)?;
        let mut order = Vec::with_capacity(self.labels.len());
        let mut rows = Vec::with_capacity(n_rows);
        self.each_row(output, width, |scores| rows.push(self.best(scores, width, &mut order)))?;
        Ok(Rankings { classes: Arc::clone(&self.labels), rows })
    }

    /// Values of a row, which are as many as there are labels, or one for two.
    fn width(&self, output: &NamedTensor, n_rows: usize) -> Result<usize, InferError> {
        let shape = output.tensor.shape();
        let width = match *shape.dims() {
            [rows] if rows == n_rows => Some(1),
            [rows, width] if rows == n_rows => Some(width),
            _ => None,
        };
        let width = width.filter(|width| self.is_width(*width));
        width.ok_or_else(|| run_error(&self.wrong_shape(&output.name, shape)))
    }

    /// Calls `row` with the scores of each row. They are computed in `f64`, where every activation is exact enough
    /// that a rounding to `f32` in the end is the only one that shows.
    fn each_row(
        &self,
        output: &NamedTensor,
        width: usize,
        row: impl FnMut(&mut Vec<f64>),
    ) -> Result<(), InferError> {
        let tensor = &output.tensor;
        let seen = match tensor.datatype() {
            DataType::Fp16 => self.rows(tensor, width, f16::to_f64, row),
            DataType::Bf16 => self.rows(tensor, width, bf16::to_f64, row),
            DataType::Fp32 => self.rows(tensor, width, |value: f32| value.into(), row),
            DataType::Fp64 => self.rows(tensor, width, |value: f64| value, row),
            _ => None,
        };
        seen.ok_or_else(|| {
            let (output, got) = (Arc::clone(&output.name), tensor.datatype());
            run_error(&TransformError::DataType { output, got })
        })
    }

    /// All rows of a floating-point tensor; `None` for another.
    fn rows<T: Element>(
        &self,
        tensor: &Tensor,
        width: usize,
        to_f64: impl Fn(T) -> f64,
        mut row: impl FnMut(&mut Vec<f64>),
    ) -> Option<()> {
        let mut scores = Vec::with_capacity(self.labels.len());
        for values in tensor.as_slice::<T>()?.chunks(width) {
            scores.clear();
            scores.extend(values.iter().map(|value| to_f64(*value)));
            self.activate(&mut scores);
            row(&mut scores);
        }
        Some(())
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

    /// Turns the values of a row into the scores of all classes.
    fn activate(&self, scores: &mut Vec<f64>) {
        let is_single = scores.len() == 1;
        match self.activation {
            // A softmax over one value is 1 whatever the value: for two classes the logit of the
            // second against the first is meant, which is a sigmoid.
            Activation::Softmax if !is_single => softmax(scores),
            Activation::Softmax | Activation::Sigmoid => {
                scores.iter_mut().for_each(|value| *value = sigmoid(*value));
            }
            Activation::None => {}
        }
        if is_single {
            scores.insert(0, 1.0 - scores[0]);
        }
    }

    /// The best labels of a row that had `width` values; `order` is room for the indices of its scores.
    fn best(&self, scores: &[f64], width: usize, order: &mut Vec<usize>) -> Ranking {
        // One value that is exactly 0.5 means the second label; equal values otherwise the first.
        let is_single = width == 1;
        order.clear();
        order.extend(0..scores.len());
        let rank = |a: &usize, b: &usize| {
            let tie = if is_single { b.cmp(a) } else { a.cmp(b) };
            descending(scores[*a], scores[*b]).then(tie)
        };
        if self.top < order.len() {
            order.select_nth_unstable_by(self.top - 1, rank);
            order.truncate(self.top);
        }
        order.sort_unstable_by(rank);
        let label = |&class: &usize| (Arc::clone(&self.labels[class]), scores[class] as f32);
        order.iter().map(label).collect()
    }
}

impl OutputStep for Labels {
    fn specs(&self, inner: &ModelSpec) -> Result<Vec<TensorSpec>, TransformError> {
        if inner.contract.form == AnswerForm::List {
            return Err(TransformError::List);
        }
        // Outputs that no probe saw are checked with each answer instead.
        if !inner.outputs.is_empty() {
            self.check(&inner.outputs)?;
        }
        Ok(inner.outputs.clone())
    }

    fn extras(&self) -> &'static [ExtraSpec] {
        Self::EXTRAS
    }

    fn scores(
        &self,
        inner: &[TensorSpec],
        outputs: &[NamedTensor],
        n_rows: usize,
    ) -> Result<Option<ClassScores>, InferError> {
        let Some(output) = scored(inner, outputs)? else { return Ok(None) };
        let width = self.width(output, n_rows)?;
        let mut values = Vec::with_capacity(n_rows * self.labels.len());
        self.each_row(output, width, |scores| values.extend_from_slice(scores))?;
        Ok(Some(ClassScores { classes: Arc::clone(&self.labels), values }))
    }

    /// Adds `label`, `score` and `top`, or nothing where this run did not give the first output.
    fn apply(&self, inner: &[TensorSpec], outputs: &mut Outputs) -> Result<(), InferError> {
        let Some(output) = scored(inner, &outputs.tensors)? else { return Ok(()) };
        let rankings = self.rankings(output, outputs.n_rows)?;
        let best = || rankings.rows.iter().filter_map(|row| row.first());
        // The first of scores that are no numbers is nobody's label.
        let label = |(label, score): &(Arc<str>, f32)| (!score.is_nan()).then(|| Arc::clone(label));
        let labels = best().map(label).collect();
        let scores = best().map(|(_, score)| *score).collect();
        outputs.extras.extend([
            LABEL.with(ExtraValues::Texts(labels)),
            SCORE.with(ExtraValues::Numbers(scores)),
            TOP.with(ExtraValues::Rankings(rankings)),
        ]);
        Ok(())
    }
}

/// The output that labels are read off; `None` where a run did not give it.
fn scored<'a>(
    inner: &[TensorSpec],
    outputs: &'a [NamedTensor],
) -> Result<Option<&'a NamedTensor>, InferError> {
    match inner.first() {
        None => outputs.first().map(Some).ok_or_else(|| run_error(&TransformError::NoOutput)),
        Some(first) => Ok(outputs.iter().find(|it| it.name == first.name)),
    }
}

/// Larger first, NaN last.
fn descending(a: f64, b: f64) -> std::cmp::Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn run_error(error: &TransformError) -> InferError {
    InferError::new(ErrorCode::InferenceFailed, error.to_string())
}

fn sigmoid(value: f64) -> f64 {
    1.0 / (1.0 + (-value).exp())
}

/// Shifted by the largest value, so that no exponential overflows. Infinite values share what there
/// is between them; a NaN makes all NaN, as it does in torch.
fn softmax(values: &mut [f64]) {
    if values.iter().any(|value| value.is_nan()) {
        return values.fill(f64::NAN);
    }
    let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let shifted = |value: f64| if value == max { 1.0 } else { (value - max).exp() };
    values.iter_mut().for_each(|value| *value = shifted(*value));
    let sum: f64 = values.iter().sum();
    values.iter_mut().for_each(|value| *value /= sum);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{Shape, ShapePattern};
    use proptest::prelude::*;

    fn labels(names: &str) -> Vec<Arc<str>> {
        names.split_whitespace().map(Arc::from).collect()
    }

    fn step(names: &str, activation: Activation, top: usize) -> Labels {
        Labels::new(labels(names), activation, top).unwrap()
    }

    /// What stands beside one row.
    #[derive(Debug)]
    struct RowLabel {
        label: Option<Arc<str>>,
        score: f32,
        top: Vec<(Arc<str>, f32)>,
    }

    /// What the step adds to an answer of which nothing was known before.
    fn apply(
        step: &Labels,
        tensors: &[NamedTensor],
        n_rows: usize,
    ) -> Result<Vec<RowLabel>, InferError> {
        let mut outputs = Outputs { tensors: tensors.to_vec(), n_rows, extras: Vec::new() };
        step.apply(&[], &mut outputs)?;
        let [label, score, top] = &outputs.extras[..] else { panic!("{outputs:?}") };
        assert_eq!([label.name, score.name, top.name], ["label", "score", "top"]);
        assert_eq!([label.plural, score.plural, top.plural], ["labels", "scores", "top"]);
        match (&label.values, &score.values, &top.values) {
            (
                ExtraValues::Texts(labels),
                ExtraValues::Numbers(scores),
                ExtraValues::Rankings(tops),
            ) => {
                assert_eq!(tops.classes, step.labels);
                let rows = labels.iter().zip(scores).zip(&tops.rows);
                let row = |((label, score), top): ((&Option<Arc<str>>, &f32), &Vec<_>)| RowLabel {
                    label: label.clone(),
                    score: *score,
                    top: top.clone(),
                };
                Ok(rows.map(row).collect())
            }
            other => panic!("{other:?}"),
        }
    }

    fn output<T: Element>(dims: &[usize], values: &[T]) -> Vec<NamedTensor> {
        let tensor = Tensor::from_vec(Shape::new(dims.to_vec()), values.to_vec()).unwrap();
        vec![NamedTensor { name: "y".into(), tensor }]
    }

    /// Compares label, score and runners-up of one row.
    #[track_caller]
    fn check(step: &Labels, row: &[f32], expected: &[(&str, f32)]) {
        let rows = apply(step, &output(&[1, row.len()], row), 1).unwrap();
        let [RowLabel { label, score, top }] = &rows[..] else { panic!("one row was given") };
        assert_eq!(
            (label, score.to_bits()),
            (&(!top[0].1.is_nan()).then(|| Arc::clone(&top[0].0)), top[0].1.to_bits()),
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
    fn scores_are_those_of_all_classes_whatever_is_listed() {
        let scores = |step: &Labels, dims: &[usize], values: &[f64]| {
            let outputs = output(dims, values);
            let scores = step.scores(&[], &outputs, dims[0]).unwrap().unwrap();
            assert_eq!(scores.classes, step.labels);
            scores.values
        };
        let single = step("no yes", Activation::None, 1);
        assert_eq!(scores(&single, &[2, 1], &[0.25, 1.0]), [0.75, 0.25, 0.0, 1.0]);
        let softmax = step("a b c", Activation::Softmax, 1);
        let half = [0.5, 0.5, 0.0];
        assert_eq!(scores(&softmax, &[1, 3], &[1000.0, 1000.0, -1000.0]), half);
        assert!(scores(&softmax, &[0, 3], &[]).is_empty());
        assert!(softmax.scores(&[], &output(&[1, 2], &[0.0, 1.0]), 1).is_err());
    }

    #[test]
    fn every_float_type_has_labels_and_rows_stay_apart() {
        let step = step("a b", Activation::None, 1);
        let names = |outputs: &[NamedTensor], n_rows| {
            let rows = apply(&step, outputs, n_rows).unwrap();
            rows.iter()
                .map(|row| row.label.as_deref().unwrap_or("-").to_owned())
                .collect::<Vec<_>>()
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
        let new = |names, top| Labels::new(labels(names), Activation::None, top).unwrap_err();
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
            let error = apply(&step, &output(dims, &vec![0f32; n]), n_rows).unwrap_err();
            assert_eq!(error.code, ErrorCode::InferenceFailed, "{error}");
        }
        assert!(apply(&step, &output(&[1, 3], &[1i64, 2, 3]), 1).is_err());
        assert!(apply(&step, &[], 1).is_err());
    }

    proptest! {
        #[test]
        fn no_row_panics_and_the_best_is_best(
            row in prop::collection::vec(any::<f32>(), 3),
            activation in prop::sample::select(&[Activation::None, Activation::Softmax, Activation::Sigmoid][..]),
            top in 1usize..4,
        ) {
            let rows = apply(&step("a b c", activation, top), &output(&[1, 3], &row), 1).unwrap();
            prop_assert_eq!(rows[0].top.len(), top);
            prop_assert!(rows[0].top.windows(2).all(|pair| pair[0].1 >= pair[1].1 || pair[1].1.is_nan()));
        }
    }
}
