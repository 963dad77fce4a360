//! The story of a request in one function.

use super::answer::{EncodedAnswer, Unwritten};
use super::call::{BodyLimits, Call, Received, Target};
use super::caller::Caller;
use super::observer::{Observer, Observers};
use super::offload::off_runtime;
use super::passage::{Ending, Passage};
use super::prepare::{Prepared, prepare};
use super::run::{run, validate};
use crate::inference::{
    ByteBudget, ByteLease, Context, InferError, InferRequest, ModelRef, ModelSpec, Parameters,
    TensorSpec, VersionSelector,
};
use crate::protocol::{Decoded, Wire};
use crate::repository::{ModelHandle, Repository};
use crate::telemetry::{Metrics, RequestRecord};
use std::sync::Arc;
use std::time::Instant;

/// Where requests come in, by whatever transport. Clones share everything.
#[derive(Debug, Clone)]
pub struct Door {
    repository: Repository,
    metrics: Metrics,
    budget: ByteBudget,
    observers: Observers,
    ending: Ending,
}

/// The answer to a request and where its time went; of that only the total is not known yet.
#[derive(Debug)]
pub struct Answered<P> {
    /// What the transport is to send.
    pub answer: EncodedAnswer<P>,
    /// The phases.
    pub record: RequestRecord,
}

impl Door {
    /// A door to these models, which lets in as much as the budget has room for.
    #[must_use]
    pub fn new(repository: Repository, metrics: Metrics, budget: ByteBudget) -> Self {
        Self {
            repository,
            metrics,
            budget,
            observers: Observers::default(),
            ending: Ending::default(),
        }
    }

    /// The same door with somebody who looks on.
    #[must_use]
    pub fn with_observers(self, observers: Vec<Arc<dyn Observer>>) -> Self {
        Self { observers: Observers::new(observers), ..self }
    }

    /// The same door of a server that gives up what is under way as soon as this says so: who is dropped then has not left.
    #[must_use]
    pub fn with_ending(self, is_so: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { ending: Ending(Some(Arc::new(is_so))), ..self }
    }

    /// Answers a request for a prediction. Dropping the future withdraws it.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being answered. What names no model that serves is found before the body
    /// is read; everything after that has the model's name.
    pub async fn answer<W: Wire, C: Call>(
        &self,
        target: Target,
        caller: Caller,
        call: C,
    ) -> Result<Answered<C::Packing>, InferError> {
        let is_chosen = target.version == VersionSelector::Default;
        let model = self.resolve(target)?;
        let tap = call.resolved(&model);
        let taps =
            self.observers.begin(&model, &caller, is_chosen).into_iter().chain(tap).collect();
        let mut passage = Passage::begin(&model, caller.started_at, taps, self.ending.clone());
        match self.pass::<W, C>(&model, caller, call, &mut passage).await {
            Ok(answer) => Ok(Answered { answer, record: passage.succeed() }),
            Err(error) => {
                passage.fail(&error);
                Err(error.with_model(model.name()))
            }
        }
    }

    /// Counts a request that was turned away before it named a model.
    pub fn turned_away(&self, error: &InferError) {
        self.metrics.record_unresolved(error.code.as_str());
    }

    fn resolve(&self, target: Target) -> Result<ModelHandle, InferError> {
        let Target { model, version, key } = target;
        let model = match model {
            Some(name) => Ok(ModelRef { name, version }),
            None => self.repository.default_model(version),
        };
        let resolved = model.and_then(|model| self.repository.resolve_for(&model, key));
        resolved.inspect_err(|error| self.turned_away(error))
    }

    async fn pass<W: Wire, C: Call>(
        &self,
        model: &ModelHandle,
        caller: Caller,
        mut call: C,
        passage: &mut Passage,
    ) -> Result<EncodedAnswer<C::Packing>, InferError> {
        let limits = model.limits();
        let wire = W::new(call.metadata())?;
        let timeout = call.timeout()?.map_or(limits.timeout, |wanted| wanted.min(limits.timeout));
        let mut deadline = caller.started_at + timeout;

        let max_bytes = usize::try_from(limits.max_body_bytes).unwrap_or(usize::MAX);
        let limits = BodyLimits { max_bytes, deadline };
        let Caller { request_id, trace, recipient, .. } = caller;
        let received = call.read(limits, self.budget.lease_for(recipient)).await?;

        let decode_started = Instant::now();
        let (decoded, lease) = decode(wire, received, model.interface(), deadline).await?;
        if let Some(timeout) = decoded.timeout {
            deadline = deadline.min(caller.started_at + timeout);
        }
        passage.decoded(decode_started.elapsed());

        let parameters = decoded.parameters;
        if !parameters.is_empty() && model.transform().extras().is_empty() {
            return Err(Parameters::without_labels());
        }
        let context = Context { request_id, deadline, trace, parameters };
        let prepare_started = Instant::now();
        let prepared = prepare(model, decoded.inputs, lease, deadline).await?;
        let Prepared { inputs, lease, work } = prepared;
        if let Some(work) = work {
            passage.prepared(prepare_started.elapsed(), work);
        }
        let request = validate(model, InferRequest { context, inputs })?;
        passage.checked(&request);
        let mut response = run(model, request).await?;
        response.work = work.unwrap_or_default();
        passage.inferred(&response);
        call.inferred(&response);

        let encode_started = Instant::now();
        let packing = if W::PACKS { call.packing() } else { None };
        let plan = decoded.plan;
        let unwritten = Unwritten::<W, _> { response, plan, packing, lease, deadline };
        let answer = unwritten.write().await?;
        passage.encoded(encode_started.elapsed());
        Ok(answer)
    }
}

/// Decodes with the tensors booked before they exist: at most what the text can hold, and at most
/// what the model takes.
async fn decode<W: Wire>(
    wire: W,
    received: Received,
    spec: &Arc<ModelSpec>,
    deadline: Instant,
) -> Result<(Decoded<W::Plan>, ByteLease), InferError> {
    let Received { body, mut lease } = received;
    let (body_bytes, text_bytes) = (body.len(), wire.text_bytes(body.len()));
    if text_bytes == 0 {
        // The body holds the tensors as they are; its bytes are booked already. A file becomes an element of one, which is a copy.
        if spec.contract.content.is_some() {
            lease.grow(body_bytes)?;
        }
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
    let n_columns = spec.inputs.iter().filter(|input| spec.is_column(input)).count();
    if n_columns > 0 {
        // A row may leave out any of its columns, and has a place for them all the same.
        let n_rows = spec.max_rows.min(text_bytes / 2 + 1);
        let places = n_rows.saturating_mul(n_columns * size_of::<f64>());
        return places.saturating_add(text_bytes).max(by_body);
    }
    let by_spec = spec.inputs.iter().map(|input| {
        let row = input.shape.example(spec.max_rows, 0)?;
        let fixed = input.declared && !row.dims().contains(&0);
        fixed.then_some(row.elements()?.checked_mul(input.datatype.byte_size()?)?)
    });
    by_spec.sum::<Option<usize>>().map_or(by_body, |by_spec| by_spec.min(by_body))
}
