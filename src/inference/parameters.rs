//! What a request wants of its answer beside the outputs.

use super::error::{ErrorCode, InferError};

/// Most labels of a row that an answer lists.
pub const MAX_TOP: usize = 100;

/// What a request sets in place of what model.toml says.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Parameters {
    /// How many of the best labels are listed.
    pub top_k: Option<usize>,
    /// The least score of labels that are told.
    pub threshold: Option<f64>,
}

impl Parameters {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The report of parameters that have nothing to do with a model.
    #[must_use]
    pub fn without_labels() -> InferError {
        let message = "\"top_k\" and \"threshold\" are about labels, and the model has none";
        InferError::new(ErrorCode::InvalidInput, message)
    }
}
