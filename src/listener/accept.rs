//! The accept loop: takes connections while there is room, has idle ones make way when there is little,
//! through the lame duck and the last of the kernel's queue, then waits for what is in progress, but
//! never past the drain deadline.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{Id, JoinError, JoinSet};
use tracing::{debug, warn};

use super::activity::Activity;
use super::connection::{self, Client, Shared};
use super::crowd::{Crowd, LOOK_AGAIN, Need};
use super::phase::{DrainPhase, DrainSignal};
use super::service::HttpService;
use super::stats::count;
use super::threads::Threads;

/// How long to wait after the first accept that failed for lack of descriptors or memory, and at
/// most. Long enough not to spin, short enough that a freed descriptor is used at once.
const FIRST_BACK_OFF: Duration = Duration::from_millis(5);
const LAST_BACK_OFF: Duration = Duration::from_millis(100);

/// How often the kernel's queue is emptied at most before the listening socket closes.
const LAST_TRIES: usize = 100;

/// Bytes of an answer that the kernel holds and has not sent yet, before it takes more.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 128 << 10;

/// How the drain ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections dropped at the drain deadline that still owed an answer: zero after a clean
    /// drain.
    pub aborted: u64,
}

/// Accepts from one socket.
pub(super) struct Acceptor<S> {
    socket: TcpListener,
    room: Arc<Semaphore>,
    back_off: Duration,
    /// Accepted, and waits for room.
    waiting: Option<(TcpStream, SocketAddr)>,
    connections: Connections<S>,
}

/// The connections of one socket, each a task.
struct Connections<S> {
    service: S,
    threads: Threads,
    shared: Arc<Shared>,
    phases: DrainSignal,
    tasks: JoinSet<()>,
    crowd: Crowd,
}

impl<S: HttpService> Acceptor<S> {
    pub(super) fn new(
        socket: TcpListener,
        shared: Shared,
        service: S,
        threads: Threads,
        phases: DrainSignal,
    ) -> Self {
        let max_connections = shared.options.max_connections;
        Self {
            socket,
            room: Arc::new(Semaphore::new(max_connections)),
            back_off: FIRST_BACK_OFF,
            waiting: None,
            connections: Connections {
                service,
                threads,
                crowd: Crowd::new(max_connections),
                shared: Arc::new(shared),
                phases,
                tasks: JoinSet::new(),
            },
        }
    }

    pub(super) async fn run(mut self) -> DrainReport {
        let mut phases = self.connections.phases.clone();
        tokio::select! {
            biased;
            () = reached(&mut phases, DrainPhase::Closing) => {}
            () = self.accept_forever() => {}
        }
        let Self { socket, waiting, mut connections, .. } = self;
        if let Some((stream, peer)) = waiting {
            connections.spawn(stream, peer, None);
        }
        tokio::select! {
            biased;
            () = reached(&mut phases, DrainPhase::Aborting) => {}
            () = connections.take_queued(socket) => {}
        }
        // Every connection ends itself: by its answer, by a deadline, or when the phase turns to
        // aborting.
        while let Some(ended) = connections.tasks.join_next_with_id().await {
            connections.note_end(ended);
        }
        DrainReport { aborted: connections.shared.aborted.load(Ordering::Relaxed) }
    }

    async fn accept_forever(&mut self) {
        loop {
            tokio::select! {
                biased;
                accepted = self.socket.accept() => match accepted {
                    Ok(accepted) => {
                        self.back_off = FIRST_BACK_OFF;
                        self.waiting = Some(accepted);
                        let permit = self.wait_for_room().await;
                        if let Some((stream, peer)) = self.waiting.take() {
                            self.connections.spawn(stream, peer, Some(permit));
                        }
                        let n_free = self.room.available_permits();
                        self.connections.crowd.make_room(n_free, Need::Reserve);
                    }
                    Err(error) => self.after_error(&error).await,
                },
                // Tasks that have ended are taken out as they end, so that the set cannot grow.
                Some(ended) = self.connections.tasks.join_next_with_id() => {
                    self.connections.note_end(ended);
                }
            }
        }
    }

