//! The outermost service of a listener: every request gets its id and its clock, runs inside a net
//! for panics, and is counted and logged once, however it ends.
//!
//! A service around the router and not layers within it: axum boxes and clones each layer for each
//! request, which on a small model costs more than the model.

use super::booking;
use super::context::{Findings, REQUEST_ID, RequestContext, UNMATCHED};
use super::cors::Grant;
use super::error::{Failed, Report, failure, status};
use super::route::{Route, Side};
use super::shape::protocol_of;
use super::state::App;
use super::unpack::UNDERSTOOD;
use super::unread::Unread;
use crate::inference::{ErrorCode, InferError};
use crate::protocol::codes::meaning;
use crate::telemetry::logging::RequestLine;
use crate::telemetry::{METHODS, RouteIndex};
use crate::traces::Served;
use axum::body::{Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use axum::http::{HeaderValue, Method, StatusCode, Uri, Version};
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router};
use matchit::Router as Paths;
use std::any::Any;
use std::borrow::Cow;
use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tower::Service;
use tracing::{Instrument, Level};

/// What a listener serves.
#[derive(Debug, Clone)]
pub struct Observed(Arc<Inner>);

/// What a listener serves, by the table of routes.
#[derive(Debug)]
pub(super) struct RouteTable {
    pub(super) side: Side,
    pub(super) router: Router,
    /// The rows that it answers or refuses.
    pub(super) routes: Vec<Route>,
    /// The paths of both listeners.
    pub(super) paths: Vec<&'static str>,
}

#[derive(Debug)]
struct Inner {
    app: App,
    table: RouteTable,
    labels: Paths<Labels>,
}

/// By what name requests to a path are counted. A verb, `{model}:predict`, is no segment of its own, so the
/// path leads to all that stand behind it.
#[derive(Debug)]
struct Labels {
    plain: Label,
    verbs: Vec<(&'static str, Label)>,
}

/// A path of the table, and its place in the table of counts.
#[derive(Debug, Clone, Copy)]
struct Label {
    path: &'static str,
    index: RouteIndex,
}

impl Observed {
    /// Puts the service around a router.
    pub(super) fn new(app: &App, table: RouteTable) -> Self {
        let label = |path| Label { path, index: app.metrics.http().route(path) };
        let mut labels = Paths::new();
        for &path in table.paths.iter().filter(|path| !path.contains(':')) {
            let verb = |other: &&'static str| {
                Some((other.strip_prefix(path)?.strip_prefix(':')?, label(other)))
            };
            let verbs = table.paths.iter().filter_map(verb).collect();
            labels
                .insert(path, Labels { plain: label(path), verbs })
                .expect("the routes do not contradict each other");
        }
        Self(Arc::new(Inner { app: app.clone(), table, labels }))
    }
}

impl<B> Service<Request<B>> for Observed
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = Arc::clone(&self.0);
        Box::pin(async move { Ok(inner.answer(request).await) })
    }
}

impl Inner {
    async fn answer<B>(&self, mut request: Request<B>) -> Response
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let path = request.uri().path();
        let label = self.label(path);
        let asked = asked(label, path);
        // Pages, probes and scrapes are nobody's wait.
        let is_traced = self.table.side == Side::Public
            && matches!(*request.method(), Method::POST | Method::PUT);
        let context = RequestContext::new(&self.app, &request, label.path, is_traced);
        request.extensions_mut().insert(context.clone());
        let mut record = Record {
            app: &self.app,
            label,
            method: request.method().clone(),
            traced: context.span.is_some().then(|| (request.uri().clone(), request.version())),
            context,
            is_abandoned: false,
            done: false,
        };
        let is_packed = request.headers().contains_key(CONTENT_ENCODING);
        let grant = match self.table.side {
            Side::Public => self.app.options.cors_origins.grant(request.headers()),
            Side::Management => Grant::NONE,
        };
        let refused = match self.table.side {
            Side::Public => Ok(()),
            Side::Management => {
                let (method, uri) = (request.method(), request.uri());
                self.app.options.management_hosts.check(method, uri, request.headers())
            }
        };
        let preflight = match refused {
            Ok(()) => grant.preflight(request.method(), request.headers()),
            Err(error) => Some(Failed::from(error).into_response()),
        };
        let (unread, version) = (Unread::default(), request.version());
        let request = request.map(|body| unread.lend(body));
        // Below the usual level: a span costs more than all else that is done here, and what is
        // logged about a request names it.
        let span = tracing::debug_span!("request", request_id = %record.context.request_id);
        let response = match preflight {
            Some(response) => response,
            None => self
                .route_caught(request)
                .instrument(span)
                .await
                .unwrap_or_else(|panic| panicked(&record.context, &*panic)),
        };
        // Who watches the server must see it when there is no room for answers: whoever reaches this listener may do worse.
        let write = |response| self.write(response, &record, &asked);
        let response = write(response);
        let lease = || self.app.budget.lease_for(record.context.recipient.clone());
        let booked = match self.table.side {
            Side::Public => booking::book(lease(), response).await,
            Side::Management => Ok(response),
        };
        let refused = |error: InferError| write(Failed::from(error).into_response());
        let response = booked.unwrap_or_else(refused);
        let mut response = booking::count_small(lease(), response).await;
        grant.write(response.headers_mut());
        if let Ok(value) = HeaderValue::from_str(&record.context.request_id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        if is_packed && response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            // RFC 9110, section 15.5.16: the client learns which codings it may use.
            let understood = HeaderValue::from_static(UNDERSTOOD);
            response.headers_mut().insert(ACCEPT_ENCODING, understood);
        }
        unread.settle(version, &mut response).await;
        record.finish(&response);
        response
    }

    fn label(&self, path: &str) -> Label {
        let unmatched = Label { path: UNMATCHED, index: self.app.metrics.http().unmatched() };
        let Ok(Labels { plain, verbs }) = self.labels.at(path).map(|matched| matched.value) else {
            return unmatched;
        };
        match path.rsplit_once(':') {
            Some((_, verb)) if !verbs.is_empty() => {
                let known = verbs.iter().find(|(known, _)| *known == verb);
                known.map_or(unmatched, |(_, label)| *label)
            }
            _ => *plain,
        }
    }

    /// Writes an answer that is a failure.
    fn write(&self, response: Response, record: &Record<'_>, asked: &str) -> Response {
        let Some(error) = failure(&response) else { return response };
        let report = Report {
            error: Arc::clone(error),
            protocol: protocol_of(&self.table.routes, &record.method, asked),
            request_id: &record.context.request_id,
            method: &record.method,
        };
        report.write(response)
    }

    /// Runs the handler; a panic in it becomes an error.
    async fn route_caught(&self, request: Request) -> Result<Response, Box<dyn Any + Send>> {
        let mut answering = pin!(self.hand_on(request));
        poll_fn(|context| {
            // A handler that panicked is not polled again, and what it shares is behind locks that
            // do without poisoning.
            let polled = AssertUnwindSafe(|| answering.as_mut().poll(context));
            match catch_unwind(polled) {
                Ok(polled) => polled.map(Ok),
                Err(panic) => Poll::Ready(Err(panic)),
            }
        })
        .await
    }

    async fn hand_on(&self, request: Request) -> Response {
        self.table.router.clone().call(request).await.unwrap_or_else(|never| match never {})
    }
}

