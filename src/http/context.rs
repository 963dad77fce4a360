//! What every handler knows of its request: its id, its clock, its deadline.

use super::state::App;
use crate::inference::{ErrorCode, InferError, ModelName, Recipient, TraceParent, Version};
use crate::telemetry::request_id;
use crate::traces::OpenSpan;
use axum::body::Bytes;
use axum::http::{self, HeaderMap, HeaderName};
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-ms");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Longest list that is kept, as every tracer has to (Trace Context, section 3.3.1.5).
const MAX_TRACESTATE: usize = 512;

/// The route of a request whose path the table does not know.
pub(super) const UNMATCHED: &str = "<unmatched>";

/// In the extensions of every request. Clones share everything.
#[derive(Debug, Clone)]
pub(super) struct RequestContext(Arc<Request>);

/// A request on its way.
#[derive(Debug)]
pub(super) struct Request {
    /// The path of the table that was asked for, or [`UNMATCHED`].
    pub(super) route: &'static str,
    pub(super) request_id: Arc<str>,
    pub(super) trace: Option<TraceParent>,
    /// Who takes the answer, where those to other requests go the same way.
    pub(super) recipient: Option<Recipient>,
    /// Where requests are traced.
    pub(super) span: Option<Arc<OpenSpan>>,
    pub(super) started_at: Instant,
    findings: Mutex<Findings>,
}

/// What a handler found out about a request, for its line of the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Findings {
    /// The model that was resolved.
    pub(super) model: Option<(ModelName, Version)>,
    /// Rows of the request.
    pub(super) n_rows: Option<usize>,
    /// What the caller may send back with the truth about the answer, if it asked for that.
    pub(super) token: Option<Bytes>,
}

impl RequestContext {
    /// Begins now; with a span where `is_traced` and requests are.
    pub(super) fn new<B>(
        app: &App,
        request: &http::Request<B>,
        route: &'static str,
        is_traced: bool,
    ) -> Self {
        let headers = request.headers();
        let trace = trace_parent(headers);
        let started_at = Instant::now();
        let tracer = app.tracer.as_ref().filter(|_| is_traced);
        Self(Arc::new(Request {
            route,
            request_id: request_id(app, headers),
            span: tracer.map(|tracer| {
                let state = trace.as_ref().and_then(|_| trace_state(headers));
                tracer.begin(trace.as_ref(), state, started_at)
            }),
            trace,
            recipient: request.extensions().get().cloned(),
            started_at,
            findings: Mutex::default(),
        }))
    }

    /// The trace that the request belongs to: its caller's, or ours if it was chosen.
    pub(super) fn trace_id(&self) -> Option<String> {
        let of_caller = self.trace.as_ref().map(|trace| trace.trace_id.clone());
        of_caller.or_else(|| self.span.as_ref()?.chosen_trace())
    }

    /// Whether the route asks for a verb of a model, behind a colon.
    pub(super) fn has_verb(&self) -> bool {
        self.route.contains("}:")
    }

    /// Notes something for the log.
    pub(super) fn note(&self, note: impl FnOnce(&mut Findings)) {
        note(&mut self.findings.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What has been noted.
    pub(super) fn findings(&self) -> Findings {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Deref for RequestContext {
    type Target = Request;

    fn deref(&self) -> &Request {
        &self.0
    }
}

/// The caller's trace. Two say nothing (Trace Context, section 3.2).
fn trace_parent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let (first, second) = (given.next()?, given.next());
    second.is_none().then(|| TraceParent::parse(first.to_str().ok()?)).flatten()
}

/// What tracers have written beside it, which goes with it: several headers are one list.
fn trace_state(headers: &HeaderMap) -> Option<String> {
    let given = headers.get_all(TRACESTATE).iter().filter_map(|it| it.to_str().ok());
    let all = given.collect::<Vec<_>>().join(",");
    (1..=MAX_TRACESTATE).contains(&all.len()).then_some(all)
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
