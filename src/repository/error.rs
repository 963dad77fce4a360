//! What the repository reports to operators, and which code a client sees for it.

use super::failure::ModelFailure;
use crate::inference::{ErrorCode, ModelName, Version, VersionLabel};
use std::path::PathBuf;
use thiserror::Error;

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
    /// An operator let it go.
    #[error("model {0:?} was unloaded: load it first")]
    IsUnloaded(ModelName),
    /// The version is there and does not serve.
    #[error("version {1} of model {0:?} is not ready")]
    NotReady(ModelName, Version),
    /// It is not loaded, and the highest that is answers by default.
    #[error(
        "version {1} of model {0:?} is not loaded, and would answer by default if it were: pin a version first"
    )]
    WouldAnswer(ModelName, Version),
    /// Requests that name no version would change over to another one unnoticed.
    #[error("version {1} of model {0:?} is its default, set another one first or unload the model")]
    IsDefault(ModelName, Version),
    /// The label follows by itself.
    #[error(
        "the label {0:?} follows by itself: it names the version that answers by default, or the new one of a roll-out"
    )]
    LabelReserved(VersionLabel),
    /// Where a version may be named either way, a number is that of a version.
    #[error("the label {0:?} is a number, expected a name with a letter: numbers name versions")]
    LabelIsNumber(VersionLabel),
    /// There is no such label.
    #[error("model {0:?} has no label {1:?}")]
    LabelNotFound(ModelName, VersionLabel),
    /// So many labels are as many as there may be.
    #[error("model {0:?} has {1} labels already, remove one first")]
    TooManyLabels(ModelName, usize),
    /// The version was not rejected.
    #[error("version {1} of model {0:?} was not rejected")]
    NotRejected(ModelName, Version),
    /// There is no new version beside the one that serves.
    #[error("no roll-out of model {0:?} is under way")]
    NoRollout(ModelName),
    /// A shadow gets copies.
    #[error(
        "version {1} of model {0:?} is a shadow: it gets copies of {2} of the requests, as its steps say, and until it is promoted answers those alone that name it"
    )]
    AnswersNobody(ModelName, Version, String),
    /// The file was rejected.
    #[error("version {1} of model {0:?} was rejected: {2}. Accept it first")]
    IsRejected(ModelName, Version, String),
    /// There is nothing to find out about it.
    #[error("version {1} of model {0:?} is the same file as version {2}, which serves")]
    SameFile(ModelName, Version, Version),
    /// A version cannot be rolled out to itself.
    #[error(
        "version {1} of model {0:?} serves already, or nothing serves that it could be compared with"
    )]
    NothingToRollOut(ModelName, Version),
    /// The server is shutting down.
    #[error("the server is shutting down")]
    Draining,
    /// The model, or a version of it, could not be loaded.
    #[error("model {model:?} could not be loaded: {}", failure.details())]
    Failed {
        /// The model.
        model: ModelName,
        /// One line a cause.
        failure: ModelFailure,
    },
}

impl RepositoryError {
    /// The code that a management request is answered with.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound(_) => ErrorCode::ModelNotFound,
            Self::VersionNotFound(..) | Self::LabelNotFound(..) => ErrorCode::VersionNotFound,
            Self::Busy(_)
            | Self::Crowded(_)
            | Self::IsUnloaded(_)
            | Self::NotReady(..)
            | Self::WouldAnswer(..)
            | Self::AnswersNobody(..)
            | Self::IsRejected(..)
            | Self::SameFile(..)
            | Self::IsDefault(..)
            | Self::LabelReserved(_)
            | Self::TooManyLabels(..)
            | Self::NotRejected(..)
            | Self::NoRollout(_)
            | Self::NothingToRollOut(..) => ErrorCode::Conflict,
            Self::LabelIsNumber(_) => ErrorCode::InvalidRequest,
            Self::Draining => ErrorCode::Draining,
            Self::Failed { .. } => ErrorCode::ModelNotReady,
            Self::Folder { .. } | Self::Thread(_) => ErrorCode::Internal,
        }
    }
}
