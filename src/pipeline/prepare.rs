//! The steps before a run: where they are done, and what they may take.

use super::offload::{elsewhere, late};
use crate::inference::{ByteLease, InferError, NamedTensor, Work};
use crate::repository::ModelHandle;
use crate::transform::Desk;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

/// Places for the steps that take long. There are as many as permits: more threads would only wait for one.
#[derive(Debug, Clone)]
pub(super) struct Preparation(Arc<Semaphore>);

/// What the engine is to get.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) inputs: Vec<NamedTensor>,
    /// What the request has booked, with the tensors.
    pub(super) lease: ByteLease,
    /// What there was to do; nothing for a model without such steps.
    pub(super) work: Option<Work>,
}

impl Preparation {
    pub(super) fn new(n_places: usize) -> Self {
        Self(Arc::new(Semaphore::new(n_places)))
    }

    /// Makes what the engine takes of what a client sent. All that this needs is booked before it is taken. Long work has a
    /// thread of its own and a permit like a run's, so that other models have their turns.
    ///
    /// # Errors
    ///
    /// `invalid_input` for what clients must not send, `overloaded` where it does not fit into memory, `deadline_exceeded`.
    pub(super) async fn prepare(
        &self,
        model: &ModelHandle,
        inputs: Vec<NamedTensor>,
        mut lease: ByteLease,
        deadline: Instant,
    ) -> Result<Prepared, InferError> {
        let transform = model.transform();
        if transform.is_plain() {
            return Ok(Prepared { inputs, lease, work: None });
        }
        let held = lease.held();
        let is_quick = transform.is_quick(&inputs);
        let handle = model.clone();
        let apply = move || {
            let mut desk = Desk::new(&mut lease, deadline);
            let inputs = handle.transform().before(inputs, &mut desk)?;
            let work = desk.work;
            let bytes: usize = inputs.iter().map(|input| input.tensor.buffer().len()).sum();
            lease.shrink_to(held + bytes);
            Ok(Prepared { inputs, lease, work: Some(work) })
        };
        if is_quick {
            return apply();
        }
        let place = timeout_at(deadline.into(), Arc::clone(&self.0).acquire_owned()).await;
        let place = place.map_err(|_| late())?;
        let permits = model.permits().clone();
        let in_turn = move || {
            let _place = place;
            let _permit = permits.acquire();
            (Instant::now() < deadline).then(apply)
        };
        elsewhere(deadline, in_turn).await?.ok_or_else(late)?
    }
}
