//! A request on its way through the door: counted as in flight, and recorded once however it ends.

use super::observer::Tap;
use crate::inference::{ErrorCode, InferError, InferResponse, Reached, ValidRequest, Work};
use crate::repository::ModelHandle;
use crate::telemetry::{Phase, RequestGuard, RequestRecord};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where the record of one request is kept, and who looks on. Dropped with the future of a caller who
/// has left, it says so.
pub(super) struct Passage {
    guard: RequestGuard,
    started_at: Instant,
    taps: Vec<Box<dyn Tap>>,
    ending: Ending,
}

/// Whether the server gives up what is under way.
#[derive(Clone, Default)]
pub(super) struct Ending(pub(super) Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl fmt::Debug for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ending").field(&self.0.as_ref().map(|is_so| is_so())).finish()
    }
}

impl Passage {
    pub(super) fn begin(
        model: &ModelHandle,
        started_at: Instant,
        taps: Vec<Box<dyn Tap>>,
        ending: Ending,
    ) -> Self {
        let abandoned = ErrorCode::ClientClosed.as_str();
        let guard = RequestGuard::new(Arc::clone(model.metrics()), started_at, abandoned);
        Self { guard, started_at, taps, ending }
    }

    /// The body has become tensors.
    pub(super) fn decoded(&mut self, took: Duration) {
        self.guard.record.phases[Phase::Decode] = Some(took);
    }

    /// What the client sent has become what the engine takes.
    pub(super) fn prepared(&mut self, took: Duration, work: Work) {
        self.guard.record.phases[Phase::Preprocess] = Some(took);
        self.guard.record_work(work.tokens, work.pixels);
    }

    /// The tensors suit the model.
    pub(super) fn checked(&mut self, request: &ValidRequest) {
        for tap in &mut self.taps {
            tap.checked(request);
        }
    }

    /// The model has answered.
    pub(super) fn inferred(&mut self, response: &InferResponse) {
        let record = &mut self.guard.record;
        record.phases[Phase::Queue] = Some(response.timings.queue);
        record.phases[Phase::Input] = Some(response.timings.input);
        record.phases[Phase::Compute] = Some(response.timings.compute);
        record.phases[Phase::Output] = Some(response.timings.output);
        for tap in &mut self.taps {
            tap.inferred(response);
        }
    }

    /// The answer is written.
    pub(super) fn encoded(&mut self, took: Duration) {
        self.guard.record.phases[Phase::Encode] = Some(took);
    }

    /// The caller gets a prediction; what is known about it so far.
    pub(super) fn succeed(&mut self) -> RequestRecord {
        self.guard.succeed();
        self.guard.record
    }

    /// The caller gets an error; the phases that the request reached are recorded all the same.
    pub(super) fn fail(&mut self, error: &InferError) {
        if let Some(Reached { queue, compute }) = error.details.reached {
            let phases = &mut self.guard.record.phases;
            phases[Phase::Queue] = Some(queue);
            phases[Phase::Compute] = compute;
        }
        self.guard.fail(error.code.as_str());
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let is_abandoned = self.guard.record.failure == Some(ErrorCode::ClientClosed.as_str());
        if is_abandoned && self.ending.0.as_ref().is_some_and(|is_so| is_so()) {
            self.guard.fail(ErrorCode::Draining.as_str());
        }
        if self.taps.is_empty() {
            return;
        }
        let record = RequestRecord { total: self.started_at.elapsed(), ..self.guard.record };
        for tap in self.taps.drain(..) {
            tap.recorded(&record);
        }
    }
}
