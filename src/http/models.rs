//! What is served: the list of models, and each model in full.

use super::context::RequestContext;
use super::path::{NamePath, named};
use super::{App, describe};
use crate::inference::{ErrorCode, InferError};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

pub(super) async fn list(State(app): State<App>) -> Response {
    let models: Vec<Value> = app.repository.list().iter().map(describe::summary).collect();
    Json(json!({"models": models})).into_response()
}

pub(super) async fn describe(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    name: NamePath,
) -> Response {
    let model = named(name).and_then(|model| {
        let missing = || {
            InferError::new(ErrorCode::ModelNotFound, format!("there is no model {:?}", model.name))
        };
        app.repository.describe(&model.name).ok_or_else(missing)
    });
    match model {
        Ok(model) => Json(describe::model(&model)).into_response(),
        Err(error) => context.fail(error),
    }
}
