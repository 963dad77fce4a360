//! What the listener counts about its connections. Telemetry reads these numbers and names them;
//! nothing here knows a metric.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one listener, shared with whoever exports them. Every counter starts at zero and
/// only `open` ever falls.
#[derive(Debug, Default)]
pub struct ConnectionStats {
    /// Connections open now.
    pub open: AtomicU64,
    /// Connections accepted since the start.
    pub accepted: AtomicU64,
    /// Connections whose request head broke the framing rules: answered 400 or 431 and closed.
    pub closed_framing: AtomicU64,
    /// Connections that did not send a whole request head in time.
    pub closed_header_timeout: AtomicU64,
    /// Connections that stayed idle between requests for too long.
    pub closed_keep_alive_timeout: AtomicU64,
    /// Connections whose client did not read its answer, or too slowly.
    pub closed_write_timeout: AtomicU64,
    /// HTTP/2 streams reset for the same reason, while their connection went on.
    pub reset_streams: AtomicU64,
    /// Connections that made way for others at the connection cap: idle ones, and those whose last answer said so.
    pub closed_capacity: AtomicU64,
    /// Connections whose client sent HTTP/2 frames in great numbers that asked for nothing.
    pub closed_flood: AtomicU64,
    /// Connections dropped at the drain deadline.
    pub closed_drain_deadline: AtomicU64,
    /// Connections whose task panicked: a fault of ours.
    pub panicked: AtomicU64,
    /// Times that accepting waited because the connection cap was reached.
    pub capacity_waits: AtomicU64,
    /// Times that accepting a connection failed (out of descriptors, or already gone).
    pub accept_errors: AtomicU64,
}

/// Counters are independent of each other, so no ordering between them is promised.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn uncount(counter: &AtomicU64) {
    counter.fetch_sub(1, Ordering::Relaxed);
}
