//! A body to tensors.

use super::Form;
use crate::inference::{ErrorCode, InferError, ModelSpec, NamedTensor, TensorSpec};
use crate::protocol::json::{Reader, TensorDecoder, excerpt, too_many_rows};

/// What a body holds.
#[derive(Debug)]
pub struct Decoded {
    /// The tensors, in the order in which the client wrote them.
    pub inputs: Vec<NamedTensor>,
    /// How they came.
    pub form: Form,
}

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
pub fn decode(body: &[u8], spec: &ModelSpec) -> Result<Decoded, InferError> {
    let mut reader = Reader::new(body);
    if !reader.take(b'{') {
        return Err(not_an_object(reader)?);
    }
    if reader.take(b'}') {
        return Err(invalid_body("the body is empty", "none"));
    }
    let mut decoded: Option<Decoded> = None;
    loop {
        let key = reader.key()?;
        let Some(form) = Form::ALL.into_iter().find(|form| form.request_key() == key) else {
            return Err(invalid_body(
                &format!("unknown member {:?}", excerpt(&key)),
                excerpt(&key),
            ));
        };
        match &decoded {
            Some(before) if before.form == form => {
                return Err(invalid_body(&format!("member {key:?} is given twice"), "it twice"));
            }
            Some(before) => {
                let got = format!("{:?} and {key:?}", before.form.request_key());
                return Err(invalid_body(&format!("the body has both {got}"), got));
            }
            None => decoded = Some(Decoded { inputs: read(&mut reader, form, spec)?, form }),
        }
        if !reader.goes_on(b'}')? {
            break;
        }
    }
    reader.end()?;
    decoded.ok_or_else(|| invalid_body("the body is empty", "none"))
}

fn read(
    reader: &mut Reader<'_>,
    form: Form,
    spec: &ModelSpec,
) -> Result<Vec<NamedTensor>, InferError> {
    match form {
        Form::One => one_row(reader, spec),
        Form::Many => rows(reader, spec),
        Form::Named => by_name(reader, spec),
    }
}

/// The value of `features`.
fn one_row(reader: &mut Reader<'_>, spec: &ModelSpec) -> Result<Vec<NamedTensor>, InferError> {
    let mut tensor = TensorDecoder::for_one_row(sole_input(spec, Form::One)?);
    tensor.row(reader)?;
    Ok(vec![tensor.finish()?])
}

/// The value of `instances`.
fn rows(reader: &mut Reader<'_>, spec: &ModelSpec) -> Result<Vec<NamedTensor>, InferError> {
    let start = *reader;
    if !reader.take(b'[') {
        return Err(wrong_type(Form::Many, "an array", reader.kind()?));
    }
    match reader.peek() {
        Some(b']') => {
            let message = "\"instances\" is empty, expected at least one row";
            let error = InferError::new(ErrorCode::InvalidInput, message);
            Err(error.with_mismatch("at least one row", "none"))
        }
        Some(b'{') => rows_by_name(reader, spec),
        _ => {
            *reader = start;
            let input = sole_input(spec, Form::Many)?;
            if input.is_scalar() {
                return Err(no_rows(input));
            }
            let mut tensor = TensorDecoder::new(input, spec.max_rows);
            tensor.whole(reader)?;
            Ok(vec![tensor.finish()?])
        }
    }
}

