//! Forms: a part for each input.

use super::decode::{bare, envelope, is_one_row, plain};
use super::{Envelope, Media};
use crate::inference::{ErrorCode, InferError, ModelSpec, NamedTensor, TensorSpec};
use crate::protocol::Decoded;
use crate::protocol::forms::sole_input;
use crate::protocol::json::{Reader, excerpt};
use crate::tensor::{Buffer, DataType};
use bytes::Bytes;
use http_body_util::{BodyDataStream, Full};
use multer::{Field, Multipart};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// The part that stands for the one input, whatever that is called.
const DATA: &str = "data";

/// Reads a form for a model of this specification.
///
/// # Errors
///
/// As [`super::decode`].
pub(super) fn decode(
    body: Buffer,
    boundary: &str,
    spec: &ModelSpec,
) -> Result<Decoded<Envelope>, InferError> {
    // The body is there as a whole, so nothing is ever waited for.
    let reading = pin!(parts(body, boundary, spec));
    match reading.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(decoded) => decoded,
        // Where its reader wants more than there is, the form is not whole.
        Poll::Pending => Err(InferError::new(ErrorCode::InvalidBody, "the form is cut off")),
    }
}

async fn parts(
    body: Buffer,
    boundary: &str,
    spec: &ModelSpec,
) -> Result<Decoded<Envelope>, InferError> {
    let stream = BodyDataStream::new(Full::new(Bytes::from_owner(body)));
    let mut form = Multipart::new(stream, boundary);
    let mut inputs: Vec<NamedTensor> = Vec::new();
    let mut all_one_row = true;
    // Each part is an input that has not come before, so there are no more of them than inputs.
    while let Some(part) = form.next_field().await.map_err(|error| unreadable(&error))? {
        let input = input_of(&part, spec)?;
        if inputs.iter().any(|known| known.name == input.name) {
            return Err(fault(input, format!("input {:?} is given twice", input.name)));
        }
        let (tensor, is_one_row) = tensor(part, input, spec).await?;
        inputs.push(tensor);
        all_one_row &= is_one_row;
    }
    if inputs.is_empty() {
        let message = "the form has no parts, expected one for each input";
        return Err(InferError::new(ErrorCode::InvalidBody, message));
    }
    Ok(Decoded::new(inputs, envelope(all_one_row)))
}

/// The input that a part is.
fn input_of<'s>(part: &Field<'_>, spec: &'s ModelSpec) -> Result<&'s TensorSpec, InferError> {
    match part.name() {
        None => {
            let message = "a part of the form has no name, expected that of an input";
            Err(InferError::new(ErrorCode::InvalidBody, message))
        }
        Some(name) => match spec.input(name) {
            Some(input) => Ok(input),
            None if name == DATA => {
                sole_input(spec, "a part \"data\"", "name the parts as the inputs")
            }
            None => Err(spec.unknown_input(&excerpt(name))),
        },
    }
}

/// The tensor of a part, and whether it is one row.
async fn tensor(
    part: Field<'_>,
    input: &TensorSpec,
    spec: &ModelSpec,
) -> Result<(NamedTensor, bool), InferError> {
    let is_file = part.file_name().is_some();
    // What programs call a file whose kind they do not know; its name may tell more.
    let is_json_file = part.file_name().is_some_and(|name| name.ends_with(".json"));
    let media = Media::parse(part.content_type().map(AsRef::as_ref))?;
    let bytes = part.bytes().await.map_err(|error| unreadable(&error))?;
    let is_field = media == Media::Unstated && !is_file && input.datatype != DataType::Bytes;
    if is_field || is_json_file || media.is_json(&bytes) {
        let mut reader = Reader::extended(&bytes);
        reader.skip_mark();
        if reader.peek().is_none() {
            return Err(fault(
                input,
                format!("the part of input {:?} is empty, expected JSON", input.name),
            ));
        }
        let read = bare(&mut reader, input, spec)?;
        reader.end()?;
        return Ok(read);
    }
    // A copy of its own: a part of the form's memory would keep all of that.
    let tensor = plain(Buffer::copy_aligned(&bytes), input, spec)?;
    let is_one_row = is_one_row(&tensor);
    Ok((tensor, is_one_row))
}

fn fault(input: &TensorSpec, message: String) -> InferError {
    let mut error = InferError::new(ErrorCode::InvalidBody, message);
    error.details.input = Some(input.name.to_string());
    error
}

fn unreadable(error: &multer::Error) -> InferError {
    let message = match error {
        multer::Error::IncompleteStream | multer::Error::IncompleteHeaders => {
            "the form is cut off, or has another boundary than the content type says".to_owned()
        }
        multer::Error::IncompleteFieldData { field_name: Some(name) } => {
            format!("the form is cut off in part {:?}", excerpt(name))
        }
        multer::Error::IncompleteFieldData { field_name: None } => {
            "the form is cut off in a part".to_owned()
        }
        _ => "the head of a part of the form cannot be read".to_owned(),
    };
    InferError::new(ErrorCode::InvalidBody, message)
}
