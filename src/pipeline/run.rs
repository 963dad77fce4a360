//! Between decode and encode: tensors to tensors, with no wire and no transport. The server's own
//! measurements begin here.

use crate::inference::{
    InferError, InferRequest, InferResponse, ModelSpec, NamedTensor, ValidRequest,
};
use crate::repository::ModelHandle;
use std::sync::Arc;

/// Checks a decoded request.
///
/// # Errors
///
/// `invalid_input` when it does not suit the model.
pub fn check(model: &ModelHandle, request: InferRequest) -> Result<ValidRequest, InferError> {
    ValidRequest::new(model.spec(), request)
}

/// Runs a checked request, and gives the answer that a protocol encodes.
///
/// # Errors
///
/// What the scheduler reports, and `inference_failed` for outputs that do not fit the model's labels.
pub async fn run(model: &ModelHandle, request: ValidRequest) -> Result<InferResponse, InferError> {
    let request_id = Arc::clone(&request.context().request_id);
    let n_rows = request.n_rows();
    let answer = model.scheduler().submit(request).await?;
    let labels = match (model.postprocess(), labeled(model.spec(), &answer.outputs)) {
        (Some(postprocess), Some(outputs)) => Some(postprocess.apply(outputs, n_rows)?),
        _ => None,
    };
    let given = answer.outputs.iter().map(|output| &*output.name);
    let layout = model.spec().layout(given);
    Ok(InferResponse {
        model: model.name().clone(),
        version: model.version(),
        request_id,
        outputs: answer.outputs,
        n_rows,
        labels,
        timings: answer.timings,
        layout,
    })
}

/// The outputs from the model's first one on, which is what labels stand for; `None` where this run did
/// not give it.
fn labeled<'a>(spec: &ModelSpec, outputs: &'a [NamedTensor]) -> Option<&'a [NamedTensor]> {
    let Some(first) = spec.outputs.first() else { return Some(outputs) };
    let place = outputs.iter().position(|output| output.name == first.name)?;
    outputs.get(place..)
}
