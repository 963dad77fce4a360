//! Whose messages those are that libtorch hands over.

use crate::engine::messages::ModelMessages;
use std::sync::Arc;
use torch_shim::{HandlerGuard, MessageHandler, MessageKind};

impl MessageHandler for ModelMessages {
    fn handle(&self, kind: MessageKind, text: &str) {
        match kind {
            MessageKind::Printed => self.printed(text),
            MessageKind::Warned => self.warned(text),
        }
    }
}

/// What is printed on this thread is this model's, while the answer lives.
pub(super) fn attribute(log: &Arc<ModelMessages>) -> HandlerGuard {
    HandlerGuard::begin(Arc::clone(log) as Arc<dyn MessageHandler>)
}

/// Puts messages into the log, from now on. On threads of libtorch's own nobody knows whose work it is.
pub(super) fn log() {
    torch_shim::set_default_handler(Box::new(ModelMessages::new(String::new())));
}
