//! Why a step does not fit a model.

use crate::inference::{ErrorCode, InferError, MAX_TOP};
use crate::tensor::DataType;
use std::sync::Arc;
use thiserror::Error;

/// Why a model cannot have a step that is declared for it.
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
    /// Two steps add a value of one name to an answer.
    #[error("two steps add {0:?} to an answer")]
    ExtraTwice(&'static str),
    /// The model gives nothing.
    #[error("the model has no output for the labels")]
    NoOutput,
    /// A step before the run does not fit the model, or what it was given.
    #[error("{step}: {reason}")]
    Step {
        /// Its table in model.toml.
        step: &'static str,
        /// What was expected, and what there is.
        reason: String,
    },
    /// There is no first output of a list.
    #[error("labels need one output with rows, but the model returns a list")]
    List,
}

impl TransformError {
    /// The same for a request that meets it: what is checked at load does not hold.
    pub(super) fn at_run(&self) -> InferError {
        InferError::new(ErrorCode::Internal, self.to_string())
    }
}
