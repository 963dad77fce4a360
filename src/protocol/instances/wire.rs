//! TensorFlow Serving's protocol as a wire.

use super::{Form, decode, encode};
use crate::inference::{ErrorCode, InferError, InferResponse, ModelSpec};
use crate::protocol::media_type::{CONTENT_TYPE, CSV, MediaType};
use crate::protocol::{Decoded, Encoded, Metadata, Wire};
use crate::tensor::Buffer;

/// JSON and nothing else.
#[derive(Debug)]
pub struct V1;

impl Wire for V1 {
    type Plan = Form;

    fn new(metadata: &impl Metadata) -> Result<Self, InferError> {
        match MediaType::parse(metadata.value(CONTENT_TYPE)) {
            MediaType::Json | MediaType::Text => Ok(Self),
            MediaType::Csv => Err(MediaType::unsupported(CSV, None)),
            MediaType::Other(got) => Err(MediaType::unsupported(&got, None)),
            MediaType::Bytes => {
                let message = "this route takes JSON only; /predict takes plain bytes as well";
                Err(InferError::new(ErrorCode::UnsupportedMediaType, message))
            }
        }
    }

    fn text_bytes(&self, body_bytes: usize) -> usize {
        body_bytes
    }

    fn decode(self, body: Buffer, spec: &ModelSpec) -> Result<Decoded<Form>, InferError> {
        decode(body.as_bytes(), spec)
    }

    fn encode(form: Form, response: &InferResponse) -> Result<Encoded, InferError> {
        Ok(Encoded::json(encode(response, form)))
    }
}
