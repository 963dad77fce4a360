//! The story of a request, whatever protocol it came by.

use crate::inference::{InferError, InferRequest, InferResponse, ValidRequest};
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

async fn run(model: &ModelHandle, request: InferRequest) -> Result<InferResponse, InferError> {
    let request_id = Arc::clone(&request.context.request_id);
    let request = ValidRequest::new(model.spec(), request)?;
    let n_rows = request.n_rows();
    let answer = model.scheduler().submit(request).await?;
    let labels = match model.postprocess() {
        Some(postprocess) => Some(postprocess.apply(&answer.outputs, n_rows)?),
        None => None,
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
