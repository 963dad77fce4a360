//! What the repository reports to operators, and which code a client sees for it.

use crate::engine::{EngineError, Fault};
use crate::inference::{ErrorCode, ModelName, Version};
use std::path::PathBuf;
use thiserror::Error;

/// Why a version is not served. The words may be the file's own, or name files: they are for the log and the management
/// listener. Everybody else is told the code's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: FailureCode,
    pub(super) reason: String,
}

impl Failure {
    pub(super) fn new(code: FailureCode, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self::new(FailureCode::Other, reason)
    }
}

impl From<&str> for Failure {
    fn from(reason: &str) -> Self {
        Self::new(FailureCode::Other, reason)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let code = match error.fault {
            Fault::InvalidFile => FailureCode::NotAModel,
            Fault::Raised => FailureCode::Raised,
            Fault::Environment | Fault::Unsupported => FailureCode::Unsupported,
            Fault::OutOfMemory => FailureCode::OutOfMemory,
            Fault::Died(_) => FailureCode::Crashed,
            Fault::TimedOut => FailureCode::TimedOut,
            Fault::Device | Fault::Internal => FailureCode::Other,
        };
        Self::new(code, error.message)
    }
}

macro_rules! failure_codes {
    ($($Code:ident, $name:literal: $text:literal;)+) => {
        /// What kind of failure it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum FailureCode { $($Code,)+ }

        impl FailureCode {
            pub(super) const ALL: &[Self] = &[$(Self::$Code,)+];

            /// Its name in what is kept.
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$Code => $name,)+ }
            }

            /// What everybody may know.
            pub(super) const fn text(self) -> &'static str {
                match self {
                    $(Self::$Code => concat!($text, "; the log and the management listener say more"),)+
                }
            }
        }
    };
}

failure_codes! {
    Settings, "settings": "what model.toml or the files beside it say is not right";
    NotAModel, "not_a_model": "the model file is no model that can be loaded";
    Damaged, "damaged": "the model file is damaged";
    Refused, "refused": "the model was refused: its code can reach beyond its tensors, and nobody vouches for it";
    Raised, "raised": "the trial failed: the model raised an error";
    Crashed, "crashed": "the trial failed: its process died";
    TimedOut, "timed_out": "the trial failed: the model did not answer in time";
    OutOfMemory, "out_of_memory": "the memory did not suffice for the model";
    Unsupported, "unsupported": "the model needs something that this server does not have";
    Stuck, "stuck": "the model's runs got stuck, and it was given up";
    Other, "other": "the model could not be loaded";
}

/// A failure of the repository. Messages of [`RepositoryError::Failed`] are for operators: they
/// may name files.
#[derive(Debug, Error)]
pub enum RepositoryError {
    /// The models folder cannot be read.
    #[error("the models folder {} cannot be read: {source}", path.display())]
    Folder {
        /// The folder as configured.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The system gives no thread.
    #[error("no thread can be started: {0}")]
    Thread(std::io::Error),
    /// There is no folder of that name.
    #[error("there is no model {0:?}")]
    NotFound(ModelName),
    /// The model has no version of that number, or none that is served.
    #[error("model {0:?} has no version {1}")]
    VersionNotFound(ModelName, Version),
    /// Another load or order of the model is under way.
    #[error("model {0:?} is being loaded or changed already")]
    Busy(ModelName),
    /// So many loads and orders are under way.
    #[error("{0} loads and orders are under way, try again when one has ended")]
    Crowded(usize),
    /// The version is there and does not serve.
    #[error("version {1} of model {0:?} is not ready")]
    NotReady(ModelName, Version),
    /// Requests that name no version would change over to another one unnoticed.
    #[error("version {1} of model {0:?} is its default, set another one first or unload the model")]
    IsDefault(ModelName, Version),
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
    /// The model, or a version of it, could not be loaded.
    #[error("model {model:?} could not be loaded: {reason}")]
    Failed {
        /// The model.
        model: ModelName,
        /// One line a cause.
        reason: String,
    },
}

impl RepositoryError {
    /// The code that a management request is answered with.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound(_) => ErrorCode::ModelNotFound,
            Self::VersionNotFound(..) => ErrorCode::VersionNotFound,
            Self::Busy(_) | Self::Crowded(_) | Self::NotReady(..) | Self::IsDefault(..) => {
                ErrorCode::Conflict
            }
            Self::Draining => ErrorCode::Draining,
            Self::Failed { .. } => ErrorCode::ModelNotReady,
            Self::Folder { .. } | Self::Thread(_) => ErrorCode::Internal,
        }
    }
}
