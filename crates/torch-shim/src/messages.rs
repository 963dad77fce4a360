//! What models print and what libtorch warns of, which otherwise go to the standard streams of the process: a pipe that
//! nobody reads would hold up whoever writes to it.

use crate::ffi;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

/// What kind of text it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// A model printed it.
    Printed,
    /// A model or libtorch warns of something.
    Warned,
}

/// Takes messages; called by the thread that they come from.
pub trait MessageHandler: Send + Sync {
    /// Takes one. A panic in here is lost.
    fn handle(&self, kind: MessageKind, text: &str);
}

/// Takes the messages that no handler of a thread does, once it is set.
static DEFAULT: OnceLock<Box<dyn MessageHandler>> = OnceLock::new();

thread_local! {
    static HERE: RefCell<Option<Arc<dyn MessageHandler>>> = const { RefCell::new(None) };
}

/// Has what models print handed to handlers, from now on and for the whole process: to that of the thread, and where it has
/// none, as libtorch's own threads, to this one. The first call counts.
pub fn set_default_handler(handler: Box<dyn MessageHandler>) {
    if DEFAULT.set(handler).is_ok() {
        // SAFETY: the function lives for ever and takes what the other side hands it.
        unsafe { ffi::sconce_set_listener(receive) };
    }
}

/// While it lives, messages of this thread have a handler of their own.
pub struct HandlerGuard {
    before: Option<Arc<dyn MessageHandler>>,
}

impl std::fmt::Debug for HandlerGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HandlerGuard").finish_non_exhaustive()
    }
}

impl HandlerGuard {
    /// From now on this one takes those of this thread, if there is a default handler at all (see [`set_default_handler`]).
    pub fn begin(handler: Arc<dyn MessageHandler>) -> Self {
        if DEFAULT.get().is_some() {
            // libtorch keeps the receiver of warnings by thread.
            // SAFETY: takes nothing; a handler is set.
            unsafe { ffi::sconce_listen_to_warnings_here() };
        }
        Self { before: HERE.replace(Some(handler)) }
    }
}

impl Drop for HandlerGuard {
    fn drop(&mut self) {
        HERE.set(self.before.take());
    }
}

extern "C" fn receive(code: i32, text: *const u8, length: u64) {
    let kind = if code == 0 { MessageKind::Printed } else { MessageKind::Warned };
    let length = usize::try_from(length).unwrap_or(0);
    // SAFETY: the other side hands over a text of this length that lives until we return.
    let text = String::from_utf8_lossy(unsafe { std::slice::from_raw_parts(text, length) });
    let dispatch = || match (HERE.with_borrow(Clone::clone), DEFAULT.get()) {
        (Some(here), _) => here.handle(kind, &text),
        (None, Some(default)) => default.handle(kind, &text),
        (None, None) => {}
    };
    let _ = catch_unwind(AssertUnwindSafe(dispatch));
}
