//! The native protocol as a wire.

use super::{Form, decode, decode_raw, encode};
use crate::inference::{InferError, InferResponse, ModelSpec};
use crate::protocol::media_type::{CONTENT_TYPE, MediaType};
use crate::protocol::{Decoded, Encoded, Metadata, Wire};
use crate::tensor::Buffer;

/// JSON, or the elements of the one input and nothing else.
#[derive(Debug)]
pub struct Native(MediaType);

impl Wire for Native {
    type Plan = Form;

    fn new(metadata: &impl Metadata) -> Result<Self, InferError> {
        MediaType::parse(metadata.value(CONTENT_TYPE)).map(Self)
    }

    fn text_bytes(&self, body_bytes: usize) -> usize {
        match self.0 {
            MediaType::Json => body_bytes,
            MediaType::Bytes => 0,
        }
    }

    fn decode(self, body: Buffer, spec: &ModelSpec) -> Result<Decoded<Form>, InferError> {
        match self.0 {
            MediaType::Json => decode(body.as_bytes(), spec),
            MediaType::Bytes => decode_raw(body, spec),
        }
    }

    fn encode(form: Form, response: &InferResponse) -> Result<Encoded, InferError> {
        Ok(Encoded::json(encode(response, form)))
    }
}
