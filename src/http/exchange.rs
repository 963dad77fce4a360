//! One prediction, whatever protocol it came by: read, decode, infer, encode.
//!
//! A protocol is a [`Wire`]; what a route does beside it is to say which model is meant.

use super::context::{RequestContext, deadline};
use super::packing::Packing;
use super::{App, body, booking};
use crate::inference::{
    ByteLease, Context, ErrorCode, InferError, InferRequest, InferResponse, ModelSpec, NamedTensor,
    TensorSpec,
};
use crate::pipeline;
use crate::repository::ModelHandle;
use crate::telemetry::RequestGuard;
use crate::tensor::Buffer;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Texts of bodies and answers from this size on are decoded and encoded on a thread for blocking
/// work: a millisecond of parsing on the runtime is a millisecond of waiting for every other
/// connection.
pub(super) const LARGE_BYTES: usize = 256 * 1024;

/// How a protocol reads a request and writes its answer.
pub(super) trait Wire: Sized + Send + 'static {
    /// What the request says of how its answer is to be written.
    type Plan: Send + 'static;

    /// Whether answers are packed for clients that take that. It costs more than most answers, so
    /// only protocols do it whose clients expect it.
    const PACKS: bool = false;

    /// What the head of a request says of its body.
    fn new(headers: &HeaderMap) -> Result<Self, InferError>;

    /// How many of a body's bytes are text, whose tensors take memory of their own.
    fn text_bytes(&self, body_bytes: usize) -> usize;

    /// Reads a body.
    fn decode(self, body: Buffer, spec: &ModelSpec) -> Result<Decoded<Self::Plan>, InferError>;

    /// Writes an answer. The labels are the names of the model's classes.
    fn encode(
        plan: Self::Plan,
        response: &InferResponse,
        labels: &[Arc<str>],
    ) -> Result<Encoded, InferError>;
}

/// What a body holds.
pub(super) struct Decoded<P> {
    pub(super) inputs: Vec<NamedTensor>,
    pub(super) plan: P,
    /// How long the body says that its sender waits.
    pub(super) timeout: Option<Duration>,
}

/// The body of an answer and what its head says of it.
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    pub(super) content_type: &'static str,
    pub(super) header: Option<(HeaderName, HeaderValue)>,
}

impl Encoded {
    pub(super) fn json(bytes: Vec<u8>) -> Self {
        Self { bytes, content_type: "application/json", header: None }
    }
}

