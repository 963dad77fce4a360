//! One connection from accept to close: which protocol it speaks, its deadlines, its part in the
//! drain, and a close that the client can read its last answer through.

use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, Sleep};
use tracing::{debug, info};

use super::activity::{Activity, Judgement};
use super::deadline::Expiry;
use super::guard::{Guard, HeadLimits, Protocol, Socket};
use super::options::ListenerOptions;
use super::phase::{DrainPhase, DrainSignal};
use super::service::{Adapter, HttpService};
use super::stats::{ConnectionStats, count, uncount};
use super::streams::Streams;
use crate::inference::Recipient;

/// What all connections of a listener share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: ListenerOptions,
    pub(super) stats: Arc<ConnectionStats>,
    /// Connections that still owed an answer when the drain deadline passed.
    pub(super) aborted: AtomicU64,
}

impl Shared {
    pub(super) fn new(options: ListenerOptions, stats: Arc<ConnectionStats>) -> Self {
        Self { options, stats, aborted: AtomicU64::new(0) }
    }
}

/// Counts a connection as open until it is dropped, panics included.
struct Open<'a>(&'a ConnectionStats);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        uncount(&self.0.open);
    }
}

/// Who is at the other end, and what the connection is doing, which the accept loop reads.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) peer: SocketAddr,
    pub(super) activity: Arc<Activity>,
}

/// Serves a connection to its end.
pub(super) async fn serve<T, S>(
    socket: T,
    client: Client,
    service: S,
    shared: Arc<Shared>,
    phases: DrainSignal,
) where
    T: Socket + Send + 'static,
    S: HttpService,
{
    count(&shared.stats.open);
    let _open = Open(&shared.stats);
    let options = &shared.options;
    let Client { peer, activity } = client;
    let limits =
        HeadLimits { max_bytes: options.max_header_bytes, max_headers: options.max_headers };
    let mut guard = Guard::new(socket, Arc::clone(&activity), limits);
    let mut driver = Driver {
        shared: &shared,
        activity: &activity,
        peer,
        phases: phases.clone(),
        sleep: Box::pin(tokio::time::sleep_until(Instant::now() + options.header_timeout)),
    };
    let sniffed = driver.drive(Sniff(&mut guard)).await;
    let mut adapter = Adapter {
        service,
        peer,
        activity: Arc::clone(&activity),
        stats: Arc::clone(&shared.stats),
        refusal: options.refusal,
        refusal_headers: options.refusal_headers.clone(),
        streams: None,
        recipient: None,
    };
    let finished = match sniffed {
        Some(Ok(Protocol::Http1)) => {
            let io = TokioIo::new(&mut guard);
            let connection = http1_builder(options).serve_connection(io, adapter);
            driver.drive(connection).await.is_some()
        }
        Some(Ok(Protocol::Http2)) => {
            let io = TokioIo::new(&mut guard);
            let streams = Streams::default();
            adapter.streams = Some(streams.clone());
            adapter.recipient = Some(Recipient::default());
            let connection = http2_builder(options, streams).serve_connection(io, adapter);
            if let Some(Err(error)) = driver.drive(connection).await {
                count_fault(&error, &shared.stats);
            }
            false
        }
        Some(Ok(Protocol::Nothing) | Err(_)) | None => false,
    };
    if guard.is_flooded() {
        count(&shared.stats.closed_flood);
    } else if activity.makes_way() {
        count(&shared.stats.closed_capacity);
    }
    if finished && guard.has_leftovers() {
        tokio::select! {
            () = linger(guard.into_socket(), options, phases) => {}
            () = poll_fn(|cx| activity.poll_makes_way(cx)) => {}
        }
    }
}

