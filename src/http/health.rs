//! Probes: whether the process answers, and whether traffic should come here.

use super::booking::Booking;
use super::describe;
use super::state::App;
use crate::inference::ModelName;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// The process answers; nothing is looked at, so that nothing but a dead process fails it.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"status": "live"}))
}

/// Every required model is ready, less those that an operator unloaded, there is a model at all, and the
/// server is not draining.
pub(super) async fn ready(State(app): State<App>) -> Response {
    respond(&app, false)
}

/// Ready, and a summary for people.
pub(super) async fn summary(State(app): State<App>) -> Response {
    respond(&app, true)
}

fn respond(app: &App, summary: bool) -> Response {
    let readiness = app.repository.readiness();
    let draining = app.is_draining();
    let ready = readiness.ready && !draining;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = match (ready, draining) {
        (_, true) => "draining",
        (true, false) => "ready",
        (false, false) => "not_ready",
    };
    let names = |of: &[ModelName]| of.iter().map(ModelName::as_str).collect::<Value>();
    let mut body = json!({
        "status": word,
        "waiting_for": names(&readiness.waiting_for),
        "unloaded": names(&readiness.unloaded),
        "failed": names(&readiness.failed),
    });
    if let Some(reason) = readiness.reason.filter(|_| !draining) {
        body["reason"] = json!(reason);
    }
    if summary {
        body["version"] = json!(env!("CARGO_PKG_VERSION"));
        body["uptime_seconds"] = json!(app.started_at.elapsed().as_secs());
        // Where one is missing, models in child processes can reach more than they should.
        body["sandbox_missing"] = json!(app.sandbox_missing);
        let models = app.repository.list();
        // Models whose requests share no runs any more, because an answer in one was another than alone.
        body["refuted"] = models.iter().flat_map(describe::refuted).collect();
        body["models"] = models.iter().map(describe::summary).collect();
    }
    let mut response = (status, Json(body)).into_response();
    // Names of models may be many.
    response.extensions_mut().insert(Booking::Dispensable);
    response
}
