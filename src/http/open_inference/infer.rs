//! Inference: JSON with tensors in it or behind it, or a tensor alone.

use crate::http::App;
use crate::http::context::RequestContext;
use crate::http::exchange::{self, Decoded, Encoded, Wire};
use crate::http::path::{NamePath, VersionPath, named, versioned};
use crate::inference::{InferError, InferResponse, ModelSpec};
use crate::protocol::open_inference::{self, Plan};
use crate::tensor::Buffer;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use std::sync::Arc;

/// How many bytes of a body are JSON; the rest are tensors. Clients insist on neither this header nor
/// a content type where all is JSON, so neither is asked for.
const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// The header, which is read when the length of the body is known.
struct V2(Option<HeaderValue>);

impl V2 {
    fn json_len(&self, body_bytes: usize) -> Result<Option<usize>, InferError> {
        let length = |value: &HeaderValue| open_inference::json_len(value.as_bytes(), body_bytes);
        self.0.as_ref().map(length).transpose()
    }
}

impl Wire for V2 {
    type Plan = Plan;

    const PACKS: bool = true;

    fn new(headers: &HeaderMap) -> Result<Self, InferError> {
        Ok(Self(headers.get(JSON_LENGTH).cloned()))
    }

    fn text_bytes(&self, body_bytes: usize) -> usize {
        self.json_len(body_bytes).ok().flatten().unwrap_or(body_bytes)
    }

    fn decode(self, body: Buffer, spec: &ModelSpec) -> Result<Decoded<Plan>, InferError> {
        let json_len = self.json_len(body.len())?;
        let decoded = open_inference::decode(body, json_len, spec)?;
        Ok(Decoded { inputs: decoded.inputs, plan: decoded.plan, timeout: decoded.timeout })
    }

    fn encode(
        plan: Plan,
        response: &InferResponse,
        labels: &[Arc<str>],
    ) -> Result<Encoded, InferError> {
        let encoded = open_inference::encode(response, &plan, labels)?;
        Ok(match encoded.json_len {
            None => Encoded::json(encoded.bytes),
            Some(json_len) => Encoded {
                bytes: encoded.bytes,
                content_type: "application/octet-stream",
                header: Some((JSON_LENGTH, HeaderValue::from(json_len))),
            },
        })
    }
}

pub(super) async fn model(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
    request: Request,
) -> Response {
    let model = named(path).and_then(|model| app.repository.resolve(&model));
    exchange::answer::<V2>(&app, &context, model, request).await
}

pub(super) async fn version(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: VersionPath,
    request: Request,
) -> Response {
    let model = versioned(path).and_then(|model| app.repository.resolve(&model));
    exchange::answer::<V2>(&app, &context, model, request).await
}
