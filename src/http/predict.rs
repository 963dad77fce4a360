//! The native prediction routes.

use super::App;
use super::body::{MediaType, media_type};
use super::context::RequestContext;
use super::exchange::{self, Decoded, Encoded, Wire};
use super::path::{NamePath, VersionPath, named, versioned};
use crate::inference::{InferError, InferResponse, ModelSpec};
use crate::protocol::predict::{self, Form};
use crate::tensor::Buffer;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use std::sync::Arc;

/// JSON, or the elements of the one input and nothing else.
struct Native(MediaType);

impl Wire for Native {
    type Plan = Form;

    fn new(headers: &HeaderMap) -> Result<Self, InferError> {
        media_type(headers).map(Self)
    }

    fn text_bytes(&self, body_bytes: usize) -> usize {
        match self.0 {
            MediaType::Json => body_bytes,
            MediaType::Bytes => 0,
        }
    }

    fn decode(self, body: Buffer, spec: &ModelSpec) -> Result<Decoded<Form>, InferError> {
        let decoded = match self.0 {
            MediaType::Json => predict::decode(body.as_bytes(), spec)?,
            MediaType::Bytes => predict::decode_raw(body, spec)?,
        };
        Ok(Decoded { inputs: decoded.inputs, plan: decoded.form, timeout: None })
    }

    fn encode(
        form: Form,
        response: &InferResponse,
        _labels: &[Arc<str>],
    ) -> Result<Encoded, InferError> {
        Ok(Encoded::json(predict::encode(response, form)))
    }
}

pub(super) async fn default_model(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    let model = app.repository.resolve_default();
    exchange::answer::<Native>(&app, &context, model, request).await
}

pub(super) async fn model(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
    request: Request,
) -> Response {
    let model = named(path).and_then(|model| app.repository.resolve(&model));
    exchange::answer::<Native>(&app, &context, model, request).await
}

pub(super) async fn version(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: VersionPath,
    request: Request,
) -> Response {
    let model = versioned(path).and_then(|model| app.repository.resolve(&model));
    exchange::answer::<Native>(&app, &context, model, request).await
}
