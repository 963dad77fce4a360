//! States of models and versions: what TensorFlow Serving and KServe say of them, in one document.

use crate::http::error::Failed;
use crate::http::path::{NamePath, NoVerb, VersionPath, name_and_label, named, numbered};
use crate::http::state::App;
use crate::inference::{ErrorCode, InferError, ModelName, Version};
use crate::repository::{VersionState, VersionStatus};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// The models, as KServe lists them.
pub(in crate::http) async fn list(State(app): State<App>) -> Json<Value> {
    let models = app.repository.list();
    let names: Vec<_> = models.iter().map(|model| model.name.as_str()).collect();
    Json(json!({"models": names}))
}

pub(in crate::http) async fn model(
    _: NoVerb,
    State(app): State<App>,
    path: NamePath,
) -> Result<Response, Failed> {
    Ok(Json(document(&app, &named(path)?.name, None)?).into_response())
}

pub(in crate::http) async fn version(
    _: NoVerb,
    State(app): State<App>,
    path: VersionPath,
) -> Result<Response, Failed> {
    let (name, version) = numbered(path)?;
    Ok(Json(document(&app, &name, Some(version))?).into_response())
}

pub(in crate::http) async fn label(
    _: NoVerb,
    State(app): State<App>,
    path: VersionPath,
) -> Result<Response, Failed> {
    let (name, label) = name_and_label(path)?;
    let model = app.repository.describe(&name);
    let version = model.and_then(|model| model.labels.get(&label).copied());
    let missing = || {
        let message = format!("no version of model {name:?} bears the label {label:?}");
        InferError::new(ErrorCode::VersionNotFound, message).with_model(&name)
    };
    Ok(Json(document(&app, &name, Some(version.ok_or_else(missing)?))?).into_response())
}

/// A model that is not ready is described with 200 as well: TensorFlow Serving's clients look for the
/// state of a version, and do not find it in an error.
fn document(app: &App, name: &ModelName, version: Option<Version>) -> Result<Value, InferError> {
    let model = app.model(name)?;
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

/// TensorFlow Serving's words. Why a version failed is for operators, and reported elsewhere.
fn state(version: &VersionStatus) -> Value {
    let (state, code, message) = match version.state {
        VersionState::Loading | VersionState::Warming | VersionState::Verifying => {
            ("LOADING", "OK", "")
        }
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
