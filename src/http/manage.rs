//! What changes state; on the management listener only.

use super::describe;
use super::error::Failed;
use super::path::{
    NamePath, VersionPath, label_of, model_name, name_and_label, named, numbered, segments,
    version_of,
};
use super::state::App;
use crate::inference::{ErrorCode, InferError, ModelName, Version};
use crate::repository::{Repository, RepositoryError};
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde_json::Value;

/// Reads a model's folder again; answers when what it holds serves.
pub(super) async fn reload(State(app): State<App>, path: NamePath) -> Result<Json<Value>, Failed> {
    let name = named(path)?.name;
    change(&app, name, |models, name| models.reload(name).map(drop)).await
}

/// Lets a model go; it finishes what it has after this answer.
pub(super) async fn unload(State(app): State<App>, path: NamePath) -> Result<Json<Value>, Failed> {
    let name = named(path)?.name;
    change(&app, name, Repository::unload).await
}

/// Makes the highest version the default again.
pub(super) async fn clear_default(
    State(app): State<App>,
    path: NamePath,
) -> Result<Json<Value>, Failed> {
    let name = named(path)?.name;
    change(&app, name, Repository::clear_default).await
}

/// Lets one version go; it finishes what it has after this answer.
pub(super) async fn unload_version(
    State(app): State<App>,
    path: VersionPath,
) -> Result<Json<Value>, Failed> {
    change_version(&app, path, Repository::unload_version).await
}

/// Makes a version the default.
pub(super) async fn set_default(
    State(app): State<App>,
    path: VersionPath,
) -> Result<Json<Value>, Failed> {
    change_version(&app, path, Repository::set_default).await
}

/// Goes back from a version.
pub(super) async fn reject(
    State(app): State<App>,
    path: VersionPath,
) -> Result<Json<Value>, Failed> {
    let reject = |models: &Repository, name: &ModelName, version| {
        models.reject(name, version, "an operator rejected it")
    };
    change_version(&app, path, reject).await
}

/// Takes the rejection of a version back.
pub(super) async fn accept(
    State(app): State<App>,
    path: VersionPath,
) -> Result<Json<Value>, Failed> {
    change_version(&app, path, Repository::accept).await
}

/// Has a label name a version.
pub(super) async fn set_label(
    State(app): State<App>,
    path: Result<Path<(String, String, String)>, PathRejection>,
) -> Result<Json<Value>, Failed> {
    let (name, version, label) = segments(path)?;
    let name = model_name(&name)?;
    let version = version_of(&name, &version)?;
    let label = label_of(&name, &label)?;
    change(&app, name, move |models, name| models.set_label(name, &label, version)).await
}

/// Has a label name nothing any more.
pub(super) async fn remove_label(
    State(app): State<App>,
    path: VersionPath,
) -> Result<Json<Value>, Failed> {
    let (name, label) = name_and_label(path)?;
    change(&app, name, move |models, name| models.remove_label(name, &label)).await
}

pub(super) async fn change_version(
    app: &App,
    path: VersionPath,
    order: fn(&Repository, &ModelName, Version) -> Result<(), RepositoryError>,
) -> Result<Json<Value>, Failed> {
    let (name, version) = numbered(path)?;
    change(app, name, move |models, name| order(models, name, version)).await
}

/// Carries an order out and answers with what the model is afterwards.
pub(super) async fn change(
    app: &App,
    name: ModelName,
    order: impl FnOnce(&Repository, &ModelName) -> Result<(), RepositoryError> + Send + 'static,
) -> Result<Json<Value>, Failed> {
    let status = run(app, name, |models, name| {
        order(models, name)?;
        // Models are forgotten at the end of the server alone.
        models.describe(name).ok_or(RepositoryError::Draining)
    });
    Ok(Json(describe::model(&status.await?)))
}

/// Runs a transition of a model to its end, detached from its request: a client that hangs up must
/// not leave a model half loaded.
pub(super) async fn run<T: Send + 'static>(
    app: &App,
    name: ModelName,
    transition: impl FnOnce(&Repository, &ModelName) -> Result<T, RepositoryError> + Send + 'static,
) -> Result<T, InferError> {
    let repository = app.repository.clone();
    let model = name.clone();
    let begun = repository.detached(move |repository| transition(repository, &model));
    let outcome = match begun {
        Ok(outcome) => outcome.await,
        Err(error) => Ok(Err(error)),
    };
    match outcome {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(error)) => Err(InferError::new(error.code(), error.to_string()).with_model(name)),
        Err(_) => Err(InferError::new(ErrorCode::Internal, "the transition ended unexpectedly")),
    }
}
