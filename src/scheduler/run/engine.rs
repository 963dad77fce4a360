//! One call of an engine, and what is left of the engine after it.

use crate::engine::{Batch, Engine, EngineError, Fault, RunOutcome};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What is left of an engine after a run.
#[derive(Debug)]
pub(in crate::scheduler) enum Health {
    Good,
    /// The run panicked: the engine's state is not to be trusted.
    Rebuild,
    /// No engine of this process can run the model any more.
    Lost(String),
}

/// Runs the engine; a panic in it becomes an error.
pub(in crate::scheduler) fn run(
    engine: &mut dyn Engine,
    batch: Batch,
) -> Result<RunOutcome, EngineError> {
    catch_unwind(AssertUnwindSafe(|| engine.run(batch)))
        .unwrap_or_else(|_| Err(EngineError::new(Fault::Internal, "the engine panicked")))
}
