//! A body to texts, or to the ids of tokens.

use super::{OUTPUTS, VectorPlan};
use crate::inference::{Content, ErrorCode, InferError, ModelSpec, NamedTensor, TensorSpec};
use crate::protocol::Decoded;
use crate::protocol::forms::not_an_object;
use crate::protocol::json::{Dialect, Reader, TensorDecoder, excerpt, open, too_many_rows};
use crate::tensor::{DataType, Dim, Shape, Tensor};

const EXPECTED: &str = "an object with \"input\"";
/// The tensors that a model is given of ids.
const IDS: &str = "input_ids";
const MASK: &str = "attention_mask";
/// Most elements of a tensor of ids that filling up may lead to.
const MAX_FILLED: usize = 1 << 16;

/// The name of the model that a body asks for; `None` where it names none.
///
/// # Errors
///
/// `invalid_json` for text that is not one JSON document, `invalid_body` for a name that is no text.
pub fn model(body: &[u8]) -> Result<Option<String>, InferError> {
    let mut reader = open(body, Dialect::Strict, EXPECTED)?;
    let mut name = None;
    let is_object = reader.object(|key, reader| {
        if key != "model" {
            return Ok(reader.skip(1)?);
        }
        name = Some(text(reader, "model")?.into_owned());
        Ok(())
    })?;
    if is_object { Ok(name) } else { Err(not_an_object(reader)?) }
}

/// Reads a body for a model of this specification.
///
/// # Errors
///
/// `invalid_json` for text that is not one JSON document; `invalid_body` for a document of another form; `invalid_input` for
/// what the model does not take; `unsupported` for a model that gives no embeddings.
pub fn decode(body: &[u8], spec: &ModelSpec) -> Result<Decoded<VectorPlan>, InferError> {
    let size = embedding(spec)?;
    let mut reader = open(body, Dialect::Strict, EXPECTED)?;
    let mut inputs = None;
    let mut plan = VectorPlan { is_base64: false, dimensions: None, n_tokens: 0 };
    let is_object = reader.object(|key, reader| {
        match &*key {
            "input" if inputs.is_some() => return Err(invalid("\"input\" is given twice")),
            "input" => {
                let (tensors, n_tokens) = input(reader, spec)?;
                plan.n_tokens = n_tokens;
                inputs = Some(tensors);
            }
            "encoding_format" if reader.null() => {}
            "encoding_format" => {
                let format = text(reader, "encoding_format")?;
                plan.is_base64 = match &*format {
                    "float" => false,
                    "base64" => true,
                    other => {
                        let (expected, got) = ("\"float\" or \"base64\"", excerpt(other));
                        let message =
                            format!("\"encoding_format\" is {got:?}, expected {expected}");
                        return Err(invalid(&message).with_mismatch(expected, got));
                    }
                };
            }
            "dimensions" if reader.null() => {}
            "dimensions" => plan.dimensions = Some(dimensions(reader, size)?),
            _ => reader.skip(1)?,
        }
        Ok(())
    })?;
    Ok(Decoded::new(whole(reader, is_object, ("input", inputs), EXPECTED)?, plan))
}

/// What a member held, once all of the body has been read.
pub(super) fn whole<T>(
    mut reader: Reader<'_>,
    is_object: bool,
    (key, value): (&str, Option<T>),
    expected: &str,
) -> Result<T, InferError> {
    if !is_object {
        return Err(not_an_object(reader)?);
    }
    reader.end()?;
    value.ok_or_else(|| {
        let message = format!("the body has no {key:?}, expected {expected}");
        invalid(&message).with_mismatch(expected, "none")
    })
}

/// The size of the model's vectors, where it gives any and that is known.
pub(super) fn embedding(spec: &ModelSpec) -> Result<Option<usize>, InferError> {
    let output = spec.outputs.first().filter(|output| OUTPUTS.contains(&&*output.name));
    let is_asked = spec.contract.content == Some(Content::Text) && spec.sole_input().is_some();
    match output.filter(|output| is_asked && output.datatype.is_float()) {
        Some(output) => match output.shape.dims() {
            None | Some([_, Dim::Variable]) => Ok(None),
            Some([_, Dim::Fixed(size)]) => Ok(Some(*size)),
            Some(_) => Err(no_embeddings()),
        },
        None => Err(no_embeddings()),
    }
}

fn no_embeddings() -> InferError {
    let message = format!(
        "the model gives no embeddings: that takes [preprocess.text] in its model.toml, and a first output {:?} of one vector for each text",
        OUTPUTS[0]
    );
    InferError::new(ErrorCode::Unsupported, message)
}

fn dimensions(reader: &mut Reader<'_>, size: Option<usize>) -> Result<usize, InferError> {
    let number = reader.number()?.and_then(|number| usize::try_from(number.to_u64()?).ok());
    let wanted = number.ok_or_else(|| invalid("\"dimensions\" is no whole number"))?;
    match size {
        Some(size) if size != wanted => {
            let message = format!("\"dimensions\" is {wanted}, the model's vectors have {size}");
            Err(invalid(&message).with_mismatch(size, wanted))
        }
        _ => Ok(wanted),
    }
}

