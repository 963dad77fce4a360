//! Between decode and encode: tensors to tensors, with no wire and no transport. The server's own
//! measurements begin here.

use crate::inference::{InferError, InferRequest, InferResponse, ValidRequest};
use crate::repository::ModelHandle;
use crate::transform::Outputs;
use std::sync::Arc;

/// Carries a decoded request from what clients send to what the engine takes, and checks it.
///
/// # Errors
///
/// `invalid_input` when it does not suit the model.
pub fn check(model: &ModelHandle, request: InferRequest) -> Result<ValidRequest, InferError> {
    let InferRequest { context, inputs } = request;
    let inputs = model.transform().before(inputs)?;
    ValidRequest::new(model.engine_spec(), InferRequest { context, inputs })
}

/// Runs a checked request, and gives the answer that a protocol encodes.
///
/// # Errors
///
/// What the scheduler reports, and `inference_failed` for outputs that a step cannot take.
pub async fn run(model: &ModelHandle, request: ValidRequest) -> Result<InferResponse, InferError> {
    let request_id = Arc::clone(&request.context().request_id);
    let n_rows = request.n_rows();
    let answer = model.scheduler().submit(request).await?;
    let mut outputs = Outputs { tensors: answer.outputs, n_rows, extras: Vec::new() };
    model.transform().after(&mut outputs)?;
    let Outputs { tensors, extras, .. } = outputs;
    let layout = model.interface().layout(tensors.iter().map(|output| &*output.name));
    Ok(InferResponse {
        model: model.name().clone(),
        version: model.version(),
        request_id,
        outputs: tensors,
        n_rows,
        extras,
        timings: answer.timings,
        layout,
    })
}
