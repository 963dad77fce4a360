//! A body to tensors.

use crate::inference::{ErrorCode, InferError, ModelSpec, NamedTensor};
use crate::protocol::Decoded;
use crate::protocol::forms::{Form, not_an_object, one_row, rows, tensors_by_name};
use crate::protocol::json::{Dialect, Reader, excerpt, open};
use std::borrow::Cow;
use std::fmt;

const EXPECTED: &str = "exactly one of \"features\", \"instances\", \"inputs\"";

/// Reads a body for a model of this specification.
///
/// Faults are found from left to right and the first one is reported. Memory is taken for what has
/// been read, never for what the client claims; more rows than `spec.max_rows` are not read.
///
/// # Errors
///
/// `invalid_json` for text that is not one JSON document, or is nested too deep; `invalid_body` for
/// a document of another form; `invalid_input` for a tensor that the model does not take;
/// `unsupported` for datatypes that this protocol cannot write.
pub fn decode(body: &[u8], spec: &ModelSpec) -> Result<Decoded<Form>, InferError> {
    decode_in(Dialect::Strict, body, spec)
}

/// Reads a body that lies in a file of rows, where values may be missing: `NaN` and `Infinity` are numbers, as Python writes
/// them.
///
/// # Errors
///
/// As those of [`decode`].
pub fn decode_filed(body: &[u8], spec: &ModelSpec) -> Result<Decoded<Form>, InferError> {
    decode_in(Dialect::Extended, body, spec)
}

fn decode_in(dialect: Dialect, body: &[u8], spec: &ModelSpec) -> Result<Decoded<Form>, InferError> {
    let mut reader = open(body, dialect, EXPECTED)?;
    let invalid_body = |what: &str, got: &dyn fmt::Display| invalid_body(what, got, spec);
    if !reader.take(b'{') {
        return Err(not_an_object(reader)?);
    }
    if reader.take(b'}') {
        return Err(invalid_body("the body has no members", &"none"));
    }
    let mut decoded: Option<Decoded<Form>> = None;
    loop {
        let key = reader.key()?;
        let Some(form) = form_of(&key, spec) else {
            return Err(invalid_body(
                &format!("unknown member {:?}", excerpt(&key)),
                &excerpt(&key),
            ));
        };
        match &decoded {
            Some(before) if before.plan == form => {
                return Err(invalid_body(&format!("member {key:?} is given twice"), &"it twice"));
            }
            Some(before) => {
                let got = format!("{:?} and {key:?}", before.plan.request_key());
                return Err(invalid_body(&format!("the body has both {got}"), &got));
            }
            None => decoded = Some(Decoded::new(read(&mut reader, form, spec)?, form)),
        }
        if !reader.goes_on(b'}')? {
            break;
        }
    }
    reader.end()?;
    decoded.ok_or_else(|| invalid_body("the body has no members", &"none"))
}

/// The form that a member says: a model that takes texts or images has words of its own for one row, and for rows.
fn form_of(key: &str, spec: &ModelSpec) -> Option<Form> {
    let of_content = spec.contract.content.and_then(|content| match key {
        _ if key == content.name() => Some(Form::One),
        _ if key == content.plural() => Some(Form::Many),
        _ => None,
    });
    of_content.or_else(|| Form::ALL.into_iter().find(|form| form.request_key() == key))
}

fn read(
    reader: &mut Reader<'_>,
    form: Form,
    spec: &ModelSpec,
) -> Result<Vec<NamedTensor>, InferError> {
    match form {
        Form::One => one_row(reader, spec),
        Form::Many => rows(reader, spec),
        Form::Named => tensors_by_name(reader, spec),
    }
}

fn invalid_body(what: &str, got: &dyn fmt::Display, spec: &ModelSpec) -> InferError {
    let expected = match spec.contract.content {
        Some(content) => {
            Cow::Owned(format!("{EXPECTED}, {:?}, {:?}", content.name(), content.plural()))
        }
        None => Cow::Borrowed(EXPECTED),
    };
    InferError::new(ErrorCode::InvalidBody, format!("{what}, expected {expected}"))
        .with_mismatch(expected, got)
}