/// The value of `input`, and how many tokens it holds as such.
pub(super) fn input(
    reader: &mut Reader<'_>,
    spec: &ModelSpec,
) -> Result<(Vec<NamedTensor>, u64), InferError> {
    let texts = spec.sole_input().ok_or_else(no_embeddings)?;
    let start = *reader;
    if reader.peek() == Some(b'"') {
        let mut tensor = TensorDecoder::for_one_row(texts);
        tensor.row(reader)?;
        return Ok((vec![tensor.finish()?], 0));
    }
    if !reader.take(b'[') {
        let got = reader.kind()?;
        let expected = "a text, a list of texts, token ids, or a list of token ids";
        let message = format!("\"input\" is {got}, expected {expected}");
        return Err(invalid(&message).with_mismatch(expected, got));
    }
    let first = reader.peek();
    *reader = start;
    match first {
        Some(b']') => Err(invalid("\"input\" is empty, expected at least one text")
            .with_mismatch("one text", "none")),
        Some(b'[') => {
            let mut rows = Vec::new();
            reader.array(|_, reader| {
                if rows.len() == spec.max_rows {
                    return Err(too_many_rows(spec.max_rows));
                }
                rows.push(ids(reader)?);
                Ok(())
            })?;
            tokens(&rows, spec)
        }
        Some(b'0'..=b'9' | b'-') => tokens(&[ids(reader)?], spec),
        _ => {
            let mut tensor = TensorDecoder::new(texts, spec.max_rows);
            tensor.whole(reader)?;
            Ok((vec![tensor.finish()?], 0))
        }
    }
}

/// A list of ids of tokens.
fn ids(reader: &mut Reader<'_>) -> Result<Vec<i64>, InferError> {
    let mut ids = Vec::new();
    let is_array = reader.array(|_, reader| {
        let id = reader.number()?.and_then(|number| u32::try_from(number.to_u64()?).ok());
        ids.push(i64::from(
            id.ok_or_else(|| invalid("\"input\" holds something that is no token id"))?,
        ));
        Ok(())
    })?;
    if !is_array || ids.is_empty() {
        return Err(invalid("\"input\" holds a row without token ids"));
    }
    Ok(ids)
}

/// The model's own tensors of ids: shorter rows are filled up where the mask says so.
fn tokens(rows: &[Vec<i64>], spec: &ModelSpec) -> Result<(Vec<NamedTensor>, u64), InferError> {
    let of = |name: &str| spec.input(name).filter(|it| it.datatype == DataType::Int64);
    let ids = of(IDS).ok_or_else(|| {
        let message = format!("the model takes no token ids, it has no input {IDS:?} of INT64");
        InferError::new(ErrorCode::Unsupported, message)
    })?;
    let mask = of(MASK);
    let width = rows.iter().map(Vec::len).max().unwrap_or_default();
    if mask.is_none() && rows.iter().any(|row| row.len() != width) {
        let message = format!("the model has no input {MASK:?}: send rows of one length");
        return Err(InferError::invalid_input(IDS, message));
    }
    let n_tokens: usize = rows.iter().map(Vec::len).sum();
    // One long row among many short ones would take far more room than the body that is booked for it.
    let n_filled = rows.len().saturating_mul(width);
    if n_filled > n_tokens.max(MAX_FILLED) {
        let message = format!(
            "{} rows filled up to {width} token ids are {n_filled}, at most {MAX_FILLED} are allowed: send rows of like lengths together",
            rows.len()
        );
        return Err(InferError::invalid_input(IDS, message)
            .with_mismatch(format_args!("at most {MAX_FILLED}"), n_filled));
    }
    let shape = Shape::from([rows.len(), width]);
    let tensor = |spec: &TensorSpec, value: &dyn Fn(&Vec<i64>, usize) -> i64| {
        let values = rows.iter().flat_map(|row| (0..width).map(|at| value(row, at)));
        let tensor = Tensor::from_vec(shape.clone(), values.collect::<Vec<i64>>());
        let tensor = tensor.map_err(|error| invalid(&error.to_string()))?;
        Ok::<_, InferError>(NamedTensor { name: spec.name.clone(), tensor })
    };
    let mut tensors = vec![tensor(ids, &|row, at| row.get(at).copied().unwrap_or_default())?];
    if let Some(mask) = mask {
        tensors.push(tensor(mask, &|row, at| i64::from(at < row.len()))?);
    }
    Ok((tensors, n_tokens as u64))
}

fn text<'b>(reader: &mut Reader<'b>, key: &str) -> Result<std::borrow::Cow<'b, str>, InferError> {
    match reader.text()? {
        Some(text) => Ok(text),
        None => {
            let got = reader.kind()?;
            let message = format!("{key:?} is {got}, expected a string");
            Err(invalid(&message).with_mismatch("a string", got))
        }
    }
}

pub(super) fn invalid(message: &str) -> InferError {
    InferError::new(ErrorCode::InvalidBody, message.to_owned())
}
