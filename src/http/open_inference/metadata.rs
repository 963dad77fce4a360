//! The server and its models as the protocol's core describes them.

use super::EXTENSIONS;
use crate::http::App;
use crate::http::context::RequestContext;
use crate::http::path::{NamePath, VersionPath, named, versioned};
use crate::inference::{ErrorCode, InferError, ModelName, ModelRef, TensorSpec};
use crate::repository::ModelHandle;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

/// `<project>_<format>`, the specification's word for what runs the model.
pub(super) const PLATFORM: &str = "pytorch_torchscript";

pub(super) async fn server() -> Response {
    let document =
        json!({"name": "sconce", "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS});
    Json(document).into_response()
}

pub(super) async fn live() -> Response {
    Json(json!({"live": true})).into_response()
}

pub(super) async fn ready(State(app): State<App>) -> Response {
    let ready = app.is_ready();
    readiness(ready, json!({"ready": ready}))
}

/// The models, as KServe lists them.
pub(super) async fn list(State(app): State<App>) -> Response {
    let models = app.repository.list();
    let names: Vec<_> = models.iter().map(|model| model.name.as_str()).collect();
    Json(json!({"models": names})).into_response()
}

pub(super) async fn model(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
) -> Response {
    describe(&app, &context, named(path))
}

pub(super) async fn version(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: VersionPath,
) -> Response {
    describe(&app, &context, versioned(path))
}

pub(super) async fn model_ready(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
) -> Response {
    tell_ready(&app, &context, named(path))
}

pub(super) async fn version_ready(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: VersionPath,
) -> Response {
    tell_ready(&app, &context, versioned(path))
}

fn describe(app: &App, context: &RequestContext, model: Result<ModelRef, InferError>) -> Response {
    let handle = model.and_then(|model| app.repository.resolve(&model));
    match handle {
        Ok(handle) => Json(document(&handle, &served(app, handle.name()))).into_response(),
        Err(error) => context.fail(error),
    }
}

fn tell_ready(
    app: &App,
    context: &RequestContext,
    model: Result<ModelRef, InferError>,
) -> Response {
    let resolved = model.and_then(|model| {
        let name = model.name.clone();
        match app.repository.resolve(&model) {
            Ok(handle) => Ok((name, handle.failure().is_none())),
            Err(error) if error.code == ErrorCode::ModelNotReady => Ok((name, false)),
            Err(error) => Err(error),
        }
    });
    match resolved {
        Ok((name, ready)) => readiness(ready, json!({"name": name.as_str(), "ready": ready})),
        Err(error) => context.fail(error),
    }
}

/// Not ready is 503, so that a probe needs to read no body. (Triton says 400.)
fn readiness(ready: bool, document: Value) -> Response {
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(document)).into_response()
}

/// The versions of a model that answer, lowest first.
fn served(app: &App, name: &ModelName) -> Vec<String> {
    let status = app.repository.describe(name);
    let versions = status.iter().flat_map(|status| &status.versions);
    let answering = versions.filter(|version| version.loaded.is_some());
    answering.map(|version| version.version.to_string()).collect()
}

fn document(handle: &ModelHandle, versions: &[String]) -> Value {
    let spec = handle.spec();
    json!({
        "name": handle.name().as_str(),
        "versions": versions,
        "platform": PLATFORM,
        "inputs": spec.inputs.iter().map(input).collect::<Vec<_>>(),
        "outputs": spec.outputs.iter().map(tensor).collect::<Vec<_>>(),
    })
}

/// An input: where nobody declared it, datatype and shape are those that are known to work.
fn input(spec: &TensorSpec) -> Value {
    let mut document = tensor(spec);
    if !spec.declared {
        document["parameters"] = json!({"declared": false});
    }
    document
}

fn tensor(spec: &TensorSpec) -> Value {
    json!({
        "name": &*spec.name,
        "datatype": spec.datatype.name(),
        "shape": wire_shape(spec),
    })
}

/// The sizes, -1 for one that varies. The protocol cannot say that nothing is known of a shape; one
/// that varies comes nearest.
pub(super) fn wire_shape(spec: &TensorSpec) -> Vec<i64> {
    spec.shape.to_wire().unwrap_or_else(|| vec![-1])
}
