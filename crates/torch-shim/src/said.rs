//! What models print and what libtorch warns of, which otherwise go to the standard streams of the process: a pipe that
//! nobody reads would hold up whoever writes to it.

use crate::ffi;
use std::borrow::Cow;
use std::panic::catch_unwind;
use std::sync::OnceLock;

/// What kind of text it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// A model printed it.
    Printed,
    /// A model or libtorch warns of something.
    Warned,
}

static LISTENER: OnceLock<fn(Said, Cow<'_, str>)> = OnceLock::new();

/// Has what models print told to `listener`, on the thread that runs the model, from now on and for the whole process;
/// the first listener stays. A panic in it is lost.
pub fn listen(listener: fn(Said, Cow<'_, str>)) {
    if LISTENER.set(listener).is_ok() {
        // SAFETY: the function lives for ever and takes what the other side hands it.
        unsafe { ffi::sconce_set_listener(hear) };
    }
}

/// Has warnings told to the listener as well where this thread causes them: libtorch keeps their receiver by thread.
/// Does nothing where nobody listens.
pub fn listen_to_warnings_here() {
    if LISTENER.get().is_some() {
        // SAFETY: takes nothing; a listener is set.
        unsafe { ffi::sconce_listen_to_warnings_here() };
    }
}

extern "C" fn hear(kind: i32, text: *const u8, length: u64) {
    let Some(listener) = LISTENER.get() else { return };
    let said = if kind == 0 { Said::Printed } else { Said::Warned };
    let length = usize::try_from(length).unwrap_or(0);
    // SAFETY: the other side hands over a text of this length that lives until we return.
    let text = unsafe { std::slice::from_raw_parts(text, length) };
    let _ = catch_unwind(|| listener(said, String::from_utf8_lossy(text)));
}
