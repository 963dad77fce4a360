//! Why there are no figures.

use std::io;
use thiserror::Error;

/// Why there are no figures.
#[derive(Debug, Error)]
pub enum EvaluationError {
    /// The data cannot be read, or a report cannot be written.
    #[error("{file}: {source}")]
    File {
        /// The file.
        file: String,
        /// What the system says.
        source: io::Error,
    },
    /// The data as a whole cannot be used.
    #[error("{file}: {message}")]
    Data {
        /// The file.
        file: String,
        /// What was expected and what came.
        message: String,
    },
    /// A row cannot be read, or the model does not answer it.
    #[error("{file}:{line}: {message}")]
    Row {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// What was expected and what came.
        message: String,
    },
}