/// Counts an HTTP/2 connection that was ended for what its client sent: too much that asks for nothing, or what is no HTTP/2.
fn count_fault(error: &hyper::Error, stats: &ConnectionStats) {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    let Some(cause) = cause.filter(|cause| cause.is_library()) else { return };
    match cause.reason() {
        Some(h2::Reason::ENHANCE_YOUR_CALM) => count(&stats.closed_flood),
        Some(_) => count(&stats.closed_framing),
        None => {}
    }
}

fn http1_builder(options: &ListenerOptions) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // The deadlines are ours: hyper's own would run through the keep-alive time as well.
    builder.timer(TokioTimer::new()).header_read_timeout(None);
    // Hyper's default is 100, kept on the stack; any other number costs an allocation a request.
    if options.max_headers > 100 {
        builder.max_headers(options.max_headers);
    }
    builder
}

fn http2_builder(options: &ListenerOptions, streams: Streams) -> http2::Builder<Streams> {
    let limits = &options.http2;
    let max_header_list = u32::try_from(options.max_header_bytes).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_header_list_size(max_header_list)
        .max_pending_accept_reset_streams(limits.max_pending_accept_reset_streams)
        .max_local_error_reset_streams(limits.max_local_error_reset_streams)
        .keep_alive_interval(limits.ping_interval)
        .keep_alive_timeout(limits.ping_timeout);
    builder
}

/// Closing a socket with unread bytes resets the connection, and a reset may overtake the answer
/// (a 413 while the body is still coming). So end our side, and read on until the client has.
async fn linger<T: Socket>(mut socket: T, options: &ListenerOptions, mut phases: DrainSignal) {
    let discard = async {
        socket.shutdown().await?;
        let mut space = [0_u8; 8 * 1024];
        while socket.read(&mut space).await? > 0 {}
        io::Result::Ok(())
    };
    tokio::select! {
        _ = discard => {}
        () = tokio::time::sleep(options.linger_timeout) => {}
        _ = phases.wait_for(|phase| *phase == DrainPhase::Aborting) => {}
    }
}

/// A stage of a connection that can be driven: the choice of the protocol, or hyper.
trait Stage {
    type Output;
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output>;
    /// Sends GOAWAY where there is such a thing.
    fn go_away(self: Pin<&mut Self>);
}

struct Sniff<'a, T>(&'a mut Guard<T>);

impl<T: Socket> Stage for Sniff<'_, T> {
    type Output = io::Result<Protocol>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_protocol(cx)
    }

    fn go_away(self: Pin<&mut Self>) {}
}

impl<T, S> Stage for http1::Connection<TokioIo<&mut Guard<T>>, Adapter<S>>
where
    T: Socket,
    S: HttpService,
{
    type Output = hyper::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Future::poll(self, cx)
    }

    /// Not hyper's graceful shutdown: it would throw away half a head that the guard holds. The
    /// guard ends the connection when it is idle.
    fn go_away(self: Pin<&mut Self>) {}
}

impl<T, S> Stage for http2::Connection<TokioIo<&mut Guard<T>>, Adapter<S>, Streams>
where
    T: Socket,
    S: HttpService,
{
    type Output = hyper::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Future::poll(self, cx)
    }

    fn go_away(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Polls a stage under the connection's deadlines and the program's phase.
struct Driver<'a> {
    shared: &'a Shared,
    activity: &'a Activity,
    peer: SocketAddr,
    phases: DrainSignal,
    sleep: Pin<Box<Sleep>>,
}

