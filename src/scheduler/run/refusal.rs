//! What the senders of requests are told that got no answer.

use super::failure::Failure;
use crate::inference::{ErrorCode, InferError, Reached};
use crate::scheduler::queue::Queued;
use crate::scheduler::shared::Shared;
use std::time::Instant;

/// Tells the senders of what cannot be run why. `taken_at`: when they left the queue.
pub(in crate::scheduler) fn refuse(
    shared: &Shared,
    batch: Vec<Queued>,
    failure: &Failure,
    taken_at: Instant,
) {
    for queued in batch {
        if failure.is_of_inputs() {
            shared.queue.failed(&queued);
        }
        let refusal = failure.report(&shared.job.spec, &queued.request);
        let queue = taken_at.saturating_duration_since(queued.enqueued_at);
        let reached = Reached { queue, compute: Some(taken_at.elapsed()) };
        queued.reply.send(Err(refusal.with_reached(reached)));
    }
}

/// Tells the sender of the one request that ended its model's process, and remembers its inputs.
pub(in crate::scheduler) fn refuse_killer(
    shared: &Shared,
    killer: Queued,
    failure: &Failure,
    taken_at: Instant,
) {
    shared.killers.remember(&killer.request, Instant::now());
    shared.metrics.killer();
    tracing::error!(
        model = %shared.options.label,
        request_id = %killer.request.context().request_id,
        rows = killer.request.n_rows(),
        reason = %failure,
        "A request ended the process that ran the model; the same inputs are refused for ten minutes"
    );
    refuse(shared, vec![killer], failure, taken_at);
}

/// Tells the sender of a request that the model has failed before it could be run again: it ran in the process that ended, or
/// was about to.
pub(in crate::scheduler) fn refuse_suspect(shared: &Shared, suspect: Queued) {
    tracing::error!(
        model = %shared.options.label,
        request_id = %suspect.request.context().request_id,
        rows = suspect.request.n_rows(),
        "A request was in the model's process when that ended for the last time; whether by it is not known"
    );
    suspect.reply.send(Err(InferError::new(ErrorCode::ModelNotReady, "the model has failed")));
}
