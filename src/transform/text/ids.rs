//! Token ids that come as such.

use super::{IDS, Tokenize};
use crate::inference::{InferError, NamedTensor, TensorSpec};
use crate::tensor::Dim;

impl Tokenize {
    /// That tokens which a client gives itself are such as texts make.
    pub(super) fn check_ids(
        &self,
        inner: &[TensorSpec],
        tensors: &[NamedTensor],
    ) -> Result<(), InferError> {
        let Some(NamedTensor { tensor, .. }) = tensors.iter().find(|it| &*it.name == IDS) else {
            return Ok(());
        };
        let n_ids = self.n_ids;
        // Shorter rows of a model of one length are filled up.
        let spec = inner.iter().find(|spec| &*spec.name == IDS);
        let fixed = match spec.and_then(|spec| spec.shape.dims()) {
            Some([_, Dim::Fixed(width)]) => *width,
            _ => 0,
        };
        let max = self.options.max_tokens.max(fixed);
        if let Some(&width) = tensor.shape().row().first().filter(|width| **width > max) {
            let message = format!("a row of {IDS:?} has {width} tokens, at most {max} are allowed");
            return Err(InferError::invalid_input(IDS, message)
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
                let message =
                    format!("{IDS:?} has {id}, the tokenizer has ids from 0 to {}", n_ids - 1);
                Err(InferError::invalid_input(IDS, message)
                    .with_mismatch(format_args!("0 to {}", n_ids - 1), id))
            }
        }
    }
}
