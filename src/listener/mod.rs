//! Our own accept loop, on hyper: binds a port and serves a tower service on it over HTTP/1.1 and
//! HTTP/2 by prior knowledge. Here lives what defends a connection before there is a request:
//! deadlines, the connection cap, strict framing, the drain. Body limits and body deadlines are the
//! router's. Nothing here knows a route, an error code or a metric's name.
//!
//! The way of a connection: `accept` → `connection` (which protocol, drain) → `guard` (lets only whole, legal
//! heads through: `head`, `body`; has `flood` count `frames`) → hyper → `service` → the router.
//! `activity` is what they know in common about what the connection is doing (`state`); from it follow its
//! `deadline`, and by it `crowd` chooses who makes way when the connection cap is near.

mod accept;
mod activity;
mod body;
mod connection;
mod crowd;
mod deadline;
mod exchange;
mod flood;
mod frames;
mod guard;
mod head;
mod options;
mod phase;
mod service;
mod state;
mod stats;
mod streams;
mod threads;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};
use tracing::warn;

use accept::Acceptor;
use connection::Shared;

pub use accept::DrainReport;
pub use head::Refusal;
pub use options::{Http2Options, ListenerOptions};
pub use phase::{DrainPhase, DrainSignal};
pub use service::{AnswerBody, HttpService, PeerAddr};
pub use stats::ConnectionStats;
pub use threads::Threads;

/// Connections that the kernel keeps for us while we do not accept.
const BACKLOG: u32 = 1024;

/// Descriptors that are left to everything but connections: model files, the listeners themselves, logs.
const SPARE_DESCRIPTORS: usize = 128;
/// Descriptors beyond those, where they can be had, for models in processes of their own: some ten each.
const FOR_PROCESSES: usize = 4096;

/// The smallest part of all connections that is kept for the management listener.
const MANAGEMENT_PART: usize = 16;

/// A bound port. Connections queue in the kernel until it is served.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local_addr: SocketAddr,
    options: ListenerOptions,
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
    pub fn bind(addr: SocketAddr, options: ListenerOptions) -> Result<Self, BindError> {
        let named = |source| BindError { addr, source };
        let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.map_err(named)?;
        // A restarted program gets its port back while old connections are still in TIME_WAIT.
        socket.set_reuseaddr(true).map_err(named)?;
        socket.bind(addr).map_err(named)?;
        let socket = socket.listen(BACKLOG).map_err(named)?;
        let local_addr = socket.local_addr().map_err(named)?;
        Ok(Self { socket, local_addr, options, stats: Arc::default() })
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
    /// beyond `DrainPhase::Aborting`, whatever the clients do.
    pub fn serve<S>(
        self,
        service: S,
        threads: Threads,
        phases: DrainSignal,
    ) -> impl Future<Output = DrainReport> + Send
    where
        S: HttpService,
    {
        let shared = Shared::new(self.options, self.stats);
        Acceptor::new(self.socket, shared, service, threads, phases).run()
    }
}

/// Raises the descriptor limit to what both listeners and processes of models may need, as far as the system lets this process, and lowers their
/// caps to what it allows together: running out of descriptors hurts the whole program, a cap only new connections.
pub fn within_descriptor_limit(public: &mut ListenerOptions, management: &mut ListenerOptions) {
    let wanted = Shares { public: public.max_connections, management: management.max_connections };
    let Some(limit) = descriptor_limit(wanted) else { return };
    let allowed = wanted.within(limit.saturating_sub(SPARE_DESCRIPTORS));
    if allowed != wanted {
        warn!(
            wanted = wanted.public,
            allowed = allowed.public,
            for_management = allowed.management,
            descriptor_limit = limit,
            "the descriptor limit (ulimit -n) allows fewer connections than configured"
        );
    }
    public.max_connections = allowed.public;
    management.max_connections = allowed.management;
}

/// The limit of descriptors, raised where it can be and is too low. Nothing where there is none.
fn descriptor_limit(wanted: Shares) -> Option<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let current = current?;
    let needed = [wanted.public, wanted.management, SPARE_DESCRIPTORS, FOR_PROCESSES]
        .into_iter()
        .fold(0, |sum: u64, it| sum.saturating_add(u64::try_from(it).unwrap_or(u64::MAX)));
    let raised = needed.min(maximum.unwrap_or(u64::MAX)).max(current);
    let changed = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
    usize::try_from(if changed.is_ok() { raised } else { current }).ok()
}

/// How many connections each listener has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shares {
    public: usize,
    management: usize,
}

impl Shares {
    /// What is left of them where only so many are allowed: the public listener gets what it wants, less a part that
    /// is kept for probes and operators.
    fn within(self, n_allowed: usize) -> Self {
        let reserved = (n_allowed / MANAGEMENT_PART).clamp(1, self.management.max(1));
        let public = self.public.min(n_allowed.saturating_sub(reserved)).max(1);
        let management = self.management.min(n_allowed.saturating_sub(public)).max(1);
        Self { public, management }
    }
}
