//! The step that names what a row of scores stands for.

use super::error::TransformError;
use super::steps::{ClassScores, OutputStep, Outputs};
use crate::inference::{
    AnswerForm, ErrorCode, ExtraKind, ExtraSpec, ExtraValues, InferError, MAX_TOP, ModelSpec,
    NamedTensor, Parameters, Ranking, Rankings, TensorSpec,
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
#[derive(Debug, Clone, PartialEq)]
pub struct Labels {
    labels: Arc<[Arc<str>]>,
    activation: Activation,
    top: usize,
    threshold: Option<f64>,
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
        Ok(Self { top: top.min(labels.len()), labels: labels.into(), activation, threshold: None })
    }

    /// The same with labels of a lower score left out of answers.
    #[must_use]
    pub fn with_threshold(self, threshold: Option<f64>) -> Self {
        Self { threshold, ..self }
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
    fn rankings(
        &self,
        output: &NamedTensor,
        n_rows: usize,
        parameters: &Parameters,
    ) -> Result<Rankings, InferError> {
        let width = self.width(output, n_rows)?;
        let top = parameters.top_k.map_or(self.top, |top| top.clamp(1, self.labels.len()));
        let threshold = parameters.threshold.or(self.threshold);
        let mut order = Vec::with_capacity(self.labels.len());
        let mut rows = Vec::with_capacity(n_rows);
        self.each_row(output, width, |scores| {
            rows.push(self.best(scores, width, top, &mut order))
        })?;
        let threshold = threshold.unwrap_or(f64::NEG_INFINITY);
        Ok(Rankings { classes: Arc::clone(&self.labels), rows, threshold })
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
    fn best(&self, scores: &[f64], width: usize, top: usize, order: &mut Vec<usize>) -> Ranking {
        // One value that is exactly 0.5 means the second label; equal values otherwise the first.
        let is_single = width == 1;
        order.clear();
        order.extend(0..scores.len());
        let rank = |a: &usize, b: &usize| {
            let tie = if is_single { b.cmp(a) } else { a.cmp(b) };
            descending(scores[*a], scores[*b]).then(tie)
        };
        if top < order.len() {
            order.select_nth_unstable_by(top - 1, rank);
            order.truncate(top);
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
        let rankings = self.rankings(output, outputs.n_rows, &outputs.parameters)?;
        let best = || rankings.rows.iter().filter_map(|row| row.first());
        // The first of scores that are no numbers, or are too low, is nobody's label.
        let label = |(label, score): &(Arc<str>, f32)| {
            (f64::from(*score) >= rankings.threshold).then(|| Arc::clone(label))
        };
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
mod tests;
