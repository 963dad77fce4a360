//! What an engine reports, and which code a client sees for it.

use crate::inference::ErrorCode;
use thiserror::Error;

/// Whose fault a failure of an engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The file cannot be loaded.
    InvalidFile,
    /// The model's own code raised on this input.
    Raised,
    /// The model asks for a device, an operator or a library that this host does not have, whatever its input.
    Environment,
    /// The host or the device is out of memory.
    OutOfMemory,
    /// The device is in a state from which only a new process recovers.
    Device,
    /// The model needs something that is not supported.
    Unsupported,
    /// The process that ran the model ended, in this way.
    Died(Death),
    /// The process that ran the model did not answer in time and was ended.
    TimedOut,
    /// Our own fault.
    Internal,
}

/// How a process ended that ran a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// By what the model did in it: a signal of its own making, an exit, or an answer that is none.
    Crashed,
    /// By somebody else: an operator, whoever stops the service, or the limit on its processor time.
    Terminated,
    /// By the kernel, which was short of memory.
    OutOfMemory,
    /// Before it was asked: what was to be run has not begun.
    Before,
}

/// A failure of an engine. The message is for operators; [`EngineError::code`] is for clients.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct EngineError {
    /// Whose fault it is.
    pub fault: Fault,
    /// One line, without backtraces or build paths.
    pub message: String,
}

impl EngineError {
    /// A failure of this kind.
    pub fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into() }
    }

    /// The code that a request in the failed batch is answered with.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self.fault {
            Fault::Raised => ErrorCode::InferenceFailed,
            Fault::OutOfMemory => ErrorCode::OutOfMemory,
            Fault::Environment | Fault::Unsupported => ErrorCode::Unsupported,
            Fault::Died(_) => ErrorCode::ModelCrashed,
            Fault::TimedOut => ErrorCode::DeadlineExceeded,
            Fault::InvalidFile | Fault::Device | Fault::Internal => ErrorCode::Internal,
        }
    }
}
