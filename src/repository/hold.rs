//! Who brings the models: what keeps the server from being ready until they are here, and has a look on order.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

type Why = Box<dyn Fn() -> Option<String> + Send + Sync>;
type Look = Arc<dyn Fn() + Send + Sync>;

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

/// Who brings the models, asked before an order reads the folder: nobody, until somebody says so.
#[derive(Default)]
pub(super) struct Bringer(Mutex<Option<Look>>);

impl Bringer {
    pub(super) fn set(&self, look: Look) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(look);
    }

    /// Has the folder be as what it is kept like. Blocks.
    pub(super) fn look(&self) {
        // Not while others wait for the lock: it takes its time.
        let look = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(look) = look {
            look();
        }
    }
}

impl fmt::Debug for Bringer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bringer").finish_non_exhaustive()
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold").finish_non_exhaustive()
    }
}
