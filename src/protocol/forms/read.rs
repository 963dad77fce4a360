//! Tensors from JSON, in each of the forms.

use super::Form;
use crate::inference::{ErrorCode, InferError, ModelSpec, NamedTensor, TensorSpec};
use crate::protocol::json::{Reader, TensorDecoder, excerpt, too_many_rows};

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
        Some(b'{') if !reader.is_at_base64() => rows_by_name(reader, spec),
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

/// Whole tensors: an object of them by name, or that of the one input without its name.
pub(crate) fn tensors(
    reader: &mut Reader<'_>,
    spec: &ModelSpec,
) -> Result<Vec<NamedTensor>, InferError> {
    if reader.peek() == Some(b'{') && !reader.is_at_base64() {
        return tensors_by_name(reader, spec);
    }
    let input = sole_input(spec, "\"inputs\" without names", "give an object by input name")?;
    let mut tensor = TensorDecoder::new(input, spec.max_input_rows());
    tensor.whole(reader)?;
    Ok(vec![tensor.finish()?])
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
        let mut tensor = TensorDecoder::new(input, spec.max_input_rows());
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
    match &spec.inputs[..] {
        [_, own] if is_tensor => Ok(own),
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
