//! What stands for a sink in a program that can send nothing: nothing, and an error that says so.

use super::counts::Counts;
use crate::telemetry::events::Events;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Instant;

/// There is none.
#[derive(Debug, Clone)]
pub(super) struct Sink(Infallible);

impl Sink {
    /// There is none.
    pub(super) fn start(
        _address: &str,
        _counts: &Arc<Counts>,
        _events: Events,
    ) -> io::Result<Self> {
        Err(io::Error::other(
            "events cannot be sent: this program was built without the feature `sending`",
        ))
    }

    /// See the real one.
    pub(super) fn leave(&self, _line: &[u8]) {
        match self.0 {}
    }

    /// The same.
    pub(super) fn flush(&self, _deadline: Instant) -> bool {
        match self.0 {}
    }
}
