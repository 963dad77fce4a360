//! The Open Inference Protocol as a wire.

use super::{Plan, decode, encode, json_len};
use crate::inference::{InferError, InferResponse, ModelSpec};
use crate::protocol::{Decoded, Encoded, Header, Metadata, Wire};
use crate::tensor::Buffer;

/// How many bytes of a body are JSON; the rest are tensors. Clients insist on neither this header nor
/// a content type where all is JSON, so neither is asked for.
const JSON_LENGTH: &str = "inference-header-content-length";

/// The header, which is read when the length of the body is known.
#[derive(Debug)]
pub struct V2(Option<Box<[u8]>>);

impl V2 {
    fn json_len(&self, body_bytes: usize) -> Result<Option<usize>, InferError> {
        self.0.as_ref().map(|value| json_len(value, body_bytes)).transpose()
    }
}

impl Wire for V2 {
    type Plan = Plan;

    const PACKS: bool = true;

    fn new(metadata: &impl Metadata) -> Result<Self, InferError> {
        Ok(Self(metadata.value(JSON_LENGTH).map(Box::from)))
    }

    fn text_bytes(&self, body_bytes: usize) -> usize {
        self.json_len(body_bytes).ok().flatten().unwrap_or(body_bytes)
    }

    fn decode(self, body: Buffer, spec: &ModelSpec) -> Result<Decoded<Plan>, InferError> {
        let json_len = self.json_len(body.len())?;
        decode(body, json_len, spec)
    }

    fn encode(plan: Plan, response: &InferResponse) -> Result<Encoded, InferError> {
        let classes = response.rankings().map(|rankings| &*rankings.classes);
        let answer = encode(response, &plan, classes.unwrap_or_default())?;
        Ok(match answer.json_len {
            None => Encoded::json(answer.bytes),
            Some(json_len) => Encoded {
                bytes: answer.bytes,
                content_type: "application/octet-stream",
                header: Some(Header { name: JSON_LENGTH, value: json_len.to_string() }),
            },
        })
    }
}
