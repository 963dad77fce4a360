//! One row by the way of a request, and what of its answer counts.

use super::inputs::decode;
use crate::inference::{ErrorCode, InferError, InferResponse};
use crate::pipeline;
use crate::repository::ModelHandle;
use std::sync::Arc;

/// What a version said of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// A class, by its index, and the scores of all.
    Class {
        /// The names of all classes; `None` for a model without labels.
        names: Option<Arc<[Arc<str>]>>,
        /// The one that the answer tells; their number where the scores are not numbers and tell none.
        told: usize,
        /// A score for each.
        scores: Vec<f64>,
    },
    /// A number.
    Number(f64),
}

/// Sends a body of one row through everything that a request goes through.
pub(super) async fn ask(handle: &ModelHandle, body: &[u8]) -> Result<Answer, InferError> {
    let request = decode(handle, body)?;
    if request.n_rows() != 1 {
        let message = format!("the line has {} rows, expected one", request.n_rows());
        return Err(InferError::new(ErrorCode::InvalidInput, message));
    }
    let response = pipeline::run(handle, request).await?;
    match handle.transform().scores(&response.outputs, response.n_rows)? {
        Some(scores) => {
            let told = response.rankings().and_then(|it| it.rows.first()?.first());
            let (name, score) = told.ok_or_else(|| failed("the answer has no label".to_owned()))?;
            let told = scores.classes.iter().position(|it| it == name && !score.is_nan());
            let told = told.unwrap_or(scores.classes.len());
            Ok(Answer::Class { names: Some(scores.classes), told, scores: scores.values })
        }
        None => plain(&response),
    }
}

/// What the first output says where no labels do: one number is a number, several are scores of classes.
fn plain(response: &InferResponse) -> Result<Answer, InferError> {
    let Some(output) = response.outputs.first() else {
        return Err(failed("the answer has no output".to_owned()));
    };
    let values = output.tensor.to_f64().filter(|it| !it.is_empty()).ok_or_else(|| {
        let (datatype, shape) = (output.tensor.datatype(), output.tensor.shape());
        failed(format!("output {:?} is {datatype} {shape}, expected numbers", output.name))
    })?;
    Ok(match values[..] {
        [value] => Answer::Number(value),
        _ => Answer::Class { names: None, told: largest(&values), scores: values },
    })
}

/// The first of the largest values; the number of values where one is no number, which says nothing of a class.
fn largest(values: &[f64]) -> usize {
    if values.iter().any(|value| value.is_nan()) {
        return values.len();
    }
    let mut best = 0;
    for (place, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = place;
        }
    }
    best
}

fn failed(message: String) -> InferError {
    InferError::new(ErrorCode::InferenceFailed, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_largest_is_told() {
        assert_eq!(largest(&[0.1, 0.7, 0.7]), 1);
        assert_eq!(largest(&[f64::NAN, f64::NAN, -1.0, -2.0]), 4);
        assert_eq!(largest(&[1.0, f64::NAN, 0.5]), 3);
    }
}
