//! What keeps the server from being ready beside its models: who brings them may not have done so yet.

use std::fmt;
use std::sync::{Mutex, PoisonError};

type Why = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// Nothing, until somebody says so.
#[derive(Default)]
pub(super) struct Hold(Mutex<Option<Why>>);

impl Hold {
    pub(super) fn set(&self, why: Why) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Why the server is not ready.
    pub(super) fn reason(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?()
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").finish_non_exhaustive()
    }
}
