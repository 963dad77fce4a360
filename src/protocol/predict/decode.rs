//! A body to tensors.

use crate::inference::{ErrorCode, InferError, MAX_TOP, ModelSpec, NamedTensor, Parameters};
use crate::protocol::forms::{Form, not_an_object, one_row, rows, tensors_by_name};
use crate::protocol::json::{Dialect, Reader, excerpt, open};
use crate::protocol::{Decoded, parameter};
use std::borrow::Cow;
use std::fmt;

/// The member that stands beside the rows.
const PARAMETERS: &str = "parameters";
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
    let mut wanted = None;
    loop {
        let key = reader.key()?;
        if key == PARAMETERS {
            if wanted.replace(parameters(&mut reader)?).is_some() {
                return Err(invalid_body(&format!("member {key:?} is given twice"), &"it twice"));
            }
            if reader.goes_on(b'}')? {
                continue;
            }
            break;
        }
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
            None => {
                if let Some(error) = many_for_one(&mut reader, &key, spec) {
                    return Err(error);
                }
                decoded = Some(Decoded::new(read(&mut reader, form, spec)?, form));
            }
        }
        if !reader.goes_on(b'}')? {
            break;
        }
    }
    reader.end()?;
    let decoded = decoded.ok_or_else(|| match wanted {
        Some(_) => invalid_body("the body has only \"parameters\"", &"\"parameters\""),
        None => invalid_body("the body has no members", &"none"),
    })?;
    Ok(Decoded { parameters: wanted.unwrap_or_default(), ..decoded })
}

/// What the request wants of its answer.
fn parameters(reader: &mut Reader<'_>) -> Result<Parameters, InferError> {
    let (mut top_k, mut threshold) = (None, None);
    parameter::read(reader, &"the request", |parameter| match parameter.key {
        "top_k" => {
            parameter.count(&mut top_k, 1)?;
            let is_few = top_k.is_some_and(|top_k| top_k <= MAX_TOP as u64);
            let expected = || parameter.unexpected(&format!("an integer from 1 to {MAX_TOP}"));
            if is_few { Ok(()) } else { Err(expected()) }
        }
        "threshold" => parameter.number(&mut threshold),
        key => {
            let key = excerpt(key);
            let expected = "\"top_k\" or \"threshold\"";
            let message = format!("unknown parameter {key:?}, expected {expected}");
            Err(InferError::new(ErrorCode::InvalidBody, message).with_mismatch(expected, key))
        }
    })?;
    Ok(Parameters { top_k: top_k.map(|top_k| top_k as usize), threshold })
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

/// The complaint about a list under the word for one text, image or row.
fn many_for_one(reader: &mut Reader<'_>, key: &str, spec: &ModelSpec) -> Option<InferError> {
    let content = spec.contract.content.filter(|content| content.name() == key)?;
    let is_list = reader.peek() == Some(b'[');
    let many = content.plural();
    let message = format!("{key:?} is an array, expected one {key}: {many:?} takes several");
    let error = InferError::invalid_input(key, message);
    is_list.then(|| error.with_mismatch(format_args!("one {key}"), "an array"))
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
