//! The story of a request, whatever protocol it came by.

use crate::inference::ValidRequest;
use crate::inference::{InferError, InferRequest, InferResponse, ModelSpec, NamedTensor};
use crate::repository::ModelHandle;
use std::sync::Arc;

/// Checks a decoded request, runs it, and gives the answer that a protocol encodes.
///
/// # Errors
///
/// `invalid_input` when the request does not suit the model, otherwise what the scheduler reports;
/// always with the model's name.
pub async fn infer(
    model: &ModelHandle,
    request: InferRequest,
) -> Result<InferResponse, InferError> {
    run(model, request).await.map_err(|error| error.with_model(model.name()))
}

/// The outputs from the model's first one on, which is what labels stand for; `None` where this run did
/// not give it.
fn labeled<'a>(spec: &ModelSpec, outputs: &'a [NamedTensor]) -> Option<&'a [NamedTensor]> {
    let Some(first) = spec.outputs.first() else { return Some(outputs) };
    let place = outputs.iter().position(|output| output.name == first.name)?;
    outputs.get(place..)
}

async fn run(model: &ModelHandle, request: InferRequest) -> Result<InferResponse, InferError> {
    let request_id = Arc::clone(&request.context.request_id);
    let request = ValidRequest::new(model.spec(), request)?;
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
