//! What changes state; on the management listener only.

use super::context::RequestContext;
use super::path::{NamePath, named};
use super::{App, describe};
use crate::inference::{ErrorCode, InferError, ModelName};
use crate::repository::{Repository, RepositoryError};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

/// Reads a model's folder again; answers when what it holds serves.
pub(super) async fn reload(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    name: NamePath,
) -> Response {
    let model = match named(name) {
        Ok(model) => model,
        Err(error) => return context.fail(error),
    };
    match run(&app, model.name, Repository::reload).await {
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
    match tokio::task::spawn_blocking(move || transition(&repository, &model)).await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(error)) => Err(InferError::new(error.code(), error.to_string()).with_model(name)),
        Err(_) => Err(InferError::new(ErrorCode::Internal, "the transition ended unexpectedly")),
    }
}
