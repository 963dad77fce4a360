//! The accept loop: takes connections while there is room, has idle ones make way when there is little,
//! through the lame duck and the last of the kernel's queue, then waits for what is in progress, but
//! never past the drain deadline.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[cfg(target_os = "linux")]
use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
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

/// How long the listening socket stays open for clients whose handshake was under way when it stopped taking new ones: a
/// round trip. Less than the second after which a client asks again.
const LAST_HANDSHAKES: Duration = Duration::from_millis(100);
const LAST_LOOK_AGAIN: Duration = Duration::from_millis(5);

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
        turn_away_new_clients(&socket);
        // The std listener asks the kernel itself; tokio's readiness may not have heard yet.
        let socket = match socket.into_std() {
            Ok(socket) => socket,
            Err(error) => {
                warn!(%error, "cannot take the last connections from the queue");
                return;
            }
        };
        let end = Instant::now() + LAST_HANDSHAKES;
        loop {
            let accepted = socket.accept().and_then(|(stream, peer)| {
                stream.set_nonblocking(true)?;
                Ok((TcpStream::from_std(stream)?, peer))
            });
            match accepted {
                Ok((stream, peer)) => self.spawn(stream, peer, None),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if Instant::now() >= end {
                        return;
                    }
                    tokio::time::sleep(LAST_LOOK_AGAIN).await;
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

/// Has the kernel pass over who asks for a connection from now on, so that nobody is connected between the last look
/// into the queue and the end of the socket: that client would be reset. Who is passed over asks again a second later,
/// and is refused then. Handshakes under way go on.
#[cfg(target_os = "linux")]
fn turn_away_new_clients(socket: &TcpListener) {
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    // What a listening socket is given begins with the header of TCP (RFC 9293, section 3.1).
    let load_flags =
        SockFilter::new((libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16, 0, 0, FLAGS);
    let keep_two =
        SockFilter::new((libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16, 0, 0, SYN | ACK);
    let is_first = SockFilter::new((libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, 0, 1, SYN);
    let drop = SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0);
    let pass = SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, u32::MAX);
    if let Err(error) =
        SockRef::from(socket).attach_filter(&[load_flags, keep_two, is_first, drop, pass])
    {
        debug!(%error, "cannot turn new clients away, one that connects in the last moment may be reset");
    }
}

#[cfg(not(target_os = "linux"))]
fn turn_away_new_clients(_: &TcpListener) {}

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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net;

    #[tokio::test]
    async fn who_comes_late_is_not_connected_and_who_came_before_is_served() {
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("bound");
        let _early = net::TcpStream::connect(address).expect("listening");
        turn_away_new_clients(&socket);
        let late = net::TcpStream::connect_timeout(&address, Duration::from_millis(50));
        assert_eq!(late.expect_err("turned away").kind(), io::ErrorKind::TimedOut);
        socket.accept().await.expect("the early one");
    }
}
