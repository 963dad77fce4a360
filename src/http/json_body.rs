//! Small JSON bodies of routes that are no predictions.

use super::body;
use super::state::App;
use crate::inference::{ErrorCode, InferError};
use crate::pipeline::{BodyLimits, off_runtime};
use axum::extract::Request;
use serde::de::DeserializeOwned;
use std::time::Instant;

/// Reads one; a missing one is the default.
pub(super) async fn read<T: DeserializeOwned + Default + Send + 'static>(
    app: &App,
    request: Request,
    max_bytes: usize,
) -> Result<T, InferError> {
    let (parts, body) = request.into_parts();
    let lease = app.budget.lease();
    let timeouts = app.options.body_timeouts;
    // Nobody said how long they wait: the body's own time ends first.
    let deadline = Instant::now() + timeouts.total * 2;
    let limits = BodyLimits { max_bytes, deadline };
    let received = body::read(&parts.headers, body, timeouts, limits, lease).await?;
    let n_bytes = received.body.len();
    let parse = move || {
        let text = received.body.as_bytes();
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        if text.trim_ascii().is_empty() {
            return Ok(T::default());
        }
        if text.trim_ascii_start().starts_with(b"[") {
            // serde would take a list of an object's members.
            let message = "the body cannot be read: expected an object, got a list";
            return Err(InferError::new(ErrorCode::InvalidBody, message));
        }
        serde_json::from_slice(text).map_err(|error| {
            let code =
                if error.is_data() { ErrorCode::InvalidBody } else { ErrorCode::InvalidJson };
            InferError::new(code, format!("the body cannot be read: {error}"))
        })
    };
    off_runtime(n_bytes, deadline, parse).await?
}
