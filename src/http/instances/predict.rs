//! Predictions.

use crate::http::App;
use crate::http::body::{MediaType, media_type};
use crate::http::context::RequestContext;
use crate::http::exchange::{self, Decoded, Encoded, Wire};
use crate::http::path::{NamePath, VersionPath, model_ref, segments};
use crate::inference::{ErrorCode, InferError, InferResponse, ModelRef, ModelSpec};
use crate::protocol::instances::{self, Form};
use crate::tensor::Buffer;
use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::ALLOW;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use std::sync::Arc;

/// What the protocol has beside `predict`. Nothing that is served has a signature for it.
const UNSUPPORTED: &[&str] = &["classify", "explain", "regress"];

struct V1;

impl Wire for V1 {
    type Plan = Form;

    fn new(headers: &HeaderMap) -> Result<Self, InferError> {
        match media_type(headers)? {
            MediaType::Json => Ok(Self),
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
        let decoded = instances::decode(body.as_bytes(), spec)?;
        Ok(Decoded { inputs: decoded.inputs, plan: decoded.form, timeout: None })
    }

    fn encode(
        form: Form,
        response: &InferResponse,
        _labels: &[Arc<str>],
    ) -> Result<Encoded, InferError> {
        Ok(Encoded::json(instances::encode(response, form)))
    }
}

pub(super) async fn model(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
    request: Request,
) -> Response {
    let asked = segments(path).map(|last| (last, None));
    answer(&app, &context, asked, request).await
}

pub(super) async fn version(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: VersionPath,
    request: Request,
) -> Response {
    let asked = segments(path).map(|(name, last)| (last, Some(name)));
    answer(&app, &context, asked, request).await
}

/// Answers what the last segment of the path asks for: a verb behind a version, which the name of
/// its model comes with, or behind a name.
async fn answer(
    app: &App,
    context: &RequestContext,
    asked: Result<(String, Option<String>), InferError>,
    request: Request,
) -> Response {
    let (last, name) = match asked {
        Ok(asked) => asked,
        Err(error) => return context.fail(error),
    };
    let (last, verb) = last.split_once(':').unwrap_or((&last, ""));
    if verb != "predict" {
        return refuse(context, verb);
    }
    let model: Result<ModelRef, InferError> = match &name {
        Some(name) => model_ref(name, Some(last)),
        None => model_ref(last, None),
    };
    let model = model.and_then(|model| app.repository.resolve(&model));
    exchange::answer::<V1>(app, context, model, request).await
}

fn refuse(context: &RequestContext, verb: &str) -> Response {
    if verb.is_empty() {
        let message = "a model is asked by GET, and predictions behind its name with \":predict\"";
        let mut response = context.fail(InferError::new(ErrorCode::MethodNotAllowed, message));
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET,HEAD"));
        return response;
    }
    match UNSUPPORTED.iter().find(|known| **known == verb) {
        Some(verb) => {
            let message = format!("{verb:?} is not supported, expected \":predict\"");
            context.fail(InferError::new(ErrorCode::Unsupported, message))
        }
        None => {
            let message = "there is no such verb, expected \":predict\"";
            context.fail(InferError::new(ErrorCode::RouteNotFound, message))
        }
    }
}
