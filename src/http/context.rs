//! What every handler knows of its request: its id, its clock, its deadline.

use super::App;
use super::error::Failure;
use super::shape::Shape;
use crate::inference::{ErrorCode, InferError, ModelName, TraceParent, Version};
use crate::telemetry::request_id;
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-ms");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// In the extensions of every request. Clones share everything.
#[derive(Debug, Clone)]
pub(super) struct RequestContext(Arc<Parts>);

#[derive(Debug)]
pub(super) struct Parts {
    pub(super) request_id: Arc<str>,
    pub(super) trace: Option<TraceParent>,
    pub(super) started_at: Instant,
    shape: Shape,
    told: Mutex<Told>,
}

/// What a handler found out that the request's line of the log tells.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// The model that it resolved.
    pub(super) served: Option<(ModelName, Version)>,
    /// Rows of the request.
    pub(super) n_rows: Option<usize>,
}

impl RequestContext {
    /// Begins now; failures are written in this shape.
    pub(super) fn new(app: &App, headers: &HeaderMap, shape: Shape) -> Self {
        let trace = headers.get(TRACEPARENT);
        Self(Arc::new(Parts {
            request_id: request_id(app, headers),
            trace: trace.and_then(|value| TraceParent::parse(value.to_str().ok()?)),
            started_at: Instant::now(),
            shape,
            told: Mutex::default(),
        }))
    }

    /// Notes something for the log.
    pub(super) fn tell(&self, note: impl FnOnce(&mut Told)) {
        note(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What has been noted.
    pub(super) fn told(&self) -> Told {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn fail(&self, error: InferError) -> Response {
        Failure::new(error, &self.request_id, self.shape).into_response()
    }
}

impl Deref for RequestContext {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// The caller's id when it is fit to be logged and sent back, otherwise one of ours.
fn request_id(app: &App, headers: &HeaderMap) -> Arc<str> {
    let given = headers.get(REQUEST_ID).and_then(|value| request_id::accept(value.as_bytes()));
    given.map_or_else(|| app.request_ids.make(), Arc::from)
}

/// How long this request's caller waits at most, if it says so.
pub(super) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, InferError> {
    let Some(value) = headers.get(REQUEST_TIMEOUT) else {
        return Ok(None);
    };
    let wanted = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
    match wanted {
        Some(milliseconds) if milliseconds > 0 => Ok(Some(Duration::from_millis(milliseconds))),
        _ => {
            let message =
                "the header X-Request-Timeout-Ms is not a positive number of milliseconds";
            Err(InferError::new(ErrorCode::InvalidRequest, message))
        }
    }
}
