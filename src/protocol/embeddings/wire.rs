//! OpenAI's protocol as a wire.

use super::{VectorPlan, decode, encode};
use crate::inference::{InferError, InferResponse, ModelSpec};
use crate::protocol::media_type::{CONTENT_TYPE, CSV, MediaType};
use crate::protocol::{Decoded, Encoded, Metadata, Wire};
use crate::tensor::Buffer;

/// JSON and nothing else.
#[derive(Debug)]
pub struct OpenAi;

impl Wire for OpenAi {
    type Plan = VectorPlan;

    fn new(metadata: &impl Metadata) -> Result<Self, InferError> {
        match MediaType::parse(metadata.value(CONTENT_TYPE)) {
            MediaType::Json | MediaType::Text => Ok(Self),
            MediaType::Bytes => Err(MediaType::unsupported("application/octet-stream", None)),
            MediaType::Csv => Err(MediaType::unsupported(CSV, None)),
            MediaType::Other(got) => Err(MediaType::unsupported(&got, None)),
        }
    }

    fn text_bytes(&self, body_bytes: usize) -> usize {
        body_bytes
    }

    fn decode(self, body: Buffer, spec: &ModelSpec) -> Result<Decoded<VectorPlan>, InferError> {
        decode(body.as_bytes(), spec)
    }

    fn encode(plan: VectorPlan, response: &InferResponse) -> Result<Encoded, InferError> {
        encode(response, plan).map(Encoded::json)
    }
}
