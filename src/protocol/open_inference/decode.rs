//! A body to tensors, and to the plan of the answer.

use super::input::{self, Tail};
use super::plan::{self, MAX_TEXT, Plan, Requested};
use super::raw;
use crate::inference::{ErrorCode, InferError, ModelSpec, NamedTensor};
use crate::protocol::Decoded;
use crate::protocol::json::{Dialect, Reader, empty_body, excerpt, open};
use crate::protocol::parameter;
use crate::tensor::Buffer;
use std::time::Duration;

const EXPECTED: &str = "an object with \"inputs\"";

/// Reads the value of the header `Inference-Header-Content-Length`, for a body of this length.
///
/// # Errors
///
/// `invalid_request` for what is not a number of bytes, or more of them than there are.
pub fn json_len(header: &[u8], body_bytes: usize) -> Result<usize, InferError> {
    let is_number = !header.is_empty() && header.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(header).ok().filter(|_| is_number);
    let Some(text) = text else {
        let message = "the header Inference-Header-Content-Length is not a number of bytes";
        return Err(InferError::new(ErrorCode::InvalidRequest, message));
    };
    match text.parse() {
        Ok(len) if len <= body_bytes => Ok(len),
        _ => Err(beyond_body(&excerpt(text), body_bytes)),
    }
}

fn beyond_body(len: &str, body_bytes: usize) -> InferError {
    let message = format!(
        "the header Inference-Header-Content-Length is {len}, but the body has {body_bytes} bytes"
    );
    InferError::new(ErrorCode::InvalidRequest, message)
        .with_mismatch(format_args!("at most {body_bytes}"), len)
}

/// Reads a body for a model of this specification. `json_len` is how much of it is JSON: all of it
/// where nothing is said, nothing of it where the body is a tensor.
///
/// Memory is taken for what has been read, never for what the client claims; values are read only
/// where datatype and shape are those that the model takes. Tensors behind the JSON are not copied,
/// unless they do not lie where their type may lie.
///
/// # Errors
///
/// `invalid_request` for a length that the body does not have; `invalid_json` for text that is not one
/// JSON document, or is nested too deep; `invalid_body` for a document of another form;
/// `invalid_input` for a tensor that the model does not take, or an output that it does not have;
/// `unsupported` for shared memory and sequences.
pub fn decode(
    body: Buffer,
    json_len: Option<usize>,
    spec: &ModelSpec,
) -> Result<Decoded<Plan>, InferError> {
    if body.is_empty() {
        return Err(empty_body(EXPECTED));
    }
    if json_len == Some(0) {
        return raw::decode(body, spec);
    }
    let at = json_len.unwrap_or(body.len());
    let Some(json) = body.as_bytes().get(..at) else {
        return Err(beyond_body(&at.to_string(), body.len()));
    };
    let mut tail = Tail { body: &body, at, is_announced: json_len.is_some() };
    let mut reader = open(json, Dialect::Extended, EXPECTED)?;
    let mut request = Request::default();
    if !reader.object(|key, reader| request.member(&key, reader, spec, &mut tail))? {
        return Err(not_an_object(reader)?);
    }
    reader.end()?;
    let inputs = request.inputs.ok_or_else(|| invalid("the body has no \"inputs\"".to_owned()))?;
    tail.end()?;
    let parameters = request.parameters.unwrap_or_default();
    let plan = Plan {
        id: request.id,
        outputs: request.outputs.unwrap_or_default(),
        binary: parameters.binary_output.unwrap_or(false),
    };
    // Zero is what a client sends that has no wish.
    let timeout = parameters.timeout.filter(|micros| *micros > 0).map(Duration::from_micros);
    Ok(Decoded { timeout, ..Decoded::new(inputs, plan) })
}

/// The members of a request, as far as they have been read.
#[derive(Default)]
struct Request {
    id: Option<String>,
    parameters: Option<Parameters>,
    inputs: Option<Vec<NamedTensor>>,
    outputs: Option<Vec<Requested>>,
}

/// The parameters of a request that change something.
#[derive(Default)]
struct Parameters {
    binary_output: Option<bool>,
    timeout: Option<u64>,
}

impl Request {
    fn member(
        &mut self,
        key: &str,
        reader: &mut Reader<'_>,
        spec: &ModelSpec,
        tail: &mut Tail<'_>,
    ) -> Result<(), InferError> {
        let is_new = match key {
            "inputs" if self.inputs.is_some() => false,
            "inputs" => self.inputs.replace(input::inputs(reader, spec, tail)?).is_none(),
            "id" | "outputs" | "parameters" if reader.null() => true,
            "id" => self.id.replace(id(reader)?).is_none(),
            "outputs" => self.outputs.replace(plan::outputs(reader, spec)?).is_none(),
            "parameters" => self.parameters.replace(parameters(reader)?).is_none(),
            _ => {
                reader.skip(0)?;
                true
            }
        };
        if is_new { Ok(()) } else { Err(invalid(format!("member {key:?} is given twice"))) }
    }
}

fn id(reader: &mut Reader<'_>) -> Result<String, InferError> {
    let Some(id) = reader.text()? else {
        let got = reader.kind()?;
        let error = invalid(format!("\"id\" is {got}, expected a string"));
        return Err(error.with_mismatch("a string", got));
    };
    if id.len() > MAX_TEXT {
        let len = id.len();
        let error = invalid(format!("\"id\" has {len} bytes, at most {MAX_TEXT} are allowed"));
        return Err(error.with_mismatch(format_args!("at most {MAX_TEXT} bytes"), len));
    }
    Ok(id.into_owned())
}

fn parameters(reader: &mut Reader<'_>) -> Result<Parameters, InferError> {
    let mut parameters = Parameters::default();
    parameter::read(reader, &"the request", |parameter| match parameter.key {
        "binary_data_output" => parameter.flag(&mut parameters.binary_output),
        "timeout" => parameter.count(&mut parameters.timeout, 0),
        "sequence_id" | "sequence_start" | "sequence_end" if !parameter.is_none() => {
            Err(parameter.unsupported("models keep no state between requests"))
        }
        _ => Ok(()),
    })?;
    Ok(parameters)
}

fn not_an_object(mut reader: Reader<'_>) -> Result<InferError, InferError> {
    let got = reader.kind()?;
    reader.skip(0)?;
    reader.end()?;
    let error = invalid(format!("the body is {got}, expected an object"));
    Ok(error.with_mismatch("an object", got))
}

fn invalid(message: String) -> InferError {
    InferError::new(ErrorCode::InvalidBody, message)
}
