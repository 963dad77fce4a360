//! What the server answers, as an OpenAPI document: every route of the listener that is asked, by its row of
//! the table of routes, and every model that serves, with its own bodies.
//!
//! `operation` makes the document's words of a row. Version 3.0.3 of the format, because every tool reads that.

mod bodies;
mod components;
mod instances;
mod models;
mod open_inference;
mod embeddings;
mod operation;
mod page;
mod schemas;
mod served;
mod tensors;
mod torchserve;
#[cfg(test)]
mod tests;

pub(super) use page::page;

use super::error::Failed;
use super::route::{Place, Route};
use super::state::App;
use crate::inference::{ErrorCode, InferError};
use crate::repository::ModelStatus;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use models::card;
use serde_json::{Map, Value, json};
use served::Served;
use std::sync::Arc;

/// The document of a listener.
pub(super) fn document(place: &Place<'_>) -> MethodRouter<App> {
    let described = Arc::clone(place.described);
    place.to(move |State(app): State<App>| answer(app, Arc::clone(&described)))
}

/// Made on a thread for blocking work: with many models it is long. One at a time, so that those who ask for it often
/// leave these threads to predictions.
async fn answer(app: App, routes: Arc<[Route]>) -> Result<Response, Failed> {
    let turn = Arc::clone(&app.describing);
    let turn = turn.acquire_owned().await.expect("we never close the semaphore");
    let made = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let document = describe(&app.repository.list(), &routes);
        // Written here too, since it is long.
        Json(document).into_response()
    });
    let failed = |_| InferError::new(ErrorCode::Internal, "the server failed on this request");
    Ok(made.await.map_err(failed)?)
}

fn describe(models: &[ModelStatus], routes: &[Route]) -> Value {
    let mut paths = Map::new();
    for route in routes {
        let path = paths.entry(route.document_path()).or_insert_with(|| json!({}));
        for &method in route.methods() {
            path[method] = route.document(method);
        }
    }
    for model in models.iter().filter_map(Served::new) {
        model.add_to(&mut paths, routes);
    }
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "sconce",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Serves TorchScript models. The paths with a model's name describe its own bodies; those with `{model}` are the same for any.",
            "license": {"name": "Apache-2.0"},
        },
        "paths": paths,
        "components": components::components(),
        "x-sconce-models": models.iter().map(card).collect::<Vec<_>>(),
    })
}
