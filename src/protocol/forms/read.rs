//! Tensors from JSON, in each of the forms.

use super::Form;
use super::named_rows::NamedRows;
use crate::inference::{Content, ErrorCode, InferError, ModelSpec, NamedTensor, TensorSpec};
use crate::protocol::json::{Reader, TensorDecoder, excerpt};

/// A body that is not an object, as a fault of the whole of it.
///
/// # Errors
///
/// Text that is not JSON at all.
pub(crate) fn not_an_object(mut reader: Reader<'_>) -> Result<InferError, InferError> {
    let got = reader.kind()?;
    reader.skip(0)?;
    reader.end()?;
    let message = format!("the body is {got}, expected an object");
    Ok(InferError::new(ErrorCode::InvalidBody, message).with_mismatch("an object", got))
}

/// One row of the one input.
pub(crate) fn one_row(
    reader: &mut Reader<'_>,
    spec: &ModelSpec,
) -> Result<Vec<NamedTensor>, InferError> {
    check_rows(spec, Form::One)?;
    if is_table(spec) && reader.peek() == Some(b'{') {
        let mut rows = NamedRows::new(spec, 1);
        rows.row(reader)?;
        return rows.finish();
    }
    let mut tensor =
        TensorDecoder::for_one_row(meant(reader, spec, "\"features\"", "use \"inputs\"")?);
    tensor.row(reader)?;
    Ok(vec![tensor.finish()?])
}

/// A list of rows.
pub(crate) fn rows(
    reader: &mut Reader<'_>,
    spec: &ModelSpec,
) -> Result<Vec<NamedTensor>, InferError> {
    check_rows(spec, Form::Many)?;
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
        Some(b'{') if is_table(spec) || !reader.is_at_base64() => rows_by_name(reader, spec),
        _ => {
            let instead = "use \"inputs\", or objects by input name as instances";
            let input = meant(reader, spec, "\"instances\"", instead)?;
            *reader = start;
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
    let mut rows = NamedRows::new(spec, spec.max_rows);
    loop {
        rows.row(reader)?;
        if !reader.goes_on(b']')? {
            return rows.finish();
        }
    }
}

/// Whole tensors: an object of them by name, or that of the one input without its name.
pub(crate) fn tensors(
    reader: &mut Reader<'_>,
    spec: &ModelSpec,
) -> Result<Vec<NamedTensor>, InferError> {
    if reader.peek() == Some(b'{') && !reader.is_at_base64() {
        return tensors_by_name(reader, spec);
    }
    let input = sole_input(spec, "\"inputs\" without names", "give an object by input name")?;
    Ok(vec![whole(reader, input, spec)?])
}

/// An object of whole tensors by name.
pub(crate) fn tensors_by_name(
    reader: &mut Reader<'_>,
    spec: &ModelSpec,
) -> Result<Vec<NamedTensor>, InferError> {
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
        tensors.push(whole(reader, input, spec)?);
        goes_on = reader.goes_on(b'}')?;
    }
    Ok(tensors)
}

/// One tensor of all its dimensions.
fn whole(
    reader: &mut Reader<'_>,
    input: &TensorSpec,
    spec: &ModelSpec,
) -> Result<NamedTensor, InferError> {
    let tensor = TensorDecoder::new(input, spec.max_input_rows());
    let mut tensor = tensor.with_gaps(spec.is_column(input));
    tensor.whole(reader)?;
    tensor.finish()
}

/// Whether rows are objects of named columns.
fn is_table(spec: &ModelSpec) -> bool {
    spec.contract.content == Some(Content::Row)
}

/// The input whose name is the next member's key.
fn known_input<'s>(
    reader: &mut Reader<'_>,
    spec: &'s ModelSpec,
) -> Result<&'s TensorSpec, InferError> {
    let key = reader.key()?;
    spec.input(&key).ok_or_else(|| spec.unknown_input(&excerpt(&key)))
}

/// The same where the first value shows what is meant: of a model that takes texts or images, numbers are its own tensor's.
fn meant<'s>(
    reader: &mut Reader<'_>,
    spec: &'s ModelSpec,
    what: &str,
    instead: &str,
) -> Result<&'s TensorSpec, InferError> {
    let is_tensor = spec.contract.content.is_some()
        && !reader.is_at_base64()
        && matches!(reader.peek(), Some(b'[' | b'-' | b'0'..=b'9'));
    let mut own = spec.inputs.iter().filter(|input| input.optional);
    match (own.next(), own.next()) {
        (Some(own), None) if is_tensor => Ok(own),
        _ => sole_input(spec, what, instead),
    }
}

/// The input that is meant where none is named. `what` has no names, and `instead` says how a model
/// with several inputs is asked.
pub(crate) fn sole_input<'s>(
    spec: &'s ModelSpec,
    what: &str,
    instead: &str,
) -> Result<&'s TensorSpec, InferError> {
    let only = || if let [only] = &spec.inputs[..] { Some(only) } else { None };
    spec.sole_input().or_else(only).ok_or_else(|| {
        let names: Vec<_> = spec.inputs.iter().map(|input| &*input.name).collect();
        let names = names.join(", ");
        let message =
            format!("{what} needs a model with one input, its inputs are {names}: {instead}");
        InferError::new(ErrorCode::InvalidBody, message).with_mismatch("inputs by name", what)
    })
}

/// Refuses a form of rows where the model's inputs share none.
fn check_rows(spec: &ModelSpec, form: Form) -> Result<(), InferError> {
    if spec.contract.inputs_have_rows {
        return Ok(());
    }
    let got = format!("{:?}", form.request_key());
    let message =
        format!("{got} is rows, but the model's inputs share no number of rows: use \"inputs\"");
    Err(InferError::new(ErrorCode::InvalidBody, message).with_mismatch("\"inputs\"", got))
}

fn wrong_type(form: Form, expected: &str, got: &str) -> InferError {
    let message = format!("{:?} is {got}, expected {expected}", form.request_key());
    InferError::new(ErrorCode::InvalidBody, message).with_mismatch(expected, got)
}

pub(super) fn given_twice(input: &TensorSpec) -> InferError {
    let message = format!("input {:?} is given twice", input.name);
    let mut error = InferError::new(ErrorCode::InvalidBody, message);
    error.details.input = Some(input.name.to_string());
    error
}

pub(super) fn no_rows(input: &TensorSpec) -> InferError {
    let message = format!("input {:?} is one plain value for all rows: use \"inputs\"", input.name);
    let mut error = InferError::new(ErrorCode::InvalidBody, message);
    error.details.input = Some(input.name.to_string());
    error
}
