//! Between decode and encode: tensors to tensors, with no wire and no transport. The server's own
//! measurements begin here.

use crate::inference::{InferError, InferRequest, InferResponse, NamedTensor, ValidRequest, Work};
use crate::repository::ModelHandle;
use crate::transform::{Desk, Outputs};
use std::sync::Arc;

/// Carries a decoded request from what clients send to what the engine takes, and checks it.
///
/// # Errors
///
/// `invalid_input` when it does not suit the model.
pub fn check(model: &ModelHandle, request: InferRequest) -> Result<ValidRequest, InferError> {
    let InferRequest { context, inputs } = request;
    let inputs = model.transform().before(inputs, &mut Desk::default())?;
    validate(model, InferRequest { context, inputs })
}

/// Checks a request that is what the engine takes.
pub(super) fn validate(
    model: &ModelHandle,
    request: InferRequest,
) -> Result<ValidRequest, InferError> {
    ValidRequest::new(model.engine_spec(), request)
}

/// Runs a checked request, and gives the answer that a protocol encodes.
///
/// # Errors
///
/// What the scheduler reports, and `inference_failed` for outputs that a step cannot take.
pub async fn run(model: &ModelHandle, request: ValidRequest) -> Result<InferResponse, InferError> {
    let request_id = Arc::clone(&request.context().request_id);
    let n_rows = request.n_rows();
    let needs = model.transform().needs();
    let given = needs.filter_map(|name| {
        let place = model.engine_spec().inputs.iter().position(|input| &*input.name == name)?;
        let tensor = request.inputs().get(place)?.clone()?;
        Some(NamedTensor { name: name.into(), tensor })
    });
    let given = given.collect();
    let parameters = request.context().parameters;
    let answer = model.scheduler().submit(request).await?;
    let mut outputs =
        Outputs { tensors: answer.outputs, n_rows, given, extras: Vec::new(), parameters };
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
        work: Work::default(),
        layout,
    })
}
