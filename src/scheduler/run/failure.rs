//! Why a run gave no answers, and whose fault that is. Pure.

use super::engine::Health;
use crate::engine::{Death, EngineError, Fault};
use crate::inference::{ErrorCode, InferError, ModelSpec, RefusalReason, ValidRequest};
use std::fmt;

/// Why a run gave no answers.
#[derive(Debug)]
pub(in crate::scheduler) enum Failure {
    /// The engine says so.
    Engine(EngineError),
    /// It ran, and its outputs are not what the model was found to give.
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(error) => error.fmt(f),
            Self::Broken(message) => f.write_str(message),
        }
    }
}

impl Failure {
    pub(super) fn broken(message: impl Into<String>) -> Self {
        Self::Broken(message.into())
    }

    /// Whether other inputs, or these in another batch, might do.
    pub(super) fn is_of_inputs(&self) -> bool {
        match self {
            Self::Engine(error) => {
                matches!(error.fault, Fault::Raised | Fault::Environment | Fault::OutOfMemory)
            }
            Self::Broken(_) => true,
        }
    }

    /// Whether it comes of a request and not of how many there are: then a batch that has passed holds none like it.
    pub(super) fn is_of_one_request(&self) -> bool {
        match self {
            Self::Engine(error) => matches!(error.fault, Fault::Raised | Fault::Environment),
            Self::Broken(_) => false,
        }
    }

    /// Whether the process that ran the model has ended by it, or was ended.
    pub(super) const fn is_end(&self) -> bool {
        matches!(self, Self::Engine(EngineError { fault: Fault::Died(_) | Fault::TimedOut, .. }))
    }

    /// Whether nothing of what was to be run has begun.
    pub(in crate::scheduler) const fn is_before(&self) -> bool {
        matches!(self, Self::Engine(EngineError { fault: Fault::Died(Death::Before), .. }))
    }

    /// Whether it was ended because it went on for too long.
    pub(in crate::scheduler) const fn is_timeout(&self) -> bool {
        matches!(self, Self::Engine(EngineError { fault: Fault::TimedOut, .. }))
    }

    /// Whether that was the doing of what was being run, if nothing else was.
    pub(in crate::scheduler) const fn is_own_end(&self) -> bool {
        matches!(
            self,
            Self::Engine(EngineError { fault: Fault::Died(Death::Crashed) | Fault::TimedOut, .. })
        )
    }

    /// What is left of the engine.
    pub(super) fn health(self) -> Health {
        match self {
            Self::Engine(EngineError { fault: Fault::Device, message, .. }) => {
                Health::Lost(message)
            }
            Self::Engine(EngineError {
                fault: Fault::Internal | Fault::Died(_) | Fault::TimedOut,
                ..
            }) => Health::Rebuild,
            _ => Health::Good,
        }
    }

    /// What the sender of a request is told.
    pub(super) fn report(&self, spec: &ModelSpec, request: &ValidRequest) -> InferError {
        let error = match self {
            Self::Engine(error) => error,
            Self::Broken(message) => {
                let text = format!("the model broke its contract: {message}");
                // Nobody said that it takes such inputs: of others nothing was promised.
                return match request.fits_evidence() {
                    true => InferError::new(ErrorCode::InferenceFailed, text),
                    false => spec.refused(request, RefusalReason::OtherForm).with_cause(text),
                };
            }
        };
        // Nobody said that it takes such inputs, so it is not the model that is wrong.
        let is_refused = matches!(error.fault, Fault::Raised | Fault::Unsupported);
        if is_refused && !request.fits_evidence() {
            return spec.refused(request, RefusalReason::Raised).with_cause(error.message.as_str());
        }
        // The engine's text may hold parts of the model's source: it goes to the log, as the cause, and
        // not to clients.
        let text = match error.fault {
            Fault::Raised => "the model raised an error on this input",
            Fault::OutOfMemory => {
                "there is not enough memory to run the model on this input: send fewer or smaller rows"
            }
            Fault::Unsupported => "the model gives or takes what cannot be served",
            Fault::Environment => "the model asks for something that this server does not have",
            Fault::Died(_) => "the process that runs the model ended on this input",
            Fault::TimedOut => "the model did not end in time on this input and was ended",
            _ => "the model could not be run",
        };
        InferError::new(error.code(), text).with_cause(error.message.as_str())
    }
}
