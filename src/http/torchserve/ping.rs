//! The health check: readiness, in TorchServe's words and statuses.

use crate::http::state::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

pub(in crate::http) async fn ping(State(app): State<App>) -> (StatusCode, Json<Value>) {
    let (status, word) = if app.is_ready() {
        (StatusCode::OK, "Healthy")
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, "Unhealthy")
    };
    (status, Json(json!({"status": word})))
}
