//! What can be set about a listener, and the defaults.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};

use super::head::Refusal;
use crate::inference::ByteBudget;

/// The limits of one listener.
#[derive(Clone)]
pub struct ListenerOptions {
    /// Connections open at once (4,096). Has to stay below the descriptor limit.
    pub max_connections: usize,
    /// From the first byte of a request head to its last, and from the accept of a connection to
    /// the end of its first head, so that a silent connection is closed too (10 s).
    pub header_timeout: Duration,
    /// How long a connection may stay idle between two requests (75 s, above the usual 60 s of
    /// load balancers, so that the balancer closes first and never races with us).
    pub keep_alive_timeout: Duration,
    /// How long a client may take no byte of an answer while there are bytes to send (30 s). `inference::Pace` says how fast
    /// it has to be on average.
    pub write_timeout: Duration,
    /// How long a connection that is being closed still reads and discards what the client sends,
    /// so that a reset does not destroy the last answer before the client has read it; also how
    /// long an HTTP/2 client has to close after GOAWAY when it has no stream open (2 s).
    pub linger_timeout: Duration,
    /// Size of a request head, request line included, and of an HTTP/2 header list (32 KiB).
    pub max_header_bytes: usize,
    /// Number of header lines in a request head (100).
    pub max_headers: usize,
    /// What is special to HTTP/2.
    pub http2: Http2Options,
    /// The answer to a head that breaks the framing rules, by whoever serves here. There is no
    /// request yet, so it has no request id.
    pub refusal: fn(Refusal) -> Response<Bytes>,
    /// Headers of that answer beside its own (none).
    pub refusal_headers: HeaderMap,
    /// What answers are booked in: the less room there is, the shorter they may wait for their clients (one without
    /// bounds).
    pub budget: ByteBudget,
}

/// The limits of an HTTP/2 connection.
#[derive(Clone, Debug)]
pub struct Http2Options {
    /// Streams open at once on one connection (256).
    pub max_concurrent_streams: u32,
    /// Streams that the client opened and reset before we looked at them (20): the rapid-reset
    /// attack ends with GOAWAY.
    pub max_pending_accept_reset_streams: usize,
    /// Streams that we reset because of the client's errors, over a connection's life (1,024).
    pub max_local_error_reset_streams: usize,
    /// How often a quiet connection is asked whether it is still there (30 s).
    pub ping_interval: Duration,
    /// How long it has to answer (20 s).
    pub ping_timeout: Duration,
}

impl ListenerOptions {
    /// What is documented, with these answers to heads that nobody can read.
    #[must_use]
    pub fn new(refusal: fn(Refusal) -> Response<Bytes>) -> Self {
        Self {
            max_connections: 4096,
            header_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            linger_timeout: Duration::from_secs(2),
            max_header_bytes: 32 * 1024,
            max_headers: 100,
            http2: Http2Options::default(),
            refusal,
            refusal_headers: HeaderMap::new(),
            budget: ByteBudget::new(usize::MAX),
        }
    }
}

impl Default for Http2Options {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 256,
            max_pending_accept_reset_streams: 20,
            max_local_error_reset_streams: 1024,
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(20),
        }
    }
}

impl fmt::Debug for ListenerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerOptions")
            .field("max_connections", &self.max_connections)
            .field("header_timeout", &self.header_timeout)
            .field("keep_alive_timeout", &self.keep_alive_timeout)
            .field("write_timeout", &self.write_timeout)
            .field("linger_timeout", &self.linger_timeout)
            .field("max_header_bytes", &self.max_header_bytes)
            .field("max_headers", &self.max_headers)
            .field("http2", &self.http2)
            .finish_non_exhaustive()
    }
}
