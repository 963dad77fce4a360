//! Who has a look at a version before it gets traffic.

use super::served::ModelHandle;
use std::path::Path;

/// Looks at a version that is warm, before it gets traffic.
pub trait Verifier: std::fmt::Debug + Send + Sync {
    /// Blocks, on a loading thread. `folder` is the version's.
    ///
    /// # Errors
    ///
    /// Why it shall not serve, for operators: a summary, then a line for each miss that is shown.
    fn verify(&self, candidate: &ModelHandle, folder: &Path) -> Result<(), String>;
}
