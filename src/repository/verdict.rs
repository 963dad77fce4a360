//! What a trial says of a model file.

use super::failure::ModelFailure;
use crate::engine::Model;
use crate::engine::probe::{Findings, arguments};
use crate::inference::{InputPadding, TensorSpec};
use crate::tensor::Dim;

/// What a trial came to, as far as it is remembered.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// The model may be served.
    Passed(Box<Findings>),
    /// It may not, for this reason.
    Failed(ModelFailure),
}

impl Verdict {
    /// The findings, or why the model may not be served.
    pub(super) fn into_findings(self) -> Result<Findings, ModelFailure> {
        match self {
            Self::Passed(findings) => Ok(*findings),
            Self::Failed(failure) => Err(failure),
        }
    }
}

/// Whether what was found of a model is of this one: an input for each of its arguments, of a kind that fits, and everything
/// that is said of inputs and outputs one by one said of as many as there are.
pub(super) fn agrees(findings: &Findings, model: &dyn Model) -> Result<(), String> {
    let Findings { inputs, outputs, contract, padding, .. } = findings;
    let n_arguments = model.signature().arguments.len();
    if inputs.len() != n_arguments {
        return Err(format!("it has {} inputs, and the model takes {n_arguments}", inputs.len()));
    }
    arguments(model.signature(), Some(inputs)).map_err(|error| error.to_string())?;
    let fits = |n: usize, of: usize| n == 0 || n == of;
    let padded = padding.iter().all(|it| {
        let axes = it.pads.iter().zip(inputs);
        let has_axis = |(pad, input): (&Option<InputPadding>, &TensorSpec)| {
            let rank = input.shape.dims().map_or(usize::MAX, <[Dim]>::len);
            pad.as_ref().is_none_or(|pad| pad.axis < rank)
        };
        it.pads.len() == n_arguments
            && fits(it.given.len(), n_arguments)
            && axes.into_iter().all(has_axis)
    });
    let is_whole = padded
        && fits(contract.batching_scope.given.len(), n_arguments)
        && (outputs.is_empty() || fits(contract.squeezed.len(), outputs.len()));
    if is_whole {
        Ok(())
    } else {
        Err("what it says of inputs and outputs does not fit them".into())
    }
}
