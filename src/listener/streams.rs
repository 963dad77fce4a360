//! The tasks of an HTTP/2 connection's streams, so that one of them can be ended while the others go on.
//!
//! Hyper gives the future of a stream to its executor right after it has called the service, and nobody else a handle
//! on it. A stream whose task is dropped before its answer was sent to the end is reset, and what of the answer is
//! queued goes with it.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::rt::Executor;

use super::exchange::Exchange;

/// Where the service leaves the request for whose stream hyper will start a task next.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams(Arc<Mutex<Option<Arc<Exchange>>>>);

impl Streams {
    pub(super) fn called(&self, exchange: &Arc<Exchange>) {
        self.replace(Some(Arc::clone(exchange)));
    }

    fn replace(&self, next: Option<Arc<Exchange>>) -> Option<Arc<Exchange>> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *slot, next)
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let exchange = self.replace(None);
        let task = tokio::spawn(stream);
        if let Some(exchange) = exchange {
            exchange.runs_in(task.abort_handle());
        }
    }
}
