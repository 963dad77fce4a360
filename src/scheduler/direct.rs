//! Runs of very small models on the thread that asked, in place of a hop to an instance and back.
//!
//! Waking a thread and being woken by it takes longer than such a model's arithmetic. Only models
//! whose runs are known to end soon are run this way (see `SchedulerOptions::direct`), because
//! nothing can take a run away from the thread of the runtime that it holds.

use super::PermitSource;
use super::instance::Shared;
use super::run::{Health, run_batch};
use crate::engine::{Engine, EngineError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Engines that no thread owns.
pub(super) struct Direct {
    idle: Mutex<Vec<Box<dyn Engine>>>,
}

impl Direct {
    /// With as many engines as there are instances.
    pub(super) fn new(shared: &Shared, engines: usize) -> Result<Self, EngineError> {
        let engines = (0..engines).map(|_| shared.engine()).collect::<Result<_, _>>()?;
        Ok(Self { idle: Mutex::new(engines) })
    }

    /// Runs one batch of what is queued, if an engine and a permit are free; waits for neither.
    pub(super) fn run(&self, shared: &Shared) {
        let permit = shared.permits().map(PermitSource::try_acquire);
        if permit.as_ref().is_some_and(Option::is_none) {
            return;
        }
        let Some(mut engine) = self.idle().pop() else { return };
        let since = Instant::now();
        let batch = shared.queue.take_batch(since);
        let health = if batch.is_empty() {
            Health::Good
        } else {
            let turn = shared.queue.begin(&batch, since);
            let health = run_batch(shared, &mut *engine, batch);
            turn.end();
            health
        };
        drop(permit);
        match health {
            Health::Good => self.idle().push(engine),
            Health::Rebuild => match shared.engine() {
                Ok(fresh) => self.idle().push(fresh),
                Err(error) => shared.fail(error.message),
            },
            Health::Lost(reason) => shared.fail(reason),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Box<dyn Engine>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
