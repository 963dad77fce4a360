//! What the server answers, as an OpenAPI document: every route of the listener that is asked, from
//! tables that tests hold to the router, and every model that serves, with its own bodies.
//!
//! A route is described by a row of the table of its protocol (`native`, `open_inference`, …); `operation` makes the
//! document's words of it. Version 3.0.3 of the format, because every tool reads that.

mod bodies;
mod instances;
mod models;
mod native;
mod open_inference;
mod operation;
mod page;
mod schemas;
mod tensors;
mod torchserve;
#[cfg(test)]
mod tests;

pub(super) use page::page;

use super::error::Failed;
use super::state::App;
use crate::inference::{ErrorCode, InferError};
use crate::repository::ModelStatus;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use models::{Served, card};
use operation::{On, Operation};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Every operation of every route.
fn operations() -> impl Iterator<Item = &'static Operation> {
    let tables = [
        native::OPERATIONS,
        open_inference::OPERATIONS,
        instances::OPERATIONS,
        torchserve::OPERATIONS,
    ];
    tables.into_iter().flatten()
}

/// The document of the listener for predictions.
pub(super) async fn public(State(app): State<App>) -> Result<Response, Failed> {
    answer(app, On::Public).await
}

/// The document of the management listener.
pub(super) async fn management(State(app): State<App>) -> Result<Response, Failed> {
    answer(app, On::Management).await
}

/// Made on a thread for blocking work: with many models it is long. One at a time, so that those who ask for it often
/// leave these threads to predictions.
async fn answer(app: App, listener: On) -> Result<Response, Failed> {
    let turn = Arc::clone(&app.describing);
    let turn = turn.acquire_owned().await.expect("we never close the semaphore");
    let made = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let mut document = document(&app.repository.list(), listener);
        if listener == On::Public && !app.options.public_metrics {
            document["paths"].as_object_mut().and_then(|paths| paths.remove("/metrics"));
        }
        // Written here too, since it is long.
        Json(document).into_response()
    });
    let failed = |_| InferError::new(ErrorCode::Internal, "the server failed on this request");
    Ok(made.await.map_err(failed)?)
}

fn document(models: &[ModelStatus], listener: On) -> Value {
    let mut paths = Map::new();
    for operation in operations().filter(|operation| operation.is_on(listener)) {
        let path = paths.entry(operation.document_path()).or_insert_with(|| json!({}));
        for &method in operation.methods() {
            path[method] = operation.document(method);
        }
    }
    for model in models.iter().filter_map(Served::new) {
        model.add_to(&mut paths, listener, operations());
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
        "components": schemas::components(),
        "x-sconce-models": models.iter().map(card).collect::<Vec<_>>(),
    })
}
