//! What is served: the list of models, and each model in full.

use super::describe;
use super::describe::Audience;
use super::error::{Failed, JSON};
use super::path::{NamePath, named};
use super::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Value, json};

pub(super) async fn list(State(app): State<App>) -> Result<impl IntoResponse, Failed> {
    let repository = app.repository.clone();
    let make = move || {
        let models: Vec<Value> = repository.list().iter().map(describe::summary).collect();
        json!({"models": models}).to_string().into_bytes()
    };
    Ok(([(CONTENT_TYPE, JSON)], app.overviews.models.get(make).await?))
}

/// The list for operators.
pub(super) async fn list_whole(State(app): State<App>) -> Json<Value> {
    let models: Vec<Value> = app.repository.list().iter().map(describe::managed).collect();
    Json(json!({"models": models}))
}

/// A model for everybody.
pub(super) async fn describe(app: State<App>, name: NamePath) -> Result<Json<Value>, Failed> {
    describe_for(Audience::Everybody, &app, name)
}

/// A model for operators.
pub(super) async fn describe_whole(app: State<App>, name: NamePath) -> Result<Json<Value>, Failed> {
    describe_for(Audience::Operators, &app, name)
}

fn describe_for(audience: Audience, app: &App, name: NamePath) -> Result<Json<Value>, Failed> {
    let name = named(name)?.name;
    let model = app.model(&name)?;
    Ok(Json(describe::model_for(audience, &model)))
}
