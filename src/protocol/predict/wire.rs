//! The native protocol as a wire.

use super::{Form, decode, decode_raw, encode};
use crate::inference::{Content, InferError, InferResponse, ModelSpec};
use crate::protocol::forms::decode_csv;
use crate::protocol::media_type::{CONTENT_TYPE, MediaType};
use crate::protocol::{Decoded, Encoded, Metadata, Wire};
use crate::tensor::Buffer;

/// JSON, or the elements of the one input and nothing else, which may be a file.
#[derive(Debug)]
pub struct Native(MediaType);

impl Wire for Native {
    type Plan = Form;

    fn new(metadata: &impl Metadata) -> Result<Self, InferError> {
        Ok(Self(MediaType::parse(metadata.value(CONTENT_TYPE))))
    }

    fn text_bytes(&self, body_bytes: usize) -> usize {
        match self.0 {
            MediaType::Json | MediaType::Text | MediaType::Csv | MediaType::Other(_) => body_bytes,
            MediaType::Bytes => 0,
        }
    }

    fn decode(self, body: Buffer, spec: &ModelSpec) -> Result<Decoded<Form>, InferError> {
        let content = spec.contract.content;
        match self.0 {
            MediaType::Json => decode(body.as_bytes(), spec),
            MediaType::Text if content == Some(Content::Text) && !is_document(&body) => {
                decode_raw(body, spec)
            }
            MediaType::Text => decode(body.as_bytes(), spec),
            MediaType::Bytes => decode_raw(body, spec),
            MediaType::Csv => decode_csv(body.as_bytes(), spec),
            MediaType::Other(got)
                if content == Some(Content::Image) && got.starts_with("image/") =>
            {
                decode_raw(body, spec)
            }
            MediaType::Other(got) => Err(MediaType::unsupported(&got, content)),
        }
    }

    fn encode(form: Form, response: &InferResponse) -> Result<Encoded, InferError> {
        Ok(Encoded::json(encode(response, form)))
    }
}

/// Whether a text begins as the body of a prediction does.
fn is_document(body: &Buffer) -> bool {
    body.as_bytes().trim_ascii_start().starts_with(b"{")
}