/// Answers a request for a prediction.
pub(super) async fn answer<W: Wire>(
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
    match respond::<W>(app, context, &model, request, &mut guard).await {
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

async fn respond<W: Wire>(
    app: &App,
    context: &RequestContext,
    model: &ModelHandle,
    request: Request,
    guard: &mut RequestGuard,
) -> Result<Response, InferError> {
    let (parts, body) = request.into_parts();
    let limits = model.limits();
    let wire = W::new(&parts.headers)?;
    let mut deadline = deadline(&parts.headers, context.started_at, limits.timeout)?;
    let lease = app.budget.lease();
    let max_bytes = usize::try_from(limits.max_body_bytes).unwrap_or(usize::MAX);
    let limits = body::Limits { max_bytes, timeouts: app.options.body_timeouts, deadline };
    let (body, lease) = body::read(&parts.headers, body, limits, lease).await?;

    let decode_started = Instant::now();
    let (decoded, lease) = decode(wire, (body, lease), model.spec(), deadline).await?;
    if let Some(timeout) = decoded.timeout {
        deadline = deadline.min(context.started_at + timeout);
    }
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
    let packing = if W::PACKS { Packing::accepted(&parts.headers) } else { None };
    let plan = (decoded.plan, packing);
    let mut response = encode::<W>(response, plan, model.clone(), (lease, deadline)).await?;
    let encode = encode_started.elapsed();
    guard.record.encode = Some(encode);

    let phases = [
        ("decode", guard.record.decode.unwrap_or_default()),
        ("queue", timings.queue),
        ("input", timings.input),
        ("compute", timings.compute),
        ("output", timings.output),
        ("encode", encode),
    ];
    let timing = server_timing(&phases).map(|value| (SERVER_TIMING, value));
    response.headers_mut().extend(timing);
    Ok(response)
}

/// Decodes with the tensors booked before they exist: at most what the text can hold, and at most
/// what the model takes.
async fn decode<W: Wire>(
    wire: W,
    (body, mut lease): (Buffer, ByteLease),
    spec: &Arc<ModelSpec>,
    deadline: Instant,
) -> Result<(Decoded<W::Plan>, ByteLease), InferError> {
    let (body_bytes, text_bytes) = (body.len(), wire.text_bytes(body.len()));
    if text_bytes == 0 {
        // The body holds the tensors as they are; its bytes are booked already.
        return Ok((wire.decode(body, spec)?, lease));
    }
    lease.grow(largest_decoded(text_bytes, spec))?;
    let shared = Arc::clone(spec);
    // What a caller who no longer waits has booked stays so until the work has ended.
    let decode = move || {
        let decoded = wire.decode(body, &shared)?;
        let tensors: usize = decoded.inputs.iter().map(|input| input.tensor.buffer().len()).sum();
        // A body of text is gone by now, and what stays booked is what the tensors really take. One that
        // holds tensors too is held by them.
        let held = if text_bytes == body_bytes { tensors } else { body_bytes + tensors };
        lease.shrink_to(held);
        Ok((decoded, lease))
    };
    off_runtime(text_bytes, deadline, decode).await?
}

/// An element takes at least two characters of JSON, the digit and what separates it. A text takes three
/// more than it has, and four bytes before it.
fn largest_decoded(text_bytes: usize, spec: &ModelSpec) -> usize {
    // Of what is not declared, a request says itself what it is: at most eight bytes each.
    let size = |input: &TensorSpec| match input.declared {
        true => input.datatype.byte_size().unwrap_or(4),
        false => 8,
    };
    let widest = spec.inputs.iter().map(size).max().unwrap_or(1);
    let by_body = (text_bytes / 2 + 1).saturating_mul(widest);
    let by_spec = spec.inputs.iter().map(|input| {
        let row = input.shape.example(spec.max_rows, 0)?;
        let fixed = input.declared && !row.dims().contains(&0);
        fixed.then_some(row.elements()?.checked_mul(input.datatype.byte_size()?)?)
    });
    by_spec.sum::<Option<usize>>().map_or(by_body, |by_spec| by_spec.min(by_body))
}

/// Encodes; the bytes stay booked until the connection has written them.
async fn encode<W: Wire>(
    response: InferResponse,
    (plan, packing): (W::Plan, Option<Packing>),
    model: ModelHandle,
    (mut lease, deadline): (ByteLease, Instant),
) -> Result<Response, InferError> {
    let outputs: usize = response.outputs.iter().map(|output| output.tensor.buffer().len()).sum();
    // The answer's tensors, and their text at some three characters a byte.
    let text = outputs.saturating_mul(3);
    lease.grow(outputs.saturating_add(text))?;
    // Packing takes some four times as long as writing what is packed.
    let effort = if packing.is_some() { text.saturating_mul(4) } else { text };
    let encode = move || {
        let encoded = W::encode(plan, &response, &model.facts().labels)?;
        let packed = packing.and_then(|packing| Some((packing, packing.pack(&encoded.bytes)?)));
        Ok::<_, InferError>((encoded, packed, lease))
    };
    let encoded = off_runtime(effort, deadline, encode).await??;
    let (Encoded { bytes, content_type, header }, packed, lease) = encoded;
    let (bytes, encoding) = match packed {
        Some((packing, packed)) => (packed, Some((CONTENT_ENCODING, packing.name()))),
        None => (bytes, None),
    };
    let mut response = booking::answer(bytes, lease)?;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.extend(header);
    headers.extend(encoding);
    if W::PACKS {
        headers.insert(VARY, HeaderValue::from_name(ACCEPT_ENCODING));
    }
    Ok(response)
}

/// Does work on so many bytes, elsewhere where they are many. There it may have to wait, and its caller does so until the
/// deadline: work that nobody waits for any more is not begun, and what is being done by then ends unheard.
pub(super) async fn off_runtime<T: Send + 'static>(
    bytes: usize,
    deadline: Instant,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, InferError> {
    /// Takes the work back with its caller, unless it has begun.
    struct Waiting<T>(JoinHandle<T>);
    impl<T> Drop for Waiting<T> {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    if bytes < LARGE_BYTES {
        return Ok(work());
    }
    let work = move || (Instant::now() < deadline).then(work);
    let mut waiting = Waiting(tokio::task::spawn_blocking(work));
    match timeout_at(deadline.into(), &mut waiting.0).await {
        Ok(Ok(Some(outcome))) => Ok(outcome),
        Ok(Ok(None)) | Err(_) => Err(late()),
        Ok(Err(_)) => {
            Err(InferError::new(ErrorCode::Internal, "the server failed on this request"))
        }
    }
}

/// The caller waits no longer.
pub(super) fn late() -> InferError {
    let message = "the deadline passed while the body was being read or the answer written";
    InferError::new(ErrorCode::DeadlineExceeded, message)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::ByteBudget;
    use crate::testing::{receive, until_in_task};
    use std::sync::mpsc;
    use tokio::runtime::{Builder, Runtime};

    /// A reactor with one thread for large bodies.
    fn reactor() -> Runtime {
        Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap()
    }

    fn never() {
        panic!("nobody waits for it");
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[test]
    fn who_waits_for_large_work_gets_an_answer_at_the_deadline() {
        reactor().block_on(async {
            let budget = ByteBudget::new(100);
            let mut lease = budget.lease();
            lease.grow(60).unwrap();
            let (begun, has_begun) = mpsc::channel();
            let (go_on, may_go_on) = mpsc::channel::<()>();
            let work = move || {
                begun.send(()).unwrap();
                may_go_on.recv().unwrap();
                lease
            };
            let error = off_runtime(LARGE_BYTES, soon(), work).await.unwrap_err();
            assert_eq!(error.code, ErrorCode::DeadlineExceeded);
            receive("the beginning", &has_begun);
            assert_eq!(budget.used(), 60, "what the work holds is booked while it goes on");
            let error = off_runtime(LARGE_BYTES, soon(), never).await.unwrap_err();
            assert_eq!(error.code, ErrorCode::DeadlineExceeded, "also for what has not begun");
            go_on.send(()).unwrap();
            until_in_task("the end of the work", || budget.used() == 0).await;
            let far = Instant::now() + crate::testing::PATIENCE;
            assert_eq!(off_runtime(LARGE_BYTES, far, || 7).await.unwrap(), 7);
        });
    }

    #[test]
    fn work_is_not_begun_for_a_caller_who_has_left() {
        reactor().block_on(async {
            let far = Instant::now() + crate::testing::PATIENCE;
            let (go_on, may_go_on) = mpsc::channel::<()>();
            let first = tokio::spawn(off_runtime(LARGE_BYTES, far, move || {
                may_go_on.recv().unwrap();
            }));
            let left = tokio::spawn(off_runtime(LARGE_BYTES, far, never));
            tokio::task::yield_now().await;
            left.abort();
            assert!(left.await.unwrap_err().is_cancelled());
            go_on.send(()).unwrap();
            first.await.unwrap().unwrap();
            off_runtime(LARGE_BYTES, far, || ()).await.expect("the thread goes on");
        });
    }
}
