//! Both protocols as wires.

use super::{VectorPlan, decode, decode_plain, encode, encode_plain};
use crate::inference::{InferError, InferResponse, ModelSpec};
use crate::protocol::media_type::{CONTENT_TYPE, CSV, MediaType};
use crate::protocol::{Decoded, Encoded, Metadata, Wire};
use crate::tensor::Buffer;

/// OpenAI's: JSON and nothing else.
#[derive(Debug)]
pub struct OpenAi;

/// That of text-embeddings-inference: JSON and nothing else.
#[derive(Debug)]
pub struct PlainEmbeddings;

/// Refuses a body that says it is something else.
fn check_json(metadata: &impl Metadata) -> Result<(), InferError> {
    match MediaType::parse(metadata.value(CONTENT_TYPE)) {
        MediaType::Json | MediaType::Text => Ok(()),
        MediaType::Bytes => Err(MediaType::unsupported("application/octet-stream", None)),
        MediaType::Csv => Err(MediaType::unsupported(CSV, None)),
        MediaType::Other(got) => Err(MediaType::unsupported(&got, None)),
    }
}

impl Wire for OpenAi {
    type Plan = VectorPlan;

    fn new(metadata: &impl Metadata) -> Result<Self, InferError> {
        check_json(metadata).map(|()| Self)
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

impl Wire for PlainEmbeddings {
    type Plan = ();

    fn new(metadata: &impl Metadata) -> Result<Self, InferError> {
        check_json(metadata).map(|()| Self)
    }

    fn text_bytes(&self, body_bytes: usize) -> usize {
        body_bytes
    }

    fn decode(self, body: Buffer, spec: &ModelSpec) -> Result<Decoded<()>, InferError> {
        decode_plain(body.as_bytes(), spec)
    }

    fn encode((): (), response: &InferResponse) -> Result<Encoded, InferError> {
        encode_plain(response).map(Encoded::json)
    }
}
