//! What is served: the list of models, and each model in full.

use super::context::RequestContext;
use super::describe::Audience;
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

/// A model for everybody.
pub(super) async fn describe(
    app: State<App>,
    context: Extension<RequestContext>,
    name: NamePath,
) -> Response {
    describe_for(Audience::Everybody, app, context, name)
}

/// A model for operators.
pub(super) async fn describe_whole(
    app: State<App>,
    context: Extension<RequestContext>,
    name: NamePath,
) -> Response {
    describe_for(Audience::Operators, app, context, name)
}

fn describe_for(
    audience: Audience,
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
        Ok(model) => Json(describe::model_for(audience, &model)).into_response(),
        Err(error) => context.fail(error),
    }
}
