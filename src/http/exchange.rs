//! One prediction over HTTP, whatever its protocol: how the one door of `pipeline` gets the request, and
//! what becomes of the answer.
//!
//! What a route does beside it is to say which model and which `Wire` is meant.

use super::body::{self, BodyTimeouts};
use super::booking;
use super::context::{self, RequestContext};
use super::error::Failed;
use super::feedback::FEEDBACK;
use super::packing::Packing;
use super::state::App;
use super::unpack::too_large;
use crate::inference::{ByteLease, InferError, InferResponse};
use crate::pipeline::{Answered, BodyLimits, Call, Caller, EncodedAnswer, Received, Tap, Target};
use crate::protocol::{Metadata, Wire};
use crate::quality::feedback::Feedback;
use crate::repository::{ModelHandle, ModelLimits};
use crate::telemetry::PhaseTimes;
use crate::tensor::Buffer;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use std::fmt::Write as _;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Answers a request for a prediction.
pub(super) async fn answer<W: Wire>(
    app: &App,
    context: &RequestContext,
    target: Result<Target, InferError>,
    request: Request,
) -> Result<Response, Failed> {
    let (parts, body) = request.into_parts();
    let body = Incoming::Stream(body);
    pass::<W>(app, context, target, &parts.headers, body).await
}

/// A request whose body has come before its model is known.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) parts: Parts,
    pub(super) received: Received,
    /// When its sender stops waiting, as far as is known before the model is.
    pub(super) deadline: Instant,
}

/// Reads a body within the server's own limits, whichever model it is for.
///
/// # Errors
///
/// As those of the door, before it knows a model.
pub(super) async fn gather(
    app: &App,
    context: &RequestContext,
    request: Request,
) -> Result<Gathered, InferError> {
    let (parts, body) = request.into_parts();
    let ModelLimits { max_body_bytes, timeout } = app.repository.limits();
    let wanted = context::timeout(&parts.headers)?.unwrap_or(timeout);
    let deadline = context.started_at + wanted.min(timeout);
    let max_bytes = usize::try_from(max_body_bytes).unwrap_or(usize::MAX);
    let limits = BodyLimits { max_bytes, deadline };
    let lease = app.budget.lease_for(context.recipient.clone());
    let timeouts = app.options.body_timeouts;
    let received = body::read(&parts.headers, body, timeouts, limits, lease).await?;
    Ok(Gathered { parts, received, deadline })
}

/// Answers a request whose body has come.
pub(super) async fn answer_gathered<W: Wire>(
    app: &App,
    context: &RequestContext,
    target: Result<Target, InferError>,
    headers: &HeaderMap,
    received: Received,
) -> Result<Response, Failed> {
    pass::<W>(app, context, target, headers, Incoming::Whole(received)).await
}

/// A body on its way through the door.
enum Incoming {
    Stream(Body),
    Whole(Received),
    Taken,
}

async fn pass<W: Wire>(
    app: &App,
    context: &RequestContext,
    target: Result<Target, InferError>,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Response, Failed> {
    let target = target.and_then(|target| app.options.routing.apply(target, headers));
    let target = target.inspect_err(|error| app.door.turned_away(error))?;
    let caller = Caller {
        request_id: Arc::clone(&context.request_id),
        trace: context.trace.clone(),
        started_at: context.started_at,
        recipient: context.recipient.clone(),
    };
    let wants_token = headers.get(FEEDBACK).is_some_and(|value| value != "0");
    let call = HttpCall {
        context,
        headers,
        body,
        timeouts: app.options.body_timeouts,
        feedback: wants_token.then_some(&app.feedback),
    };
    let mut response = respond::<W>(app.door.answer::<W, _>(target, caller, call).await?);
    if wants_token {
        let token = context.findings().token.map(HeaderValue::from_maybe_shared);
        response.headers_mut().extend(token.and_then(Result::ok).map(|token| (FEEDBACK, token)));
    }
    Ok(response)
}

/// A request as axum hands it over.
struct HttpCall<'a> {
    context: &'a RequestContext,
    headers: &'a HeaderMap,
    /// Taken when it is read: what is left of it is settled when it is dropped.
    body: Incoming,
    timeouts: BodyTimeouts,
    /// Of whom a token is wanted.
    feedback: Option<&'a Feedback>,
}

impl Metadata for HeaderMap {
    fn value(&self, name: &str) -> Option<&[u8]> {
        self.get(name).map(HeaderValue::as_bytes)
    }
}

impl Call for HttpCall<'_> {
    type Metadata = HeaderMap;
    type Packing = Packing;

    fn metadata(&self) -> &HeaderMap {
        self.headers
    }

    fn timeout(&self) -> Result<Option<Duration>, InferError> {
        context::timeout(self.headers)
    }

    fn packing(&self) -> Option<Packing> {
        Packing::accepted(self.headers)
    }

    async fn read(&mut self, limits: BodyLimits, lease: ByteLease) -> Result<Received, InferError> {
        match mem::replace(&mut self.body, Incoming::Taken) {
            Incoming::Stream(body) => {
                body::read(self.headers, body, self.timeouts, limits, lease).await
            }
            Incoming::Whole(received) if received.body.len() > limits.max_bytes => {
                Err(too_large(limits.max_bytes))
            }
            Incoming::Whole(received) => Ok(received),
            Incoming::Taken => Ok(Received { body: Buffer::default(), lease }),
        }
    }

    fn resolved(&self, model: &ModelHandle) -> Option<Box<dyn Tap>> {
        self.context.note(|found| found.model = Some((model.name().clone(), model.version())));
        self.context.span.as_ref().map(|span| span.tap(model))
    }

    fn inferred(&self, response: &InferResponse) {
        let token = self.feedback.and_then(|feedback| feedback.token(response));
        self.context.note(|found| {
            found.n_rows = Some(response.n_rows);
            found.token = token.map(Bytes::from);
        });
    }
}

fn respond<W: Wire>(answered: Answered<Packing>) -> Response {
    let Answered { answer, record } = answered;
    let EncodedAnswer { body, content_type, header, packing } = answer;
    let mut response = booking::answer(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(header) = header
        && let Ok(value) = HeaderValue::try_from(header.value)
    {
        headers.insert(HeaderName::from_static(header.name), value);
    }
    headers.extend(packing.map(|packing| (CONTENT_ENCODING, packing.name())));
    if W::PACKS {
        headers.insert(VARY, HeaderValue::from_name(ACCEPT_ENCODING));
    }
    headers.extend(server_timing(&record.phases).map(|value| (SERVER_TIMING, value)));
    response
}

/// The header of that name (W3C Server Timing): milliseconds a phase, with three decimals.
fn server_timing(phases: &PhaseTimes) -> Option<HeaderValue> {
    let mut text = String::with_capacity(160);
    for (phase, duration) in phases.iter() {
        let (name, Some(duration)) = (phase.name(), duration) else { continue };
        let separator = if text.is_empty() { "" } else { ", " };
        // Whole microseconds, as digits: formatting a float exactly takes longer than a decode.
        let micros = duration.as_micros();
        let (whole, rest) = (micros / 1000, micros % 1000);
        write!(text, "{separator}{name};dur={whole}.{rest:03}").ok()?;
    }
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
}
