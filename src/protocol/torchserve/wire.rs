//! TorchServe's protocol as a wire.

use super::{Envelope, Media, decode, encode};
use crate::inference::{InferError, InferResponse, ModelSpec};
use crate::protocol::media_type::CONTENT_TYPE;
use crate::protocol::{Decoded, Encoded, Metadata, Wire};
use crate::tensor::Buffer;

/// Whatever the content type says.
#[derive(Debug)]
pub struct TorchServe(Media);

impl Wire for TorchServe {
    type Plan = Envelope;

    fn new(metadata: &impl Metadata) -> Result<Self, InferError> {
        let content_type = metadata.value(CONTENT_TYPE).map(String::from_utf8_lossy);
        Media::parse(content_type.as_deref()).map(Self)
    }

    fn text_bytes(&self, body_bytes: usize) -> usize {
        match self.0 {
            Media::Plain => 0,
            Media::Json | Media::Unstated | Media::Csv | Media::Form { .. } => body_bytes,
        }
    }

    fn decode(self, body: Buffer, spec: &ModelSpec) -> Result<Decoded<Envelope>, InferError> {
        decode(body, &self.0, spec)
    }

    fn encode(envelope: Envelope, response: &InferResponse) -> Result<Encoded, InferError> {
        Ok(Encoded::json(encode(response, envelope)))
    }
}
