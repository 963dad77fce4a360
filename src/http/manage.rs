//! What changes state; on the management listener only.

use super::context::RequestContext;
use super::path::{NamePath, VersionPath, named, numbered};
use super::{App, describe};
use crate::inference::{ErrorCode, InferError, ModelName, Version};
use crate::repository::{Repository, RepositoryError};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

/// Reads a model's folder again; answers when what it holds serves.
pub(super) async fn reload(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
) -> Response {
    let name = named(path).map(|model| model.name);
    change(&app, &context, name, |models, name| models.reload(name).map(drop)).await
}

/// Lets a model go; it finishes what it has after this answer.
pub(super) async fn unload(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
) -> Response {
    let name = named(path).map(|model| model.name);
    change(&app, &context, name, Repository::unload).await
}

/// Makes the highest version the default again.
pub(super) async fn clear_default(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
) -> Response {
    let name = named(path).map(|model| model.name);
    change(&app, &context, name, Repository::clear_default).await
}

/// Lets one version go; it finishes what it has after this answer.
pub(super) async fn unload_version(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: VersionPath,
) -> Response {
    change_version(&app, &context, path, Repository::unload_version).await
}

/// Makes a version the default.
pub(super) async fn set_default(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: VersionPath,
) -> Response {
    change_version(&app, &context, path, Repository::set_default).await
}

async fn change_version(
    app: &App,
    context: &RequestContext,
    path: VersionPath,
    order: fn(&Repository, &ModelName, Version) -> Result<(), RepositoryError>,
) -> Response {
    match numbered(path) {
        Ok((name, version)) => {
            let order = move |models: &Repository, name: &ModelName| order(models, name, version);
            change(app, context, Ok(name), order).await
        }
        Err(error) => context.fail(error),
    }
}

/// Carries an order out and answers with what the model is afterwards.
async fn change(
    app: &App,
    context: &RequestContext,
    name: Result<ModelName, InferError>,
    order: impl FnOnce(&Repository, &ModelName) -> Result<(), RepositoryError> + Send + 'static,
) -> Response {
    let name = match name {
        Ok(name) => name,
        Err(error) => return context.fail(error),
    };
    let changed = run(app, name, |models, name| {
        order(models, name)?;
        // Models are forgotten at the end of the server alone.
        models.describe(name).ok_or(RepositoryError::Draining)
    });
    match changed.await {
        Ok(status) => Json(describe::model(&status)).into_response(),
        Err(error) => context.fail(error),
    }
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
