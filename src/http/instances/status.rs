//! States of models and versions: what TensorFlow Serving and KServe say of them, in one document.

use crate::http::App;
use crate::http::context::RequestContext;
use crate::http::path::{NamePath, VersionPath, named, numbered};
use crate::inference::{ErrorCode, InferError, ModelName, Version};
use crate::repository::{VersionState, VersionStatus};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

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
    answer(&app, &context, named(path).map(|model| (model.name, None)))
}

pub(super) async fn version(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: VersionPath,
) -> Response {
    answer(&app, &context, numbered(path).map(|(name, version)| (name, Some(version))))
}

fn answer(
    app: &App,
    context: &RequestContext,
    asked: Result<(ModelName, Option<Version>), InferError>,
) -> Response {
    match asked.and_then(|(name, version)| document(app, &name, version)) {
        Ok(document) => Json(document).into_response(),
        Err(error) => context.fail(error),
    }
}

/// A model that is not ready is told of with 200 as well: TensorFlow Serving's clients look for the
/// state of a version, and do not find it in an error.
fn document(app: &App, name: &ModelName, version: Option<Version>) -> Result<Value, InferError> {
    let model = app.repository.describe(name).ok_or_else(|| {
        InferError::new(ErrorCode::ModelNotFound, format!("there is no model {name:?}"))
    })?;
    let wanted = |status: &&VersionStatus| version.is_none_or(|version| version == status.version);
    let versions: Vec<_> = model.versions.iter().filter(wanted).collect();
    if let (Some(version), true) = (version, versions.is_empty()) {
        let message = format!("model {name:?} has no version {version}");
        return Err(InferError::new(ErrorCode::VersionNotFound, message).with_model(name));
    }
    let ready = versions.iter().any(|version| version.state == VersionState::Ready);
    Ok(json!({
        "name": name.as_str(),
        "ready": ready,
        "model_version_status": versions.into_iter().map(state).collect::<Vec<_>>(),
    }))
}

/// TensorFlow Serving's words. Why a version failed is for operators, and told elsewhere.
fn state(version: &VersionStatus) -> Value {
    let (state, code, message) = match version.state {
        VersionState::Loading => ("LOADING", "OK", ""),
        VersionState::Ready => ("AVAILABLE", "OK", ""),
        VersionState::Draining => ("UNLOADING", "OK", ""),
        VersionState::Unloaded => ("END", "OK", ""),
        VersionState::Failed => ("END", "FAILED_PRECONDITION", "the version could not be served"),
    };
    json!({
        "version": version.version.to_string(),
        "state": state,
        "status": {"error_code": code, "error_message": message},
    })
}
