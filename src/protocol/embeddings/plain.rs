//! The embeddings of text-embeddings-inference: `{"inputs": …}` in, a list of vectors out.

use super::decode::{embedding, input, invalid, whole};
use super::encode::vectors;
use crate::inference::{ErrorCode, InferError, InferResponse, ModelSpec};
use crate::protocol::Decoded;
use crate::protocol::json::{
    Dialect, open, write_float, write_key, write_list, write_string, write_text_member,
};

const EXPECTED: &str = "an object with \"inputs\"";

/// Reads a body for a model of this specification. Whether texts are cut and vectors are of length 1 is said by the model.
///
/// # Errors
///
/// `invalid_json` for text that is not one JSON document; `invalid_body` for a document of another form; `invalid_input` for
/// what the model does not take; `unsupported` for a model that gives no embeddings, and for vectors that are not to be normalized.
pub fn decode_plain(body: &[u8], spec: &ModelSpec) -> Result<Decoded<()>, InferError> {
    embedding(spec)?;
    let mut reader = open(body, Dialect::Strict, EXPECTED)?;
    let mut inputs = None;
    let is_object = reader.object(|key, reader| {
        match &*key {
            "inputs" if inputs.is_some() => return Err(invalid("\"inputs\" is given twice")),
            "inputs" => inputs = Some(input(reader, spec)?.0),
            "normalize" if reader.peek() == Some(b'f') => {
                let message = "\"normalize\" is false, but postprocess.normalize of model.toml decides whether vectors have length 1";
                return Err(InferError::new(ErrorCode::Unsupported, message));
            }
            _ => reader.skip(1)?,
        }
        Ok(())
    })?;
    Ok(Decoded::new(whole(reader, is_object, ("inputs", inputs), EXPECTED)?, ()))
}

/// Writes an answer: a list of vectors.
///
/// # Errors
///
/// `inference_failed` for an output that is not one vector for each row.
pub fn encode_plain(response: &InferResponse) -> Result<Vec<u8>, InferError> {
    let (numbers, size) = vectors(response)?;
    let mut out = Vec::with_capacity(numbers.len() * 12 + 64);
    write_list(&mut out, numbers.chunks(size), |out, vector| {
        write_list(out, vector, |out, number| write_float(out, *number));
    });
    Ok(out)
}

/// Writes the report of a failure.
#[must_use]
pub fn encode_plain_error(error: &InferError, status: u16) -> Vec<u8> {
    let kind = match status {
        429 | 503 => "Overloaded",
        400..=499 | 501 => "Validation",
        _ => "Backend",
    };
    let mut out = b"{".to_vec();
    write_key(&mut out, "error");
    write_string(&mut out, &error.message);
    write_text_member(&mut out, "error_type", kind);
    out.push(b'}');
    out
}
