//! What models print and what libtorch warns of, which otherwise go to the standard streams of the process: a pipe that
//! nobody reads would hold up whoever writes to it.

use crate::ffi;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

/// What kind of text it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// A model printed it.
    Printed,
    /// A model or libtorch warns of something.
    Warned,
}

/// Hears what is said; called by the thread that says it.
pub trait Listener: Send + Sync {
    /// Something is said. A panic in here is lost.
    fn hear(&self, said: Said, text: &str);
}

/// Hears whom nobody else hears, once it is set.
static EVERYBODY: OnceLock<Box<dyn Listener>> = OnceLock::new();

thread_local! {
    static HERE: RefCell<Option<Arc<dyn Listener>>> = const { RefCell::new(None) };
}

/// Has what models print told to listeners, from now on and for the whole process: to that of the thread, and where it has
/// none, as libtorch's own threads, to this one. The first call counts.
pub fn listen(to_everybody: Box<dyn Listener>) {
    if EVERYBODY.set(to_everybody).is_ok() {
        // SAFETY: the function lives for ever and takes what the other side hands it.
        unsafe { ffi::sconce_set_listener(hear) };
    }
}

/// While it lives, what is said on this thread has a listener of its own.
pub struct Listening {
    before: Option<Arc<dyn Listener>>,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening").finish_non_exhaustive()
    }
}

impl Listening {
    /// From now on this one listens on this thread, if anybody listens at all (see [`listen`]).
    pub fn begin(listener: Arc<dyn Listener>) -> Self {
        if EVERYBODY.get().is_some() {
            // libtorch keeps the receiver of warnings by thread.
            // SAFETY: takes nothing; a listener is set.
            unsafe { ffi::sconce_listen_to_warnings_here() };
        }
        Self { before: HERE.replace(Some(listener)) }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        HERE.set(self.before.take());
    }
}

extern "C" fn hear(kind: i32, text: *const u8, length: u64) {
    let said = if kind == 0 { Said::Printed } else { Said::Warned };
    let length = usize::try_from(length).unwrap_or(0);
    // SAFETY: the other side hands over a text of this length that lives until we return.
    let text = String::from_utf8_lossy(unsafe { std::slice::from_raw_parts(text, length) });
    let tell = || match (HERE.with_borrow(Clone::clone), EVERYBODY.get()) {
        (Some(here), _) => here.hear(said, &text),
        (None, Some(everybody)) => everybody.hear(said, &text),
        (None, None) => {}
    };
    let _ = catch_unwind(AssertUnwindSafe(tell));
}
