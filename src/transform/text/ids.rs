//! Token ids that come as such.

use crate::inference::{InferError, NamedTensor, TensorSpec};
use crate::tensor::Dim;

/// What texts make at most, and so what a client may give itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdLimits {
    /// Most tokens of a row.
    pub(super) max_tokens: usize,
    /// The ids are below this one.
    pub(super) n_ids: i64,
}

impl IdLimits {
    /// Checks the tensor of a request that holds ids, if there is one; `spec` is the model's input for it.
    ///
    /// # Errors
    ///
    /// `invalid_input` for longer rows, and for ids that the tokenizer does not have.
    pub(super) fn check(
        self,
        spec: Option<&TensorSpec>,
        given: Option<&NamedTensor>,
    ) -> Result<(), InferError> {
        let Some(NamedTensor { name, tensor }) = given else { return Ok(()) };
        // Shorter rows of a model of one length are filled up.
        let fixed = match spec.and_then(|spec| spec.shape.dims()) {
            Some([_, Dim::Fixed(width)]) => *width,
            _ => 0,
        };
        let Self { max_tokens, n_ids } = self;
        let max = max_tokens.max(fixed);
        if let Some(&width) = tensor.shape().row().first().filter(|width| **width > max) {
            let message =
                format!("a row of {name:?} has {width} tokens, at most {max} are allowed");
            return Err(InferError::invalid_input(&**name, message)
                .with_mismatch(format_args!("at most {max} tokens"), width));
        }
        let known = |id: i64| (0..n_ids).contains(&id);
        let unknown = match (tensor.as_slice::<i64>(), tensor.as_slice::<i32>()) {
            (Some(ids), _) => ids.iter().copied().find(|id| !known(*id)),
            (_, Some(ids)) => ids.iter().copied().map(i64::from).find(|id| !known(*id)),
            _ => None,
        };
        match unknown {
            None => Ok(()),
            Some(id) => {
                let last = n_ids - 1;
                let message = format!("{name:?} has {id}, the tokenizer has ids from 0 to {last}");
                Err(InferError::invalid_input(&**name, message)
                    .with_mismatch(format_args!("0 to {last}"), id))
            }
        }
    }
}
