//! The outermost service of a listener: every request gets its id and its clock, runs inside a net
//! for panics, and is counted and logged once, however it ends.
//!
//! A service around the router and not layers within it: axum boxes and clones each layer for each
//! request, which on a small model costs more than the model.

use super::booking;
use super::context::{Findings, REQUEST_ID, RequestContext};
use super::cors::Grant;
use super::error::{Failed, Report, failure, status};
use super::routes::ROUTES;
use super::shape::{Shape, Side};
use super::state::App;
use super::unpack::UNDERSTOOD;
use super::unread::Unread;
use crate::inference::{ErrorCode, InferError};
use crate::protocol::codes::meaning;
use crate::telemetry::logging::RequestLine;
use crate::telemetry::{METHODS, RouteIndex};
use axum::body::{Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router};
use matchit::Router as Paths;
use std::any::Any;
use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tower::Service;
use tracing::{Instrument, Level};

/// What a listener serves.
#[derive(Debug, Clone)]
pub struct Observed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    app: App,
    router: Router,
    paths: Paths<Leads>,
    side: Side,
}

/// Where a path leads: to a route, or to one of those that have a verb behind it, `{model}:predict`.
/// Such a verb is no segment of its own, so the paths do not know it.
#[derive(Debug)]
struct Leads {
    route: Route,
    verbs: Vec<(&'static str, Route)>,
}

/// The route as the router writes it, and its place in the table of counts.
#[derive(Debug, Clone, Copy)]
struct Route {
    path: &'static str,
    index: RouteIndex,
}

impl Observed {
    /// Puts the service around a router whose routes are among [`ROUTES`].
    pub(super) fn new(router: Router, app: &App, side: Side) -> Self {
        let route = |path| Route { path, index: app.metrics.http().route(path) };
        let mut paths = Paths::new();
        for &path in ROUTES.iter().filter(|path| !path.contains(':')) {
            let verb = |other: &&'static str| {
                Some((other.strip_prefix(path)?.strip_prefix(':')?, route(other)))
            };
            let leads =
                Leads { route: route(path), verbs: ROUTES.iter().filter_map(verb).collect() };
            paths.insert(path, leads).expect("the routes do not contradict each other");
        }
        Self(Arc::new(Inner { app: app.clone(), router, paths, side }))
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
        let shape = Shape::of(self.side, request.method(), request.uri().path());
        let context = RequestContext::new(&self.app, request.headers());
        request.extensions_mut().insert(context.clone());
        let mut record = Record {
            app: &self.app,
            route: self.route(request.uri().path()),
            method: request.method().clone(),
            context,
            done: false,
        };
        let is_packed = request.headers().contains_key(CONTENT_ENCODING);
        let grant = match self.side {
            Side::Public => self.app.options.cors_origins.grant(request.headers()),
            Side::Management => Grant::NONE,
        };
        let refused = match self.side {
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
        let report =
            Report { shape, request_id: &record.context.request_id, method: &record.method };
        let response = report.write(response);
        let booked = match self.side {
            Side::Public => booking::book(&self.app.budget, response).await,
            Side::Management => Ok(response),
        };
        let refused = |error| report.write(Failed::from(error).into_response());
        let mut response = booked.unwrap_or_else(refused);
        grant.tell(response.headers_mut());
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

    fn route(&self, path: &str) -> Route {
        let unmatched = Route { path: "<unmatched>", index: self.app.metrics.http().unmatched() };
        let Ok(Leads { route, verbs }) = self.paths.at(path).map(|matched| matched.value) else {
            return unmatched;
        };
        match path.rsplit_once(':') {
            Some((_, verb)) if !verbs.is_empty() => {
                let known = verbs.iter().find(|(known, _)| *known == verb);
                known.map_or(unmatched, |(_, route)| *route)
            }
            _ => *route,
        }
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
        self.router.clone().call(request).await.unwrap_or_else(|never| match never {})
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
        self.write(response.status(), failure(response));
    }

    fn write(&self, status: StatusCode, error: Option<&InferError>) {
        let Self { app, context, route, method, .. } = self;
        app.metrics.http().record(route.index, method.as_str(), status.as_u16());
        let now = Instant::now();
        let duration = now - context.started_at;
        if !app.request_log.wants(error.is_some(), duration, now) {
            return;
        }
        let Findings { model, n_rows } = context.findings();
        let version = model.as_ref().map(|(_, version)| version.to_string());
        let line = RequestLine {
            request_id: &context.request_id,
            method: METHODS.iter().find(|known| **known == method.as_str()).unwrap_or(&"other"),
            route: route.path,
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
            self.write(status(error.code), Some(&error));
        }
    }
}
