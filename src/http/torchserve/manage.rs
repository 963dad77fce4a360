//! What changes models, as TorchServe asks for it.

use crate::http::App;
use crate::http::context::RequestContext;
use crate::http::manage::run;
use crate::http::path::{NamePath, VersionPath, named, numbered};
use crate::inference::{ErrorCode, InferError};
use crate::repository::Repository;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;

pub(super) async fn register(Extension(context): Extension<RequestContext>) -> Response {
    let message = "models are not registered by request: put the model's folder among the others \
                   and POST /manage/models/{model}/reload";
    context.fail(InferError::new(ErrorCode::Unsupported, message))
}

pub(super) async fn scale(Extension(context): Extension<RequestContext>) -> Response {
    let message = "workers are not scaled by request: set \"instances\" in the model's model.toml \
                   and POST /manage/models/{model}/reload";
    context.fail(InferError::new(ErrorCode::Unsupported, message))
}

pub(super) async fn unregister(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
) -> Response {
    let name = match named(path) {
        Ok(model) => model.name,
        Err(error) => return context.fail(error),
    };
    let done = format!("Model {:?} unregistered", name.as_str());
    answer(&context, run(&app, name, Repository::unload).await.map(|()| done))
}

pub(super) async fn unregister_version(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: VersionPath,
) -> Response {
    let (name, version) = match numbered(path) {
        Ok(asked) => asked,
        Err(error) => return context.fail(error),
    };
    let done = format!("Model {:?} unregistered", name.as_str());
    let unload = move |models: &Repository, name: &_| models.unload_version(name, version);
    answer(&context, run(&app, name, unload).await.map(|()| done))
}

pub(super) async fn set_default(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: VersionPath,
) -> Response {
    let (name, version) = match numbered(path) {
        Ok(asked) => asked,
        Err(error) => return context.fail(error),
    };
    let (model, number) = (name.as_str(), version.to_string());
    let done = format!("Default version successfully updated for model {model:?} to {number:?}");
    let set = move |models: &Repository, name: &_| models.set_default(name, version);
    answer(&context, run(&app, name, set).await.map(|()| done))
}

fn answer(context: &RequestContext, outcome: Result<String, InferError>) -> Response {
    match outcome {
        Ok(done) => Json(json!({"status": done})).into_response(),
        Err(error) => context.fail(error),
    }
}
