//! Why the routes fail, in groups that many have.

use crate::inference::ErrorCode;

/// Why a prediction may fail, in whatever words it comes.
pub(super) const PREDICTION: &[ErrorCode] = &[
    ErrorCode::InvalidJson,
    ErrorCode::InvalidBody,
    ErrorCode::InvalidInput,
    ErrorCode::ModelNotFound,
    ErrorCode::BodyTimeout,
    ErrorCode::BodyTooLarge,
    ErrorCode::UnsupportedMediaType,
    ErrorCode::QueueFull,
    ErrorCode::InferenceFailed,
    ErrorCode::ModelCrashed,
    ErrorCode::Unsupported,
    ErrorCode::ModelNotReady,
    ErrorCode::Draining,
    ErrorCode::Overloaded,
    ErrorCode::OutOfMemory,
    ErrorCode::DeadlineExceeded,
];

/// Why an order to a model may fail.
pub(super) const ORDER: &[ErrorCode] =
    &[ErrorCode::ModelNotFound, ErrorCode::Conflict, ErrorCode::Draining];

/// The route names a version.
pub(super) const VERSION: &[ErrorCode] = &[ErrorCode::VersionNotFound];

/// Why a model that must be loaded cannot be described.
pub(super) const READ: &[ErrorCode] = &[ErrorCode::ModelNotFound, ErrorCode::ModelNotReady];

/// Why a model cannot be described that need not be loaded.
pub(super) const FOUND: &[ErrorCode] = &[ErrorCode::ModelNotFound];

/// Why a body that may be missing cannot be read.
pub(super) const BODY: &[ErrorCode] = &[
    ErrorCode::InvalidJson,
    ErrorCode::InvalidBody,
    ErrorCode::BodyTimeout,
    ErrorCode::BodyTooLarge,
    ErrorCode::UnsupportedMediaType,
    ErrorCode::Overloaded,
];

/// What is not done at all.
pub(super) const NEVER: &[ErrorCode] = &[ErrorCode::Unsupported];
