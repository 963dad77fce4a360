//! The child that a loader, its models and their engines share: started when it is needed, asked one thing at a time, and
//! given up when it breaks off.

use super::RemoteOptions;
use super::death;
use super::process::{Message, Process};
use super::protocol::{self, Request, Response};
use crate::engine::{Death, EngineError, Fault, Output};
use crate::tensor::Buffer;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a run may go on when its batch's deadline has passed: nobody waits for it any more, but ending it ends the child,
/// with all models in it.
const RUN_GRACE: Duration = Duration::from_secs(1);

/// When the time for something is up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    /// How long that was at first; `None` where it is that of the requests of a batch.
    limit: Option<Duration>,
}

impl Deadline {
    pub(super) fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit: Some(limit) }
    }

    /// When the requests of a batch have had their time.
    pub(super) const fn of_requests(at: Instant) -> Self {
        Self { at, limit: None }
    }

    /// The earlier of this one and that of a run whose batch has such a deadline.
    pub(super) fn of_run(self, batch: Option<Instant>) -> Self {
        match batch.and_then(|deadline| deadline.checked_add(RUN_GRACE)) {
            Some(at) if at < self.at => Self::of_requests(at),
            _ => self,
        }
    }

    /// The later of this one and `limit` from now.
    pub(super) fn or_after(self, limit: Duration) -> Self {
        let other = Self::after(limit);
        if other.at > self.at { other } else { self }
    }
}

/// What the loader, its models and their engines share: the child.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: RemoteOptions,
    /// Whether the log says that the sandbox is not whole.
    pub(super) has_warned: AtomicBool,
    pub(super) state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) process: Option<Process>,
    /// Counts the children. Ids of a model are worth nothing in another child.
    generation: u64,
}

impl Shared {
    /// Loads in the running child, or in a new one.
    pub(super) fn load(
        &self,
        request: &Request,
        files: Vec<BorrowedFd<'_>>,
        deadline: Deadline,
    ) -> Result<(u64, Response), EngineError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.process.as_ref().is_none_or(Process::has_ended) {
            let process =
                Process::spawn(&self.options).map_err(|error| self.options.cannot_start(&error))?;
            state.generation += 1;
            state.process = Some(process);
        }
        if let (Some(process), Some(time)) = (&state.process, self.options.processor_time)
            && let Err(error) = process.allow_processor_time(time)
        {
            tracing::warn!(%error, "the child's processor time cannot be limited");
        }
        let generation = state.generation;
        let (answer, _) =
            self.exchange(&mut state, Message { request, buffers: &[], files }, deadline)?;
        Ok((generation, answer))
    }

    /// One exchange with the child of that generation.
    pub(super) fn call(
        &self,
        generation: u64,
        request: &Request,
        buffers: &[Buffer],
        deadline: Deadline,
    ) -> Result<(Response, Vec<Output>), EngineError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.generation != generation {
            return Err(gone());
        }
        self.exchange(&mut state, Message { request, buffers, files: Vec::new() }, deadline)
    }

    fn exchange(
        &self,
        state: &mut State,
        message: Message<'_>,
        deadline: Deadline,
    ) -> Result<(Response, Vec<Output>), EngineError> {
        let Some(process) = &state.process else {
            return Err(gone());
        };
        let error = match process.call(message, deadline.at) {
            Ok((Response::Failed { fault, message }, _)) => {
                let error = protocol::failure(fault, &message);
                if error.fault != Fault::Device {
                    return Err(error);
                }
                // Only a new process recovers from this one.
                error
            }
            Ok(answer) => return Ok(answer),
            Err(error) => {
                let error = explain(process, &error, deadline);
                let last_words = process.last_words();
                tracing::warn!(%error, last_words, "the child process was given up");
                error
            }
        };
        state.process = None;
        Err(error)
    }

    /// An answer that does not belong to its request: whatever runs there, it is not our program.
    pub(super) fn wrong_answer(&self, generation: u64) -> EngineError {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.generation == generation {
            state.process = None;
        }
        EngineError::new(
            Fault::Died(Death::Crashed),
            "the process that ran the model gave another call's answer",
        )
    }
}

/// A model whose child has died before.
fn gone() -> EngineError {
    EngineError::new(Fault::Died(Death::Crashed), "the process that held the model is gone")
}

/// What a broken exchange says about the child, which is about to be dropped.
pub(super) fn explain(process: &Process, error: &io::Error, deadline: Deadline) -> EngineError {
    match error.kind() {
        // Then its time says nothing of what it ran.
        io::ErrorKind::TimedOut if process.is_stopped() => EngineError::new(
            Fault::Died(Death::Terminated),
            "the process that ran the model was stopped by a signal from outside",
        ),
        io::ErrorKind::TimedOut => {
            let message = match deadline.limit {
                Some(limit) => {
                    let tenths = (limit.as_secs_f64() * 10.0).round();
                    format!("did not answer within {} s", tenths / 10.0)
                }
                None => "did not answer before the deadline of its requests".to_owned(),
            };
            EngineError::new(Fault::TimedOut, message)
        }
        io::ErrorKind::InvalidData => EngineError::new(
            Fault::Died(Death::Crashed),
            format!("the process that ran the model sent no answer but {error}"),
        ),
        _ => {
            let status = process.ended_by_itself();
            let how = status
                .map_or_else(|| "closed its connection and was ended".to_owned(), death::describe);
            let death = status.map_or(Death::Crashed, death::death);
            EngineError::new(Fault::Died(death), format!("the process that ran the model {how}"))
        }
    }
}
