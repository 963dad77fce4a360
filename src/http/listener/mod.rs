//! Our own accept loop, on hyper: binds a port and serves a tower service on it over HTTP/1.1 and
//! HTTP/2 by prior knowledge. Here lives what defends a connection before there is a request:
//! deadlines, the connection cap, strict framing, the drain. Body limits and body deadlines are the
//! router's. Nothing here knows a route, an error code or a metric's name.
//!
//! The way of a connection: `accept` → `connection` (which protocol, deadlines, drain) → `guard`
//! (lets only whole, legal heads through: `head`, `body`) → hyper → `service` → the router.
//! `activity` is what they know in common about what the connection is doing.

mod accept;
mod activity;
mod body;
mod connection;
mod guard;
mod head;
mod options;
mod phase;
mod service;
mod stats;
mod streams;
mod taking;
mod threads;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};
use tracing::warn;

pub use accept::DrainReport;
pub use head::Refusal;
pub use options::{Http2Options, Options};
pub use phase::{DrainSignal, Phase};
pub use service::{AnswerBody, HttpService, PeerAddr};
pub use stats::ConnectionStats;
pub use threads::Threads;

/// Connections that the kernel keeps for us while we do not accept.
const BACKLOG: u32 = 1024;

/// Descriptors that are left to everything but this listener's connections: model files, the
/// other listeners, logs.
const SPARE_DESCRIPTORS: usize = 128;

/// A bound port. Connections queue in the kernel until it is served.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local_addr: SocketAddr,
    options: Options,
    stats: Arc<ConnectionStats>,
}

/// The port could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}: {source}")]
pub struct BindError {
    addr: SocketAddr,
    source: io::Error,
}

impl Listener {
    /// Binds the address, port 0 included. Must be called on a tokio runtime.
    pub fn bind(addr: SocketAddr, options: Options) -> Result<Self, BindError> {
        let named = |source| BindError { addr, source };
        let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.map_err(named)?;
        // A restarted program gets its port back while old connections are still in TIME_WAIT.
        socket.set_reuseaddr(true).map_err(named)?;
        socket.bind(addr).map_err(named)?;
        let socket = socket.listen(BACKLOG).map_err(named)?;
        let local_addr = socket.local_addr().map_err(named)?;
        Ok(Self {
            socket,
            local_addr,
            options: within_descriptor_limit(options),
            stats: Arc::default(),
        })
    }

    /// The address as bound: with the real port where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The counters, which outlive the listener.
    pub fn stats(&self) -> Arc<ConnectionStats> {
        Arc::clone(&self.stats)
    }

    /// Serves on these threads until the drain has ended. What is in progress is never waited for
    /// beyond `Phase::Aborting`, whatever the clients do.
    pub fn serve<S>(
        self,
        service: S,
        threads: Threads,
        phases: DrainSignal,
    ) -> impl Future<Output = DrainReport> + Send
    where
        S: HttpService,
    {
        let limits = (self.options, self.stats);
        accept::Acceptor::new(self.socket, (service, threads), limits, phases).run()
    }
}

/// Running out of descriptors hurts the whole program, the cap only new connections.
fn within_descriptor_limit(mut options: Options) -> Options {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else {
        return options;
    };
    let allowed = limit.saturating_sub(SPARE_DESCRIPTORS).max(1);
    if options.max_connections > allowed {
        warn!(
            wanted = options.max_connections,
            allowed,
            descriptor_limit = limit,
            "the descriptor limit allows fewer connections than configured"
        );
        options.max_connections = allowed;
    }
    options
}