impl Driver<'_> {
    /// None when the connection was given up and is to be dropped.
    async fn drive<C: Stage>(&mut self, stage: C) -> Option<C::Output> {
        let mut stage = pin!(stage);
        let mut said_go_away = false;
        loop {
            let phase = *self.phases.borrow_and_update();
            if phase == DrainPhase::Aborting {
                self.abort();
                return None;
            }
            if self.wants_go_away(phase) && !said_go_away {
                stage.as_mut().go_away();
                said_go_away = true;
            }
            let activity = self.activity;
            let sleep = &mut self.sleep;
            let watches_first_request = phase >= DrainPhase::LameDuck && !said_go_away;
            // Whoever has to make way is woken, and finds that its deadline has passed.
            let _ = poll_fn(|cx| Poll::Ready(activity.poll_makes_way(cx))).await;
            let step = poll_fn(|cx| {
                if let Poll::Ready(output) = stage.as_mut().poll(cx) {
                    return Poll::Ready(Step::Finished(output));
                }
                if watches_first_request && activity.is_http2() && activity.has_served() {
                    return Poll::Ready(Step::Look);
                }
                rearm(sleep.as_mut(), activity);
                sleep.as_mut().poll(cx).map(|()| Step::Expired)
            });
            let step = tokio::select! {
                biased;
                step = step => step,
                Ok(()) = self.phases.changed() => Step::Look,
            };
            match step {
                Step::Finished(output) => return Some(output),
                Step::Look => {}
                Step::Expired => {
                    if !self.expired() {
                        return None;
                    }
                }
            }
        }
    }

    /// Tells the activity about the phase. HTTP/2 in the lame duck: a connection that has served
    /// is sent away at once; a new one after its first request, since a client that hears GOAWAY
    /// before it has sent anything would only connect again. Later a new one has a short time for its
    /// first request: hyper ends one without an answer that is sent away before its handshake.
    fn wants_go_away(&self, phase: DrainPhase) -> bool {
        if phase >= DrainPhase::Closing {
            self.activity.close_when_idle();
        } else if phase == DrainPhase::LameDuck {
            self.activity.drain();
        }
        self.activity.may_send_away()
            || (phase == DrainPhase::LameDuck && self.activity.has_served())
    }

    fn abort(&self) {
        count(&self.shared.stats.closed_drain_deadline);
        if self.activity.owes_an_answer() {
            self.shared.aborted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The timer went off. It may have been set for a deadline that has moved on since. Returns
    /// whether the connection lives on.
    fn expired(&mut self) -> bool {
        let now = Instant::now();
        let stats = &self.shared.stats;
        match self.activity.deadline() {
            Some((at, Expiry::KeepAlive)) if at <= now => {
                count(&stats.closed_keep_alive_timeout);
                self.activity.close_when_idle();
            }
            Some((at, Expiry::Header)) if at <= now => {
                count(&stats.closed_header_timeout);
                return false;
            }
            Some((at, Expiry::Write)) if at <= now => match self.activity.judge(now) {
                Judgement::Reset(n_streams) => {
                    stats.reset_streams.fetch_add(n_streams, Ordering::Relaxed);
                    debug!(peer = %self.peer, n_streams, "a client took answers too slowly, which were cut off");
                }
                Judgement::Close => {
                    count(&stats.closed_write_timeout);
                    info!(peer = %self.peer, "a client took its answer too slowly, which was cut off");
                    return false;
                }
            },
            Some((at, Expiry::Linger)) if at <= now => return false,
            Some((at, Expiry::FirstByte)) if at <= now => self.activity.grace_is_over(),
            Some((at, Expiry::Room)) if at <= now => {
                if self.activity.owes_an_answer() {
                    // Half a head, which has had its time.
                    return false;
                }
                self.activity.grace_is_over();
                self.activity.close_when_idle();
            }
            Some(_) | None => {}
        }
        let next = self.activity.deadline();
        let fallback = now + self.activity.look_again();
        self.sleep.as_mut().reset(next.map_or(fallback, |(at, _)| at));
        true
    }
}

enum Step<O> {
    Finished(O),
    /// Something changed that the loop has to look at.
    Look,
    Expired,
}

/// Moves the timer only forward to an earlier deadline. A later one is found when the timer goes
/// off: a connection in steady use touches its timer once in a keep-alive time.
fn rearm(mut sleep: Pin<&mut Sleep>, activity: &Activity) {
    if let Some((at, _)) = activity.deadline()
        && at < sleep.deadline()
    {
        sleep.as_mut().reset(at);
    }
}
