//! The contract between a model and its clients, as it was settled at load: in which form answers come
//! and whether requests have rows. No answer's own sizes change it.

use super::content::Content;
use super::sizes::SizeRule;
use super::spec::ModelSpec;
use crate::tensor::{Dim, Shape, ShapePattern, Tensor};
use std::sync::Arc;

/// In which form a model's answers come: always the same for one model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnswerForm {
    /// Every output has one row for each row of the request, so answers can be taken apart.
    #[default]
    Rows,
    /// Outputs come whole, by name: one of them has no rows, or nobody knows.
    Whole,
    /// Outputs come whole, and their number follows the data. The one output of the specification stands
    /// for each of them.
    List,
}

impl AnswerForm {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::Rows, Self::Whole, Self::List];

    /// Its name in metadata.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Whole => "whole",
            Self::List => "list",
        }
    }
}

/// What a model's requests and answers are like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// The form of every answer.
    pub form: AnswerForm,
    /// Whether the inputs share one number of rows. Where they do not, a request is one whole that runs
    /// alone.
    pub inputs_have_rows: bool,
    /// For each output, whether the model drops the dimension of the rows when there is one row; it is
    /// put back. Empty when none does.
    pub squeezed: Vec<bool>,
    /// For each output, the name that the model itself has for it, where some may be missing from a run
    /// and the others must be known without counting. Empty when all are always there.
    pub own_names: Vec<Arc<str>>,
    /// Whether a run may give outputs that the specification does not have, because no run at load did:
    /// then also a lone output is written by name.
    pub may_have_more: bool,
    /// Which requests may share runs, where any may.
    pub batching_scope: BatchingScope,
    /// Inputs whose dimension of this number has one size in common: those that model.toml wants padded.
    pub one_size: Vec<(usize, usize)>,
    /// What the model's file says of sizes that vary.
    pub sizes: Vec<SizeRule>,
    /// What clients may send in place of tensors; set by the steps around the run.
    pub content: Option<Content>,
}

/// For which requests it was found that they may share runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchingScope {
    /// For each input, whether it has to be given; plain values may be or not. Empty when that does not matter.
    pub given: Vec<bool>,
    /// Whether it holds for sizes that nobody declared and that were not tried.
    pub any_sizes: bool,
}

impl Default for Contract {
    /// That of most models: rows in, rows out.
    fn default() -> Self {
        Self::of_form(AnswerForm::Rows)
    }
}

impl Contract {
    /// That of a model whose outputs are always there, in this form.
    #[must_use]
    pub fn of_form(form: AnswerForm) -> Self {
        let (squeezed, own_names) = (Vec::new(), Vec::new());
        let batching_scope = BatchingScope::default();
        Self {
            form,
            inputs_have_rows: true,
            squeezed,
            own_names,
            may_have_more: false,
            batching_scope,
            one_size: Vec::new(),
            sizes: Vec::new(),
            content: None,
        }
    }

    /// That of a model which never ran, by what is declared about its outputs: a first dimension of -1
    /// claims rows.
    #[must_use]
    pub fn of_declared<'s>(outputs: impl IntoIterator<Item = &'s ShapePattern>) -> Self {
        let claims =
            |shape: &ShapePattern| shape.dims().and_then(<[_]>::first) == Some(&Dim::Variable);
        let mut outputs = outputs.into_iter().peekable();
        let rows = outputs.peek().is_some() && outputs.all(claims);
        Self::of_form(if rows { AnswerForm::Rows } else { AnswerForm::Whole })
    }
}

impl ModelSpec {
    /// An output of a run of this many rows, with the dimension of the rows that the model may have
    /// dropped.
    #[must_use]
    pub fn with_row_axis(&self, place: usize, tensor: Tensor, n_rows: usize) -> Tensor {
        let is_squeezed = self.contract.squeezed.get(place).is_some_and(|it| *it);
        let rank = self.outputs.get(place).and_then(|spec| Some(spec.shape.dims()?.len()));
        // Sizes of one are dropped with it wherever they stand.
        let is_short = rank.is_some_and(|rank| tensor.shape().rank() < rank);
        if n_rows == 1 && is_squeezed && is_short { with_one_row(tensor) } else { tensor }
    }

    /// How an answer with these outputs is written.
    #[must_use]
    pub fn layout<'a>(&self, given: impl Iterator<Item = &'a str> + Clone) -> Layout {
        let form = self.contract.form;
        let may_have_more = form == AnswerForm::List || self.contract.may_have_more;
        let is_sole = self.outputs.len() == 1 && !may_have_more;
        if self.contract.own_names.is_empty() {
            return Layout { form, is_sole, absent: Vec::new() };
        }
        let is_absent = |name: &Arc<str>| !given.clone().any(|given| given == &**name);
        let names = self.outputs.iter().map(|output| Arc::clone(&output.name));
        Layout { form, is_sole, absent: names.filter(is_absent).collect() }
    }
}

/// The same values as the one row of a tensor.
#[must_use]
pub fn with_one_row(tensor: Tensor) -> Tensor {
    let shape = Shape::new([&[1], tensor.shape().dims()].concat());
    tensor.clone().reshape(shape).unwrap_or(tensor)
}

/// How one answer is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// The form of the model's answers.
    pub form: AnswerForm,
    /// Whether the model has one output and never more, so that its name may be left out.
    pub is_sole: bool,
    /// Outputs of the specification that this run did not give.
    pub absent: Vec<Arc<str>>,
}
