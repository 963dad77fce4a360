//! The health check: readiness, in TorchServe's words and statuses.

use crate::http::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

pub(super) async fn ping(State(app): State<App>) -> Response {
    let (status, word) = if app.is_ready() {
        (StatusCode::OK, "Healthy")
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, "Unhealthy")
    };
    (status, Json(json!({"status": word}))).into_response()
}
