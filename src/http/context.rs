//! What surrounds every request: its id, its span, its log line, its count, and a net for panics.

use super::App;
use super::error::{Failure, status};
use super::routes::ROUTES;
use super::unread::Unread;
use crate::inference::{ErrorCode, InferError, ModelName, TraceParent, Version};
use crate::telemetry::logging::RequestLine;
use crate::telemetry::request_id;
use crate::telemetry::{METHODS, RouteIndex};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-ms");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What every handler knows of its request.
#[derive(Debug, Clone)]
pub(super) struct RequestContext {
    pub(super) request_id: Arc<str>,
    pub(super) trace: Option<TraceParent>,
    pub(super) started_at: Instant,
}

impl RequestContext {
    pub(super) fn fail(&self, error: InferError) -> Response {
        Failure::new(error, &self.request_id).into_response()
    }
}

/// The model that a handler resolved, for the log line; travels in the response's extensions.
#[derive(Debug, Clone)]
pub(super) struct Served {
    pub(super) model: ModelName,
    pub(super) version: Version,
    /// Known once the request has been read.
    pub(super) n_rows: Option<usize>,
}

/// Left in the extensions by the panic layer, whose response has no request to take an id from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panicked;

/// The outermost layer: everything below runs inside the request's span.
pub(super) async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started_at = Instant::now();
    let headers = request.headers();
    let context = RequestContext {
        request_id: request_id(&app, headers),
        trace: headers.get(TRACEPARENT).and_then(|value| TraceParent::parse(value.to_str().ok()?)),
        started_at,
    };
    request.extensions_mut().insert(context.clone());
    let route = Route::of(&app, request.extensions().get::<MatchedPath>());
    let span = tracing::info_span!("request", request_id = %context.request_id);
    let mut record =
        Record { app: &app, context, route, method: request.method().clone(), done: false };
    let (unread, version) = (Unread::default(), request.version());
    let request = request.map(|body| unread.lend(body));
    let mut response = next.run(request).instrument(span).await;
    if response.extensions().get::<Panicked>().is_some() {
        let error = InferError::new(ErrorCode::Internal, "the server failed on this request");
        response = record.context.fail(error);
    }
    if let Ok(value) = HeaderValue::from_str(&record.context.request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    unread.settle(version, &mut response).await;
    record.finish(&response);
    response
}

/// The route as the router writes it, and its place in the table of counts.
struct Route {
    path: &'static str,
    index: RouteIndex,
}

impl Route {
    fn of(app: &App, matched: Option<&MatchedPath>) -> Self {
        let http = app.metrics.http();
        match matched.and_then(|path| ROUTES.iter().find(|route| **route == path.as_str())) {
            Some(&path) => Self { path, index: http.route(path) },
            None => Self { path: "<unmatched>", index: http.unmatched() },
        }
    }
}

/// Records a request once: when its response is there, or when its future is dropped because the
/// client hung up.
struct Record<'a> {
    app: &'a App,
    context: RequestContext,
    route: Route,
    method: Method,
    done: bool,
}

impl Record<'_> {
    fn finish(&mut self, response: &Response) {
        self.done = true;
        let error = response.extensions().get::<Arc<InferError>>();
        self.write(
            response.status(),
            error.map(AsRef::as_ref),
            response.extensions().get::<Served>(),
        );
    }

    fn write(&self, status: StatusCode, error: Option<&InferError>, served: Option<&Served>) {
        let Self { app, context, route, method, .. } = self;
        app.metrics.http().record(route.index, method.as_str(), status.as_u16());
        let now = Instant::now();
        let duration = now - context.started_at;
        if !app.request_log.wants(error.is_some(), duration, now) {
            return;
        }
        let version = served.map(|served| served.version.to_string());
        let line = RequestLine {
            request_id: &context.request_id,
            method: METHODS.iter().find(|known| **known == method.as_str()).unwrap_or(&"other"),
            route: route.path,
            status: status.as_u16(),
            code: error.map(|error| error.code.as_str()),
            error: error.map(|error| error.message.as_ref()),
            cause: error.and_then(|error| error.details.cause.as_deref()),
            model: served.map(|served| served.model.as_str()),
            version: version.as_deref(),
            n_rows: served.and_then(|served| served.n_rows),
            duration,
            trace_id: context.trace.as_ref().map(|trace| trace.trace_id.as_str()),
        };
        line.write();
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if !self.done {
            let error =
                InferError::new(ErrorCode::ClientClosed, "the client hung up before the answer");
            self.write(status(error.code), Some(&error), None);
        }
    }
}

/// The caller's id when it is fit to be logged and sent back, otherwise one of ours.
fn request_id(app: &App, headers: &HeaderMap) -> Arc<str> {
    let given = headers.get(REQUEST_ID).and_then(|value| request_id::accept(value.as_bytes()));
    given.map_or_else(|| app.request_ids.make(), Arc::from)
}

/// When this request's caller stops waiting: `X-Request-Timeout-Ms` may only shorten `allowed`.
pub(super) fn deadline(
    headers: &HeaderMap,
    started_at: Instant,
    allowed: Duration,
) -> Result<Instant, InferError> {
    let Some(value) = headers.get(REQUEST_TIMEOUT) else {
        return Ok(started_at + allowed);
    };
    let wanted = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
    match wanted {
        Some(milliseconds) if milliseconds > 0 => {
            Ok(started_at + allowed.min(Duration::from_millis(milliseconds)))
        }
        _ => {
            let message =
                "the header X-Request-Timeout-Ms is not a positive number of milliseconds";
            Err(InferError::new(ErrorCode::InvalidRequest, message))
        }
    }
}