/// The path that was asked for, as the table has it if it does: then nothing is copied.
fn asked(label: Label, path: &str) -> Cow<'static, str> {
    match label.path {
        UNMATCHED => Cow::Owned(path.to_owned()),
        known => Cow::Borrowed(known),
    }
}

/// The answer in place of that which a handler did not make.
fn panicked(context: &RequestContext, panic: &(dyn Any + Send)) -> Response {
    let (text, request_id) = (text_of(panic), &*context.request_id);
    tracing::error!(panic = text, request_id, "a handler panicked");
    let error = InferError::new(ErrorCode::Internal, "the server failed on this request");
    Failed::from(error).into_response()
}

fn text_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text")
}

/// Records a request once: when its response is there, or when its future is dropped because the
/// client hung up or the server ends.
struct Record<'a> {
    app: &'a App,
    context: RequestContext,
    label: Label,
    method: Method,
    /// What a span says beside.
    traced: Option<(Uri, Version)>,
    is_abandoned: bool,
    done: bool,
}

impl Record<'_> {
    fn finish(&mut self, response: &Response) {
        self.done = true;
        self.write(response.status(), failure(response).map(AsRef::as_ref));
    }

    fn write(&self, status: StatusCode, error: Option<&InferError>) {
        let Self { app, context, label, method, .. } = self;
        app.metrics.http().record(label.index, method.as_str(), status.as_u16());
        let now = Instant::now();
        let duration = now - context.started_at;
        self.end_span(status, error, duration);
        if !app.request_log.wants(error.is_some(), duration, now) {
            return;
        }
        let Findings { model, n_rows, .. } = context.findings();
        let trace_id = context.trace_id();
        let version = model.as_ref().map(|(_, version)| version.to_string());
        let line = RequestLine {
            request_id: &context.request_id,
            method: METHODS.iter().find(|known| **known == method.as_str()).unwrap_or(&"other"),
            route: label.path,
            status: status.as_u16(),
            // A probe that says "not yet" has not failed.
            level: error.map_or(Level::INFO, |error| meaning(error.code).level),
            code: error.map(|error| error.code.as_str()),
            error: error.map(|error| error.message.as_ref()),
            cause: error.and_then(|error| error.details.cause.as_deref()),
            model: model.as_ref().map(|(model, _)| model.as_str()),
            version: version.as_deref(),
            n_rows,
            duration,
            trace_id: trace_id.as_deref(),
        };
        line.write();
    }

    fn end_span(&self, status: StatusCode, error: Option<&InferError>, took: Duration) {
        let Self { app, context, label, method, traced, is_abandoned, .. } = self;
        let (Some(tracer), Some(span), Some((uri, version))) = (&app.tracer, &context.span, traced)
        else {
            return;
        };
        let served = Served {
            method: if *method == Method::PUT { "PUT" } else { "POST" },
            route: Some(label.path).filter(|path| *path != UNMATCHED),
            path: uri.path(),
            protocol: if *version == Version::HTTP_2 { "2" } else { "1.1" },
            status: status.as_u16(),
            code: error.map(|error| error.code.as_str()),
            is_abandoned: *is_abandoned,
            request_id: &context.request_id,
            took,
            is_slow: app.request_log.is_slow(took),
        };
        tracer.end(span, &served);
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.is_abandoned = true;
            let error = match self.app.gives_up() {
                true => InferError::new(ErrorCode::Draining, "the server ended before the answer"),
                false => {
                    InferError::new(ErrorCode::ClientClosed, "the client hung up before the answer")
                }
            };
            self.write(status(error.code), Some(&error));
        }
    }
}
