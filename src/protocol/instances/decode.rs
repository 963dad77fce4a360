//! A body to tensors.

use super::SIGNATURE;
use crate::inference::{ErrorCode, InferError, ModelSpec};
use crate::protocol::Decoded;
use crate::protocol::forms::{Form, not_an_object, rows, tensors};
use crate::protocol::json::{Dialect, Reader, excerpt, open};

const EXPECTED: &str = "exactly one of \"instances\", \"inputs\"";

/// Reads a body for a model of this specification.
///
/// # Errors
///
/// `invalid_json` for text that is not one JSON document, or is nested too deep; `invalid_body` for
/// a document of another form, or another signature; `invalid_input` for a tensor that the model
/// does not take.
pub fn decode(body: &[u8], spec: &ModelSpec) -> Result<Decoded<Form>, InferError> {
    let mut reader = open(body, Dialect::Extended, EXPECTED)?;
    if !reader.take(b'{') {
        return Err(not_an_object(reader)?);
    }
    let mut decoded: Option<Decoded<Form>> = None;
    let mut goes_on = !reader.take(b'}');
    while goes_on {
        let key = reader.key()?;
        match [Form::Many, Form::Named].into_iter().find(|form| form.request_key() == key) {
            Some(form) => {
                if let Some(before) = &decoded {
                    return Err(second(before.plan, form));
                }
                let inputs = match form {
                    Form::Many => rows(&mut reader, spec)?,
                    Form::One | Form::Named => tensors(&mut reader, spec)?,
                };
                decoded = Some(Decoded::new(inputs, form));
            }
            None if key == "signature_name" => signature(&mut reader)?,
            None => reader.skip(1)?,
        }
        goes_on = reader.goes_on(b'}')?;
    }
    reader.end()?;
    decoded.ok_or_else(|| {
        let message = format!("the body has neither, expected {EXPECTED}");
        InferError::new(ErrorCode::InvalidBody, message).with_mismatch(EXPECTED, "neither")
    })
}

/// The complaint about a body that has tensors twice.
fn second(before: Form, form: Form) -> InferError {
    let message = if before == form {
        format!("member {:?} is given twice, expected {EXPECTED}", form.request_key())
    } else {
        format!("the body has both \"inputs\" and \"instances\", expected {EXPECTED}")
    };
    InferError::new(ErrorCode::InvalidBody, message).with_mismatch(EXPECTED, "two")
}

/// Checks the signature: the empty name means the default one, as a missing name does.
fn signature(reader: &mut Reader<'_>) -> Result<(), InferError> {
    let expected = format!("{SIGNATURE:?}");
    let Some(name) = reader.text()? else {
        let got = reader.kind()?;
        let message = format!("\"signature_name\" is {got}, expected a string");
        return Err(InferError::new(ErrorCode::InvalidBody, message).with_mismatch("a string", got));
    };
    if name.is_empty() || name == SIGNATURE {
        return Ok(());
    }
    let got = format!("{:?}", excerpt(&name));
    let message = format!("the model has no signature {got}, expected {expected}");
    Err(InferError::new(ErrorCode::InvalidBody, message).with_mismatch(expected, got))
}
