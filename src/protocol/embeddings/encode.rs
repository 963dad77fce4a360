//! Answers and errors to bodies.

use super::VectorPlan;
use crate::inference::{ErrorCode, InferError, InferResponse};
use crate::protocol::json::{
    write_float, write_integer, write_key, write_list, write_member, write_string,
    write_text_member,
};
use crate::tensor::Tensor;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Writes an answer.
///
/// # Errors
///
/// `inference_failed` for an output that is not one vector for each row.
pub fn encode(response: &InferResponse, plan: VectorPlan) -> Result<Vec<u8>, InferError> {
    let (numbers, size) = vectors(response)?;
    if let Some(wanted) = plan.dimensions.filter(|wanted| *wanted != size) {
        let message = format!("\"dimensions\" is {wanted}, the model's vectors have {size}");
        return Err(InferError::new(ErrorCode::InvalidBody, message).with_mismatch(size, wanted));
    }
    let mut out = Vec::with_capacity(numbers.len() * 12 + response.n_rows * 64 + 256);
    out.extend_from_slice(b"{\"object\":\"list\"");
    write_member(&mut out, "data");
    write_list(&mut out, numbers.chunks(size).enumerate(), |out, (index, vector)| {
        out.extend_from_slice(b"{\"object\":\"embedding\"");
        write_member(out, "index");
        write_integer(out, index);
        write_member(out, "embedding");
        if plan.is_base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            write_string(out, &STANDARD.encode(bytes));
        } else {
            write_list(out, vector, |out, number| write_float(out, *number));
        }
        out.push(b'}');
    });
    write_text_member(&mut out, "model", response.model.as_str());
    let n_tokens = response.work.tokens + plan.n_tokens;
    write_member(&mut out, "usage");
    out.push(b'{');
    write_key(&mut out, "prompt_tokens");
    write_integer(&mut out, n_tokens);
    write_member(&mut out, "total_tokens");
    write_integer(&mut out, n_tokens);
    out.extend_from_slice(b"}}");
    Ok(out)
}

/// The numbers of all vectors, and how many each has.
pub(super) fn vectors(response: &InferResponse) -> Result<(Vec<f32>, usize), InferError> {
    let output = response.outputs.first().map(|output| &output.tensor);
    let vectors =
        output.and_then(Tensor::to_f32).and_then(|numbers| match *output?.shape().dims() {
            [rows, size] if rows == response.n_rows && size > 0 => Some((numbers, size)),
            _ => None,
        });
    vectors.ok_or_else(|| {
        let message = "the model's first output is not one vector for each text";
        InferError::new(ErrorCode::InferenceFailed, message)
    })
}

/// Writes the report of a failure: an object under `error`, whose `type` tells faults of the request from others.
#[must_use]
pub fn encode_error(error: &InferError, status: u16) -> Vec<u8> {
    let kind = match status {
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    };
    let mut out = b"{\"error\":{".to_vec();
    write_key(&mut out, "message");
    write_string(&mut out, &error.message);
    write_text_member(&mut out, "type", kind);
    write_member(&mut out, "param");
    match &error.details.input {
        Some(input) => write_string(&mut out, input),
        None => out.extend_from_slice(b"null"),
    }
    write_text_member(&mut out, "code", error.code.as_str());
    out.extend_from_slice(b"}}");
    out
}
