//! A request under way, as far as a trace needs it.

use super::ids::SpanIds;
use crate::inference::{InferResponse, ModelName, RunId, ValidRequest, Version};
use crate::pipeline::Tap;
use crate::repository::ModelHandle;
use crate::telemetry::{ModelMetrics, RequestRecord};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

/// A request that may become a span.
#[derive(Debug)]
pub struct OpenSpan {
    pub(super) ids: SpanIds,
    /// The caller's span.
    pub(super) parent: Option<u64>,
    /// What tracers have written beside that.
    pub(super) state: Option<String>,
    /// Whether it was chosen when it came.
    pub(super) is_chosen: bool,
    pub(super) began: SystemTime,
    pub(super) began_at: Instant,
    passed: Mutex<Option<Passed>>,
}

/// What the door knows of a request that has gone through it.
#[derive(Debug)]
pub(super) struct Passed {
    pub(super) model: ModelName,
    pub(super) version: Version,
    pub(super) metrics: Arc<ModelMetrics>,
    pub(super) n_rows: Option<usize>,
    /// When the tensors suited the model, and when its answer was there.
    pub(super) checked_at: Option<Instant>,
    pub(super) answered_at: Option<Instant>,
    pub(super) run: Option<RunId>,
    pub(super) record: RequestRecord,
}

impl Passed {
    pub(super) fn new(model: ModelName, version: Version, metrics: Arc<ModelMetrics>) -> Self {
        Self {
            model,
            version,
            metrics,
            n_rows: None,
            checked_at: None,
            answered_at: None,
            run: None,
            record: RequestRecord::default(),
        }
    }
}

impl OpenSpan {
    pub(super) fn new(
        ids: SpanIds,
        parent: Option<u64>,
        state: Option<String>,
        is_chosen: bool,
        began_at: Instant,
    ) -> Self {
        let (began, passed) = (SystemTime::now(), Mutex::default());
        Self { ids, parent, state, is_chosen, began, began_at, passed }
    }

    /// Looks on at the door.
    #[must_use]
    pub fn tap(self: &Arc<Self>, model: &ModelHandle) -> Box<dyn Tap> {
        let (name, metrics) = (model.name().clone(), Arc::clone(model.metrics()));
        let passed = Passed::new(name, model.version(), metrics);
        Box::new(LookingOn { span: Arc::clone(self), passed })
    }

    /// The trace, if it is known by now that it is sent: 32 hexadecimal digits.
    #[must_use]
    pub fn chosen_trace(&self) -> Option<String> {
        self.is_chosen.then(|| format!("{:032x}", self.ids.trace))
    }

    pub(super) fn set_passed(&self, passed: Passed) {
        *self.passed.lock().unwrap_or_else(PoisonError::into_inner) = Some(passed);
    }

    /// What the door said, once the request is through.
    pub(super) fn take_passed(&self) -> Option<Passed> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct LookingOn {
    span: Arc<OpenSpan>,
    passed: Passed,
}

impl Tap for LookingOn {
    fn checked(&mut self, request: &ValidRequest) {
        self.passed.n_rows = Some(request.n_rows());
        self.passed.checked_at = Some(Instant::now());
    }

    fn inferred(&mut self, response: &InferResponse) {
        self.passed.run = Some(response.timings.run);
        self.passed.answered_at = Some(Instant::now());
    }

    fn recorded(self: Box<Self>, record: &RequestRecord) {
        let Self { span, mut passed } = *self;
        passed.record = *record;
        span.set_passed(passed);
    }
}
