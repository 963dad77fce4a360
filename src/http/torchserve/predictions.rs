//! Predictions: JSON, plain bytes, forms.

use crate::http::App;
use crate::http::context::RequestContext;
use crate::http::exchange::{self, Decoded, Encoded, Wire};
use crate::http::path::{NamePath, VersionPath, named, versioned};
use crate::inference::{InferError, InferResponse, ModelSpec};
use crate::protocol::torchserve::{self, Answer, Media};
use crate::tensor::Buffer;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use std::sync::Arc;

struct TorchServe(Media);

impl Wire for TorchServe {
    type Plan = Answer;

    fn new(headers: &HeaderMap) -> Result<Self, InferError> {
        let content_type = headers.get(CONTENT_TYPE);
        let content_type = content_type.map(|value| String::from_utf8_lossy(value.as_bytes()));
        Media::parse(content_type.as_deref()).map(Self)
    }

    fn text_bytes(&self, body_bytes: usize) -> usize {
        match self.0 {
            Media::Plain => 0,
            Media::Json | Media::Unstated | Media::Form { .. } => body_bytes,
        }
    }

    fn decode(self, body: Buffer, spec: &ModelSpec) -> Result<Decoded<Answer>, InferError> {
        let decoded = torchserve::decode(body, &self.0, spec)?;
        Ok(Decoded { inputs: decoded.inputs, plan: decoded.answer, timeout: None })
    }

    fn encode(
        answer: Answer,
        response: &InferResponse,
        _labels: &[Arc<str>],
    ) -> Result<Encoded, InferError> {
        Ok(Encoded::json(torchserve::encode(response, answer)))
    }
}

pub(super) async fn model(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
    request: Request,
) -> Response {
    let model = named(path).and_then(|model| app.repository.resolve(&model));
    exchange::answer::<TorchServe>(&app, &context, model, request).await
}

pub(super) async fn version(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: VersionPath,
    request: Request,
) -> Response {
    let model = versioned(path).and_then(|model| app.repository.resolve(&model));
    exchange::answer::<TorchServe>(&app, &context, model, request).await
}
