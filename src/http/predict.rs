//! The native prediction routes: resolve, read, decode, infer, encode.

use super::body::MediaType;
use super::context::{RequestContext, deadline};
use super::{App, body};
use crate::inference::{ByteLease, Context, ErrorCode, InferError, InferRequest, InferResponse};
use crate::inference::{ModelName, ModelRef, ModelSpec, Version, VersionSelector};
use crate::pipeline;
use crate::protocol::predict::{self, Decoded, Form};
use crate::repository::ModelHandle;
use crate::telemetry::RequestGuard;
use crate::tensor::Buffer;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Bodies and answers from this size on are decoded and encoded on a thread for blocking work: a
/// millisecond of parsing on the runtime is a millisecond of waiting for every other connection.
const LARGE_BYTES: usize = 256 * 1024;

pub(super) async fn default_model(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    let model = app.repository.resolve_default();
    answer(&app, &context, model, request).await
}

pub(super) async fn model(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    name: NamePath,
    request: Request,
) -> Response {
    let model = named(name).and_then(|model| app.repository.resolve(&model));
    answer(&app, &context, model, request).await
}

pub(super) async fn version(
    State(app): State<App>,
    Extension(context): Extension<RequestContext>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Response {
    let model = path
        .map_err(unreadable_path)
        .and_then(|Path((name, version))| model_ref(&name, Some(&version)))
        .and_then(|model| app.repository.resolve(&model));
    answer(&app, &context, model, request).await
}

/// The name of a model in a path. The extractor refuses what is not UTF-8 with a text of its own, so
/// handlers take its result.
pub(super) type NamePath = Result<Path<String>, PathRejection>;

/// The default version of the model that a path names.
pub(super) fn named(path: NamePath) -> Result<ModelRef, InferError> {
    path.map_err(unreadable_path).and_then(|Path(name)| model_ref(&name, None))
}

fn unreadable_path(_: PathRejection) -> InferError {
    InferError::new(ErrorCode::ModelNotFound, "no model has this name: it is not UTF-8")
}

/// A reference from path segments. Text outside the grammar names nothing, so it is not found; it
/// is not repeated either, since it may be anything.
fn model_ref(name: &str, version: Option<&str>) -> Result<ModelRef, InferError> {
    let name: ModelName = name.parse().map_err(|_| {
        InferError::new(
            ErrorCode::ModelNotFound,
            "no model has this name: it is outside the grammar of names",
        )
    })?;
    let version = match version {
        None => VersionSelector::Default,
        Some(text) => VersionSelector::Specific(text.parse::<Version>().map_err(|_| {
            let message =
                "the model has no such version: versions are whole numbers without leading zeros";
            InferError::new(ErrorCode::VersionNotFound, message).with_model(&name)
        })?),
    };
    Ok(ModelRef { name, version })
}

async fn answer(
    app: &App,
    context: &RequestContext,
    model: Result<ModelHandle, InferError>,
    request: Request,
) -> Response {
    let model = match model {
        Ok(model) => model,
        Err(error) => {
            app.metrics.record_unresolved(error.code.as_str());
            return context.fail(error);
        }
    };
    let abandoned = ErrorCode::ClientClosed.as_str();
    let mut guard = RequestGuard::new(Arc::clone(model.metrics()), context.started_at, abandoned);
    context.tell(|told| told.served = Some((model.name().clone(), model.version())));
    match respond(app, context, &model, request, &mut guard).await {
        Ok(response) => {
            guard.succeed();
            response
        }
        Err(error) => {
            guard.fail(error.code.as_str());
            context.fail(error.with_model(model.name()))
        }
    }
}

async fn respond(
    app: &App,
    context: &RequestContext,
    model: &ModelHandle,
    request: Request,
    guard: &mut RequestGuard,
) -> Result<Response, InferError> {
    let (parts, body) = request.into_parts();
    let limits = model.limits();
    let media_type = body::media_type(&parts.headers)?;
    let deadline = deadline(&parts.headers, context.started_at, limits.timeout)?;
    let mut lease = app.budget.lease();
    let max_bytes = usize::try_from(limits.max_body_bytes).unwrap_or(usize::MAX);
    let limits = (max_bytes, app.options.body_timeouts);
    let body = body::read(&parts.headers, body, limits, &mut lease).await?;

    let decode_started = Instant::now();
    let spec = Arc::clone(model.spec());
    let (decoded, lease) = match media_type {
        MediaType::Json => decode(body, spec, lease).await?,
        // The body is the tensor; its bytes are booked already.
        MediaType::Bytes => (predict::decode_raw(body, &spec)?, lease),
    };
    guard.record.decode = Some(decode_started.elapsed());

    let travels = Context {
        request_id: Arc::clone(&context.request_id),
        deadline,
        trace: context.trace.clone(),
    };
    let request = InferRequest { context: travels, inputs: decoded.inputs };
    let response = pipeline::infer(model, request).await?;
    context.tell(|told| told.n_rows = Some(response.n_rows));
    let timings = response.timings;
    guard.record.queue = Some(timings.queue);
    guard.record.input = Some(timings.input);
    guard.record.compute = Some(timings.compute);
    guard.record.output = Some(timings.output);

    let encode_started = Instant::now();
    let body = encode(response, decoded.form, lease).await?;
    let encode = encode_started.elapsed();
    guard.record.encode = Some(encode);

    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let phases = [
        ("decode", guard.record.decode.unwrap_or_default()),
        ("queue", timings.queue),
        ("input", timings.input),
        ("compute", timings.compute),
        ("output", timings.output),
        ("encode", encode),
    ];
    headers.extend(server_timing(&phases).map(|value| (SERVER_TIMING, value)));
    Ok(response)
}

/// Decodes with the tensors booked before they exist: at most what the body can hold, and at most
/// what the model takes.
async fn decode(
    body: Buffer,
    spec: Arc<ModelSpec>,
    mut lease: ByteLease,
) -> Result<(Decoded, ByteLease), InferError> {
    let body_bytes = body.len();
    lease.grow(largest_decoded(body_bytes, &spec))?;
    let decode = move || predict::decode(body.as_bytes(), &spec);
    let decoded = off_runtime(body_bytes, decode).await??;
    let tensors = decoded.inputs.iter().map(|input| input.tensor.buffer().len()).sum();
    // The body is gone by now; what stays booked is what the tensors really take.
    lease.shrink_to(tensors);
    Ok((decoded, lease))
}

/// An element takes at least two characters of JSON, the digit and what separates it.
fn largest_decoded(body_bytes: usize, spec: &ModelSpec) -> usize {
    let widest =
        spec.inputs.iter().filter_map(|input| input.datatype.byte_size()).max().unwrap_or(1);
    let by_body = (body_bytes / 2 + 1).saturating_mul(widest);
    let by_spec = spec.inputs.iter().map(|input| {
        let row = input.shape.example(spec.max_rows, 0)?;
        let fixed = !row.dims().contains(&0);
        fixed.then_some(row.elements()?.checked_mul(input.datatype.byte_size()?)?)
    });
    by_spec.sum::<Option<usize>>().map_or(by_body, |by_spec| by_spec.min(by_body))
}

/// Encodes; the bytes stay booked until the connection has written them.
async fn encode(
    response: InferResponse,
    form: Form,
    mut lease: ByteLease,
) -> Result<Bytes, InferError> {
    struct Booked {
        bytes: Vec<u8>,
        _lease: ByteLease,
    }
    impl AsRef<[u8]> for Booked {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }
    let outputs: usize = response.outputs.iter().map(|output| output.tensor.buffer().len()).sum();
    // The answer's tensors, and their text at some three characters a byte.
    lease.grow(outputs.saturating_mul(4))?;
    let bytes = off_runtime(outputs, move || predict::encode(&response, form)).await?;
    lease.shrink_to(bytes.len());
    Ok(Bytes::from_owner(Booked { bytes, _lease: lease }))
}

async fn off_runtime<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, InferError> {
    if bytes < LARGE_BYTES {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| InferError::new(ErrorCode::Internal, "the server failed on this request"))
}

/// The header of that name (W3C Server Timing): milliseconds a phase, with three decimals.
fn server_timing(phases: &[(&str, Duration)]) -> Option<HeaderValue> {
    let mut text = String::with_capacity(160);
    for (name, duration) in phases {
        let separator = if text.is_empty() { "" } else { ", " };
        // Whole microseconds, as digits: formatting a float exactly takes longer than a decode.
        let micros = duration.as_micros();
        let (whole, rest) = (micros / 1000, micros % 1000);
        write!(text, "{separator}{name};dur={whole}.{rest:03}").ok()?;
    }
    HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
}
