//! The steps before a run: where they are done, and what they may take.

use super::offload::{elsewhere, late};
use crate::inference::{ByteLease, InferError, NamedTensor, Work};
use crate::repository::ModelHandle;
use crate::scheduler::Permit;
use crate::transform::Desk;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::{timeout, timeout_at};

/// What the engine is to get.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) inputs: Vec<NamedTensor>,
    /// What the request has booked, with the tensors.
    pub(super) lease: ByteLease,
    /// What there was to do; nothing for a model without such steps.
    pub(super) work: Option<Work>,
}

/// Makes what the engine takes of what a client sent. All that this needs is booked before it is taken. Long work has a
/// thread of its own and a permit like a run's, so that other models have their turns.
///
/// # Errors
///
/// `invalid_input` for what clients must not send, `overloaded` where it does not fit into memory, `deadline_exceeded`.
pub(super) async fn prepare(
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
    let place =
        timeout_at(deadline.into(), Arc::clone(model.permits().places()).acquire_owned()).await;
    let place = place.map_err(|_| late())?;
    let permits = model.permits().clone();
    let lent = Lent(Arc::default());
    let turn = Arc::clone(&lent.0);
    let in_turn = move || {
        let _place = place;
        let permit = permits.acquire();
        let begins = Instant::now() < deadline && turn.begin(permit);
        let outcome = begins.then(apply);
        turn.end();
        outcome
    };
    let mut work = pin!(elsewhere(deadline, in_turn));
    let outcome = loop {
        // Others have their turns also where a step takes longer than anybody thought.
        match timeout(LENT_FOR, &mut work).await {
            Ok(outcome) => break outcome,
            Err(_) => lent.0.end_if_long(),
        }
    };
    outcome?.ok_or_else(late)?
}

/// Longest that a step holds its permit.
const LENT_FOR: Duration = Duration::from_millis(250);

/// The permit of a step under way, which goes back when the step is done, has taken long, or is awaited no more.
#[derive(Debug, Default)]
struct Turn(Mutex<TurnState>);

#[derive(Debug, Default)]
struct TurnState {
    permit: Option<(Permit, Instant)>,
    is_over: bool,
}

impl Turn {
    /// Says whether anybody still waits for it.
    fn begin(&self, permit: Permit) -> bool {
        let mut state = self.lock();
        if !state.is_over {
            state.permit = Some((permit, Instant::now()));
        }
        !state.is_over
    }

    fn end_if_long(&self) {
        let mut state = self.lock();
        if state.permit.as_ref().is_some_and(|(_, since)| since.elapsed() >= LENT_FOR) {
            state.permit = None;
        }
    }

    fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        state.permit = None;
    }

    fn lock(&self) -> MutexGuard<'_, TurnState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a turn with its caller.
struct Lent(Arc<Turn>);

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.end();
    }
}
