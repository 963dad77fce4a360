//! What changes state; on the management listener only.

use super::context::RequestContext;
use super::predict::{NamePath, named};
use super::{App, describe};
use crate::inference::{ErrorCode, InferError};
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
    // Detached from this request: a client that hangs up must not leave a model half loaded.
    let repository = app.repository.clone();
    let reloaded = tokio::task::spawn_blocking(move || repository.reload(&model.name)).await;
    match reloaded {
        Ok(Ok(status)) => Json(describe::model(&status)).into_response(),
        Ok(Err(error)) => context.fail(InferError::new(error.code(), error.to_string())),
        Err(_) => {
            context.fail(InferError::new(ErrorCode::Internal, "the reload ended unexpectedly"))
        }
    }
}
