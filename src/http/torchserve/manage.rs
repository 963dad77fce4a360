//! What changes models, as TorchServe asks for it.

use crate::http::error::Failed;
use crate::http::manage::run;
use crate::http::path::{NamePath, VersionPath, named, numbered};
use crate::http::state::App;
use crate::inference::{ErrorCode, InferError};
use crate::repository::Repository;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

pub(in crate::http) async fn register() -> Failed {
    let message = "models are not registered by request: put the model's folder among the others \
                   and POST /manage/models/{model}/reload";
    InferError::new(ErrorCode::Unsupported, message).into()
}

pub(in crate::http) async fn scale() -> Failed {
    let message = "workers are not scaled by request: set \"instances\" in the model's model.toml \
                   and POST /manage/models/{model}/reload";
    InferError::new(ErrorCode::Unsupported, message).into()
}

pub(in crate::http) async fn unregister(
    State(app): State<App>,
    path: NamePath,
) -> Result<Json<Value>, Failed> {
    let name = named(path)?.name;
    let done = format!("Model {:?} unregistered", name.as_str());
    run(&app, name, Repository::unload).await?;
    Ok(status(&done))
}

pub(in crate::http) async fn unregister_version(
    State(app): State<App>,
    path: VersionPath,
) -> Result<Json<Value>, Failed> {
    let (name, version) = numbered(path)?;
    let done = format!("Model {:?} unregistered", name.as_str());
    let unload = move |models: &Repository, name: &_| models.unload_version(name, version);
    run(&app, name, unload).await?;
    Ok(status(&done))
}

pub(in crate::http) async fn set_default(
    State(app): State<App>,
    path: VersionPath,
) -> Result<Json<Value>, Failed> {
    let (name, version) = numbered(path)?;
    let (model, number) = (name.as_str(), version.to_string());
    let done = format!("Default version successfully updated for model {model:?} to {number:?}");
    let set = move |models: &Repository, name: &_| models.set_default(name, version);
    run(&app, name, set).await?;
    Ok(status(&done))
}

fn status(done: &str) -> Json<Value> {
    Json(json!({"status": done}))
}
