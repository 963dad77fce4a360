//! What of an answer can be compared with the truth.

use super::tally::{About, Classes, Truth, echoed};
use super::token::{Answers, MAX_ROWS, NO_CLASS};
use crate::inference::InferResponse;
use crate::repository::ModelHandle;
use crate::tensor::{DataType, Dim};

/// What of a version's answers can be compared with the truth, if anything.
pub(super) fn about(model: &ModelHandle) -> Option<About> {
    let labels = &model.facts().labels;
    if !labels.is_empty() {
        return Classes::new(labels).map(About::Classes);
    }
    let [output] = &model.interface().outputs[..] else { return None };
    let is_number = matches!(
        output.datatype,
        DataType::Fp32 | DataType::Fp64 | DataType::Fp16 | DataType::Bf16
    );
    let is_one = match output.shape.dims()? {
        [_] => true,
        [_, rest @ ..] => rest.iter().all(|dim| *dim == Dim::Fixed(1)),
        [] => false,
    };
    (is_number && is_one).then_some(About::Numbers)
}

/// What each row of an answer was.
pub(super) fn answers(about: &About, response: &InferResponse) -> Option<Answers> {
    if response.n_rows > MAX_ROWS {
        return None;
    }
    match about {
        About::Classes(classes) => {
            let rankings = response.rankings()?;
            let rows = rankings.rows.iter().map(|row| {
                let (label, score) = row.first()?;
                // A first label whose score is none says nothing.
                let place = if score.is_nan() { NO_CLASS } else { classes.place(label)? };
                Some((place, *score))
            });
            Some(Answers::Classes(rows.collect::<Option<_>>()?))
        }
        About::Numbers => {
            let [output] = &response.outputs[..] else { return None };
            let numbers = output.tensor.to_f32()?;
            (numbers.len() == response.n_rows).then_some(Answers::Numbers(numbers))
        }
    }
}

/// The answer that a caller repeats.
pub(super) fn told(
    about: &About,
    predicted: &Truth,
    score: Option<f32>,
) -> Result<Answers, String> {
    match (about, predicted) {
        (About::Classes(classes), predicted) => {
            Ok(Answers::Classes(vec![(classes.of(predicted)?, score.unwrap_or(f32::NAN))]))
        }
        (About::Numbers, Truth::Number(number)) => Ok(Answers::Numbers(vec![*number as f32])),
        (About::Numbers, Truth::Label(label)) => {
            Err(format!("the model answers with numbers, got the label {:?}", echoed(label)))
        }
    }
}
