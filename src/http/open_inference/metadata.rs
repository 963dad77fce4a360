//! The server and its models as the protocol's core describes them.

use crate::http::error::Failed;
use crate::http::path::{NamePath, VersionPath, named, versioned};
use crate::http::state::App;
use crate::inference::{ErrorCode, ModelName, ModelRef, TensorSpec};
use crate::repository::ModelHandle;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

/// What `/v2` says that is there beyond the protocol's core: no name without its routes.
const EXTENSIONS: &[&str] = &[
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
];

pub(in crate::http) async fn server() -> Json<Value> {
    Json(json!({"name": "sconce", "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS}))
}

pub(in crate::http) async fn live() -> Json<Value> {
    Json(json!({"live": true}))
}

pub(in crate::http) async fn ready(State(app): State<App>) -> (StatusCode, Json<Value>) {
    let ready = app.is_ready();
    readiness(ready, json!({"ready": ready}))
}

/// The models, as KServe lists them.
pub(in crate::http) async fn list(State(app): State<App>) -> Json<Value> {
    let models = app.repository.list();
    let names: Vec<_> = models.iter().map(|model| model.name.as_str()).collect();
    Json(json!({"models": names}))
}

pub(in crate::http) async fn model(
    State(app): State<App>,
    path: NamePath,
) -> Result<Json<Value>, Failed> {
    describe(&app, &named(path)?)
}

pub(in crate::http) async fn version(
    State(app): State<App>,
    path: VersionPath,
) -> Result<Json<Value>, Failed> {
    describe(&app, &versioned(path)?)
}

pub(in crate::http) async fn model_ready(
    State(app): State<App>,
    path: NamePath,
) -> Result<(StatusCode, Json<Value>), Failed> {
    is_ready(&app, &named(path)?)
}

pub(in crate::http) async fn version_ready(
    State(app): State<App>,
    path: VersionPath,
) -> Result<(StatusCode, Json<Value>), Failed> {
    is_ready(&app, &versioned(path)?)
}

fn describe(app: &App, model: &ModelRef) -> Result<Json<Value>, Failed> {
    let handle = app.repository.resolve(model)?;
    Ok(Json(document(&handle, &served(app, handle.name()))))
}

fn is_ready(app: &App, model: &ModelRef) -> Result<(StatusCode, Json<Value>), Failed> {
    let ready = match app.repository.resolve(model) {
        Ok(handle) => handle.failure().is_none(),
        Err(error) if error.code == ErrorCode::ModelNotReady => false,
        Err(error) => return Err(error.into()),
    };
    Ok(readiness(ready, json!({"name": model.name.as_str(), "ready": ready})))
}

/// Not ready is 503, so that a probe needs to read no body. (Triton says 400.)
fn readiness(ready: bool, document: Value) -> (StatusCode, Json<Value>) {
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(document))
}

/// The versions of a model that answer, lowest first.
fn served(app: &App, name: &ModelName) -> Vec<String> {
    let status = app.repository.describe(name);
    let versions = status.iter().flat_map(|status| &status.versions);
    let answering = versions.filter(|version| version.loaded.is_some());
    answering.map(|version| version.version.to_string()).collect()
}

fn document(handle: &ModelHandle, versions: &[String]) -> Value {
    let spec = handle.interface();
    json!({
        "name": handle.name().as_str(),
        "versions": versions,
        "platform": handle.facts().format.platform(),
        "inputs": spec.asked().map(input).collect::<Vec<_>>(),
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
