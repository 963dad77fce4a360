//! A body to tensors.

use super::{Envelope, Media, multipart};
use crate::inference::{Content, ErrorCode, InferError, ModelSpec, NamedTensor, TensorSpec};
use crate::protocol::Decoded;
use crate::protocol::forms::{
    decode_csv, one_row, raw_tensor, raw_text, rows, sole_input, tensors,
};
use crate::protocol::json::{Dialect, Reader, TensorDecoder, empty_body, excerpt, open};
use crate::tensor::{Buffer, DataType};

const EXPECTED: &str = "exactly one of \"data\", \"features\", \"instances\", \"inputs\"";

/// Reads a body for a model of this specification.
///
/// # Errors
///
/// `invalid_json` for text that is not one JSON document, or is nested too deep; `invalid_body` for
/// a document or a form that is not one of the protocol's, or is cut off; `invalid_input` for a
/// tensor that the model does not take.
pub fn decode(
    body: Buffer,
    media: &Media,
    spec: &ModelSpec,
) -> Result<Decoded<Envelope>, InferError> {
    if body.is_empty() {
        return Err(empty_body("JSON, a form, or the elements of the one input"));
    }
    if media.is_json(body.as_bytes()) {
        return json(body.as_bytes(), spec);
    }
    if let Media::Form { boundary } = media {
        return multipart::decode(body, boundary, spec);
    }
    if *media == Media::Csv {
        let Decoded { inputs, .. } = decode_csv(body.as_bytes(), spec)?;
        return Ok(Decoded::new(inputs, Envelope::Rows));
    }
    let Some(input) = spec.sole_input() else {
        let message = "plain bytes need a model with just one required input: send JSON, or a form with a part for each";
        return Err(InferError::new(ErrorCode::InvalidBody, message));
    };
    let tensor = plain(body, input, spec)?;
    let envelope = envelope(is_one_row(&tensor));
    Ok(Decoded::new(vec![tensor], envelope))
}

/// How rows are answered.
pub(super) fn envelope(is_one_row: bool) -> Envelope {
    if is_one_row { Envelope::Row } else { Envelope::Rows }
}

/// The bytes of one input.
pub(super) fn plain(
    bytes: Buffer,
    input: &TensorSpec,
    spec: &ModelSpec,
) -> Result<NamedTensor, InferError> {
    match input.datatype {
        DataType::Bytes => raw_text(bytes.as_bytes(), input),
        _ => raw_tensor(bytes, input, spec),
    }
}

/// Whether a tensor that came with all its dimensions is that of a single row.
pub(super) fn is_one_row(input: &NamedTensor) -> bool {
    input.tensor.n_rows() == 1
}

/// The value of one input that says by its nesting whether it is one row or the list of rows, and
/// which it is. Without a known shape it is the list.
pub(super) fn bare(
    reader: &mut Reader<'_>,
    input: &TensorSpec,
    spec: &ModelSpec,
) -> Result<(NamedTensor, bool), InferError> {
    let rank = input.shape.dims().map(<[_]>::len);
    if rank == Some(reader.depth()? + 1) {
        let mut tensor = TensorDecoder::for_one_row(input);
        tensor.row(reader)?;
        return Ok((tensor.finish()?, true));
    }
    let mut tensor = TensorDecoder::new(input, spec.max_input_rows());
    tensor.whole(reader)?;
    Ok((tensor.finish()?, rank == Some(0)))
}

fn json(body: &[u8], spec: &ModelSpec) -> Result<Decoded<Envelope>, InferError> {
    let mut reader = open(body, Dialect::Extended, EXPECTED)?;
    let decoded = if reader.peek() == Some(b'{') && !reader.is_at_base64() {
        members(&mut reader, spec)?
    } else {
        unnamed(&mut reader, "a value without a name", spec)?
    };
    reader.end()?;
    Ok(decoded)
}

/// An object; the reader stands at it.
fn members(reader: &mut Reader<'_>, spec: &ModelSpec) -> Result<Decoded<Envelope>, InferError> {
    reader.take(b'{');
    let mut decoded: Option<(String, Decoded<Envelope>)> = None;
    let mut goes_on = !reader.take(b'}');
    while goes_on {
        let key = reader.key()?;
        if let Some((before, _)) = &decoded {
            let got = format!("{before:?} and {:?}", excerpt(&key));
            return Err(invalid_body(&format!("the body has both {got}"), got));
        }
        let read = match &*key {
            "data" => unnamed(reader, "\"data\"", spec)?,
            "features" => Decoded::new(one_row(reader, spec)?, Envelope::Row),
            "instances" => Decoded::new(rows(reader, spec)?, Envelope::Predictions),
            "inputs" => Decoded::new(tensors(reader, spec)?, Envelope::Whole),
            other => {
                let got = excerpt(other);
                return Err(invalid_body(&format!("unknown member {got:?}"), got));
            }
        };
        decoded = Some((key.into_owned(), read));
        goes_on = reader.goes_on(b'}')?;
    }
    let decoded = decoded.map(|(_, decoded)| decoded);
    decoded.ok_or_else(|| invalid_body("the body has no members", "none".to_owned()))
}

/// One row of the one input or the list of its rows.
fn unnamed(
    reader: &mut Reader<'_>,
    what: &str,
    spec: &ModelSpec,
) -> Result<Decoded<Envelope>, InferError> {
    if spec.contract.content == Some(Content::Row) {
        return Ok(match reader.peek() {
            Some(b'{') => Decoded::new(one_row(reader, spec)?, Envelope::Row),
            _ => Decoded::new(rows(reader, spec)?, Envelope::Rows),
        });
    }
    let input = sole_input(spec, what, "use \"inputs\"")?;
    let (tensor, is_one_row) = bare(reader, input, spec)?;
    Ok(Decoded::new(vec![tensor], envelope(is_one_row)))
}

fn invalid_body(what: &str, got: String) -> InferError {
    InferError::new(ErrorCode::InvalidBody, format!("{what}, expected {EXPECTED}"))
        .with_mismatch(EXPECTED, got)
}