/// Instances that are objects; the reader stands at the first.
fn rows_by_name(reader: &mut Reader<'_>, spec: &ModelSpec) -> Result<Vec<NamedTensor>, InferError> {
    let mut tensors: Vec<(&TensorSpec, TensorDecoder<'_>)> = Vec::new();
    let mut n_rows = 0;
    loop {
        if n_rows == spec.max_rows {
            return Err(too_many_rows(spec.max_rows));
        }
        if !reader.take(b'{') {
            let message = format!("instance {n_rows} is {}, expected an object", reader.kind()?);
            return Err(InferError::new(ErrorCode::InvalidInput, message)
                .with_mismatch("an object", reader.kind()?));
        }
        let mut goes_on = !reader.take(b'}');
        while goes_on {
            let input = known_input(reader, spec)?;
            let known = tensors.iter().position(|(spec, _)| std::ptr::eq(*spec, input));
            let tensor = match known {
                Some(position) => &mut tensors[position].1,
                None if n_rows > 0 => return Err(differs(input, n_rows, "is not in instance 0")),
                None if input.is_scalar() => return Err(no_rows(input)),
                None => &mut tensors.push_mut((input, TensorDecoder::new(input, spec.max_rows))).1,
            };
            if tensor.n_rows() > n_rows {
                return Err(given_twice(input));
            }
            tensor.row(reader)?;
            goes_on = reader.goes_on(b'}')?;
        }
        n_rows += 1;
        if let Some((input, _)) = tensors.iter().find(|(_, tensor)| tensor.n_rows() < n_rows) {
            return Err(differs(input, n_rows - 1, "is missing"));
        }
        if !reader.goes_on(b']')? {
            break;
        }
    }
    tensors.into_iter().map(|(_, tensor)| tensor.finish()).collect()
}

/// The value of `inputs`.
fn by_name(reader: &mut Reader<'_>, spec: &ModelSpec) -> Result<Vec<NamedTensor>, InferError> {
    if !reader.take(b'{') {
        return Err(wrong_type(Form::Named, "an object", reader.kind()?));
    }
    let mut tensors: Vec<NamedTensor> = Vec::new();
    let mut goes_on = !reader.take(b'}');
    while goes_on {
        let input = known_input(reader, spec)?;
        if tensors.iter().any(|tensor| tensor.name == input.name) {
            return Err(given_twice(input));
        }
        let mut tensor = TensorDecoder::new(input, spec.max_rows);
        tensor.whole(reader)?;
        tensors.push(tensor.finish()?);
        goes_on = reader.goes_on(b'}')?;
    }
    Ok(tensors)
}

/// The input whose name is the next member's key.
fn known_input<'s>(
    reader: &mut Reader<'_>,
    spec: &'s ModelSpec,
) -> Result<&'s TensorSpec, InferError> {
    let key = reader.key()?;
    spec.input(&key).ok_or_else(|| spec.unknown_input(&excerpt(&key)))
}

/// The input that a form without names means.
fn sole_input(spec: &ModelSpec, form: Form) -> Result<&TensorSpec, InferError> {
    let only = || if let [only] = &spec.inputs[..] { Some(only) } else { None };
    spec.sole_input().or_else(only).ok_or_else(|| {
        let names: Vec<_> = spec.inputs.iter().map(|input| &*input.name).collect();
        let (names, key) = (names.join(", "), form.request_key());
        let instead = match form {
            Form::Many => "use \"inputs\", or objects by input name as instances",
            Form::One | Form::Named => "use \"inputs\"",
        };
        let message =
            format!("{key:?} needs a model with one input, its inputs are {names}: {instead}");
        InferError::new(ErrorCode::InvalidBody, message)
            .with_mismatch("\"inputs\"", format_args!("{key:?}"))
    })
}

fn not_an_object(mut reader: Reader<'_>) -> Result<InferError, InferError> {
    let got = reader.kind()?;
    reader.skip(0)?;
    reader.end()?;
    let message = format!("the body is {got}, expected an object");
    Ok(InferError::new(ErrorCode::InvalidBody, message).with_mismatch("an object", got))
}

fn invalid_body(what: &str, got: impl std::fmt::Display) -> InferError {
    let expected = "exactly one of \"features\", \"instances\", \"inputs\"";
    InferError::new(ErrorCode::InvalidBody, format!("{what}, expected {expected}"))
        .with_mismatch(expected, got)
}

fn wrong_type(form: Form, expected: &str, got: &str) -> InferError {
    let message = format!("{:?} is {got}, expected {expected}", form.request_key());
    InferError::new(ErrorCode::InvalidBody, message).with_mismatch(expected, got)
}

fn given_twice(input: &TensorSpec) -> InferError {
    let message = format!("input {:?} is given twice", input.name);
    let mut error = InferError::new(ErrorCode::InvalidBody, message);
    error.details.input = Some(input.name.to_string());
    error
}

fn no_rows(input: &TensorSpec) -> InferError {
    let message = format!("input {:?} is one plain value for all rows: use \"inputs\"", input.name);
    let mut error = InferError::new(ErrorCode::InvalidBody, message);
    error.details.input = Some(input.name.to_string());
    error
}

fn differs(input: &TensorSpec, instance: usize, how: &str) -> InferError {
    let message = format!(
        "input {:?} of instance {instance} {how}: all instances have the same inputs",
        input.name
    );
    InferError::invalid_input(&*input.name, message)
}
