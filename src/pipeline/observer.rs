//! Who looks on while requests pass the door: what is captured, compared, evaluated or counted hangs
//! here, and the story of a request does not change for it.
//!
//! Taps are called on the request's own task, between its steps: they clone what they want (tensors are
//! ref-counted) and do the work elsewhere.

use super::caller::Caller;
use crate::inference::{InferResponse, ValidRequest};
use crate::repository::ModelHandle;
use crate::telemetry::RequestRecord;
use std::fmt;
use std::sync::Arc;

/// Decides for each request whether it is looked at.
pub trait Observer: fmt::Debug + Send + Sync {
    /// A request for this version comes in; `None` lets it pass unseen. `is_chosen`: its caller named no version, so that this
    /// one was chosen among the model's.
    fn begin(&self, model: &ModelHandle, caller: &Caller, is_chosen: bool) -> Option<Box<dyn Tap>>;
}

/// Looks at one request, as far as that gets.
pub trait Tap: Send {
    /// The request, which the model will be run with.
    fn checked(&mut self, _request: &ValidRequest) {}

    /// The answer, before a protocol writes it.
    fn inferred(&mut self, _response: &InferResponse) {}

    /// The end, however the request came to it; nothing comes after this.
    fn recorded(self: Box<Self>, _record: &RequestRecord) {}
}

/// All observers. Empty for most servers, which then pay nothing for it.
#[derive(Debug, Clone, Default)]
pub(super) struct Observers(Arc<[Arc<dyn Observer>]>);

impl Observers {
    pub(super) fn new(observers: Vec<Arc<dyn Observer>>) -> Self {
        Self(observers.into())
    }

    pub(super) fn begin(
        &self,
        model: &ModelHandle,
        caller: &Caller,
        is_chosen: bool,
    ) -> Vec<Box<dyn Tap>> {
        self.0.iter().filter_map(|observer| observer.begin(model, caller, is_chosen)).collect()
    }
}