    /// At the cap one connection that was accepted waits, the others in the kernel's queue, until
    /// one closes; those that are idle do so now. Accepting only to close would turn a short peak
    /// into failed requests, and a flood into work; a load balancer whose health check waits for too
    /// long while every connection is busy draws the right conclusion by itself, that this replica
    /// is full.
    async fn wait_for_room(&mut self) -> OwnedSemaphorePermit {
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
            return permit;
        }
        count(&self.connections.shared.stats.capacity_waits);
        loop {
            self.connections.crowd.make_room(0, Need::Place);
            tokio::select! {
                permit = Arc::clone(&self.room).acquire_owned() => {
                    return permit.expect("we never close the semaphore");
                }
                Some(ended) = self.connections.tasks.join_next_with_id() => {
                    self.connections.note_end(ended);
                }
                // What is not idle yet may be by then.
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    async fn after_error(&mut self, error: &io::Error) {
        count(&self.connections.shared.stats.accept_errors);
        if is_about_the_connection(error) {
            return;
        }
        if self.back_off == FIRST_BACK_OFF {
            warn!(%error, "cannot accept connections, trying again");
        }
        tokio::time::sleep(self.back_off).await;
        self.back_off = (self.back_off * 2).min(LAST_BACK_OFF);
    }
}

impl<S: HttpService> Connections<S> {
    fn spawn(&mut self, stream: TcpStream, peer: SocketAddr, permit: Option<OwnedSemaphorePermit>) {
        count(&self.shared.stats.accepted);
        // Without it a small answer can wait for the acknowledgement of the one before.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "cannot set TCP_NODELAY, the connection is probably gone");
        }
        // The kernel would take megabytes of an answer at once, and then nothing for as long as a slow client needs for a good
        // part of them: nobody could tell it from one that takes nothing.
        #[cfg(target_os = "linux")]
        if let Err(error) = SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES) {
            debug!(%error, "cannot set TCP_NOTSENT_LOWAT");
        }
        let service = self.service.clone();
        let (shared, phases) = (Arc::clone(&self.shared), self.phases.clone());
        // From the reactor that accepted it to that of its thread.
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => {
                debug!(%error, "cannot hand a connection on, it is closed");
                return;
            }
        };
        let activity = Arc::new(Activity::new(&shared.options));
        let client = Client { peer, activity: Arc::clone(&activity) };
        let connection = async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => connection::serve(stream, client, service, shared, phases).await,
                Err(error) => warn!(%error, "cannot watch a connection, it is closed"),
            }
            drop(permit);
        };
        let task = self.threads.serve(connection, &mut self.tasks);
        self.crowd.enter(task, peer.ip(), activity);
    }

    /// Accepts what is in the kernel's queue, then closes the listening socket. The clients in the
    /// queue have connected and may have sent a request; closing would reset them. The connection
    /// cap does not hold here: the queue is bounded by itself.
    async fn take_queued(&mut self, socket: TcpListener) {
        // The std listener asks the kernel itself; tokio's readiness may not have heard yet.
        let socket = match socket.into_std() {
            Ok(socket) => socket,
            Err(error) => {
                warn!(%error, "cannot take the last connections from the queue");
                return;
            }
        };
        let mut n_tries = 0;
        loop {
            let accepted = socket.accept().and_then(|(stream, peer)| {
                stream.set_nonblocking(true)?;
                Ok((TcpStream::from_std(stream)?, peer))
            });
            match accepted {
                Ok((stream, peer)) => self.spawn(stream, peer, None),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    n_tries += 1;
                    if n_tries == LAST_TRIES || occupy(&socket) {
                        return;
                    }
                }
                Err(error) => {
                    count(&self.shared.stats.accept_errors);
                    if !is_about_the_connection(&error) {
                        // Out of descriptors: connections are closing, each gives one back.
                        tokio::time::sleep(FIRST_BACK_OFF).await;
                    }
                }
            }
        }
    }

    fn note_end(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        self.crowd.leave(id);
        if let Err(error) = ended
            && error.is_panic()
        {
            count(&self.shared.stats.panicked);
            warn!("the task of a connection panicked, the connection is closed");
        }
    }
}

/// Takes the only place of the kernel's queue with a connection of our own, so that nobody connects between the last
/// look into the queue and the end of the socket: that client would be reset. The kernel does not answer those who
/// find the queue full; they try again a second later, and are refused. Returns false where somebody else may have
/// come first, who has to be accepted then.
fn occupy(socket: &std::net::TcpListener) -> bool {
    let occupied = || -> io::Result<OwnedFd> {
        rustix::net::listen(socket, 0)?;
        let mut own = socket.local_addr()?;
        if own.ip().is_unspecified() {
            own.set_ip(match own.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        let family = if own.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let client = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        // Within one machine a connection is made before the call returns, if there is room.
        rustix::net::connect(&client, &own)?;
        Ok(client)
    };
    // It is reset with the listening socket if it is still there then, and ends in the queue otherwise.
    occupied().map(drop).is_ok()
}

/// Resolves when the phase has come that far; never, if its sender is gone before.
async fn reached(phases: &mut DrainSignal, wanted: DrainPhase) {
    if phases.wait_for(|phase| *phase >= wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Errors that belong to a connection that is already gone. The next accept finds the next one, so
/// this does not spin.
fn is_about_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
