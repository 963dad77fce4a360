//! `/metrics`: what Prometheus reads.

use super::state::App;
use crate::telemetry;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderName};

pub(super) async fn page(State(app): State<App>) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, telemetry::CONTENT_TYPE)], app.metrics.render())
}
