//! What is asked about a version before it gets traffic.

use super::served::ModelHandle;

/// Looks at a version that is warm, before it gets traffic.
pub trait Verifier: std::fmt::Debug + Send + Sync {
    /// # Errors
    ///
    /// Why it shall not serve, for operators: a summary, then a line for each miss that is shown.
    fn verify(&self, candidate: &ModelHandle, folder: &std::path::Path) -> Result<(), String>;
}
