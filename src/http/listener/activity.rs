//! What a connection is doing, as far as its deadlines and the drain care. Written by the I/O guard
//! and the service adapter, read by the task that drives the connection.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::head::Refusal;
use super::options::Options;

/// Shared by the parts of one connection. A std mutex and not tokio's, since nothing is awaited
/// while it is held; on HTTP/1 all its users live in one task, so it is never contended.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    timeouts: Timeouts,
}

#[derive(Debug)]
struct Timeouts {
    header: Duration,
    keep_alive: Duration,
    write: Duration,
    linger: Duration,
}

#[derive(Debug)]
struct State {
    http2: bool,
    /// Requests given to hyper, and those of them whose answer has gone out or was given up.
    begun: u64,
    finished: u64,
    /// Requests that hyper gave to the service. On HTTP/1 the n-th call is the n-th head.
    called: u64,
    /// The head that broke the rules, by its number. It is always the last of its connection.
    refusal: Option<(u64, Refusal)>,
    /// Since when no request has been in progress. Meaningless while one is.
    quiet_since: Instant,
    /// Since when a part of a request head has been waiting for the rest.
    head_since: Option<Instant>,
    /// Since when the socket has refused bytes.
    blocked_since: Option<Instant>,
    /// HTTP/2 only: answers with bytes that flow control holds back, by request.
    unsent: HashMap<u64, Unsent>,
    /// Answers tell the client not to come back.
    draining: bool,
    /// The connection closes as soon as it is idle.
    closing_since: Option<Instant>,
}

#[derive(Debug)]
struct Unsent {
    n_chunks: usize,
    progress_at: Instant,
}

/// Which deadline a connection ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    Header,
    KeepAlive,
    Write,
    Linger,
}

impl Activity {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            state: Mutex::new(State {
                http2: false,
                begun: 0,
                finished: 0,
                called: 0,
                refusal: None,
                quiet_since: Instant::now(),
                head_since: None,
                blocked_since: None,
                unsent: HashMap::new(),
                draining: false,
                closing_since: None,
            }),
            timeouts: Timeouts {
                header: options.header_timeout,
                keep_alive: options.keep_alive_timeout,
                write: options.write_timeout,
                linger: options.linger_timeout,
            },
        }
    }

    /// No code panics while holding the lock, and the state stays meaningful if it did.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_http2(&self) -> bool {
        self.lock().http2
    }

    pub(super) fn speaks_http2(&self) {
        let mut state = self.lock();
        state.http2 = true;
        state.head_since = None;
        state.quiet_since = Instant::now();
    }

    /// The first byte of a request head has come. Later bytes change nothing: the deadline is for
    /// the whole head.
    pub(super) fn head_started(&self) {
        self.lock().head_since.get_or_insert_with(Instant::now);
    }

    /// What had come was no part of a head.
    pub(super) fn head_vanished(&self) {
        self.lock().head_since = None;
    }

    /// A whole HTTP/1 head goes to hyper.
    pub(super) fn head_released(&self, refusal: Option<Refusal>) {
        let mut state = self.lock();
        state.head_since = None;
        state.begun += 1;
        let number = state.begun;
        state.refusal = refusal.map(|refusal| (number, refusal));
    }

    #[cfg(test)]
    pub(super) fn n_begun(&self) -> u64 {
        self.lock().begun
    }

    /// Hyper calls the service. Returns the request's number and why it was refused, if it was.
    pub(super) fn called(&self) -> (u64, Option<Refusal>) {
        let mut state = self.lock();
        state.called += 1;
        if state.http2 {
            state.begun += 1;
        }
        let number = state.called;
        let refusal = state.refusal.filter(|(refused, _)| *refused == number);
        (number, refusal.map(|(_, refusal)| refusal))
    }

    pub(super) fn finished(&self) {
        let mut state = self.lock();
        state.finished += 1;
        state.quiet_since = Instant::now();
    }

    /// `true` while the socket refuses bytes.
    pub(super) fn set_blocked(&self, blocked: bool) {
        self.lock().blocked_since = blocked.then(Instant::now);
    }

    pub(super) fn chunk_queued(&self, request: u64) {
        let mut state = self.lock();
        let fresh = || Unsent { n_chunks: 0, progress_at: Instant::now() };
        state.unsent.entry(request).or_insert_with(fresh).n_chunks += 1;
    }

    pub(super) fn chunk_progressed(&self, request: u64) {
        if let Some(unsent) = self.lock().unsent.get_mut(&request) {
            unsent.progress_at = Instant::now();
        }
    }

    pub(super) fn chunk_done(&self, request: u64) {
        let mut state = self.lock();
        if let Some(unsent) = state.unsent.get_mut(&request) {
            unsent.n_chunks -= 1;
            unsent.progress_at = Instant::now();
            if unsent.n_chunks == 0 {
                state.unsent.remove(&request);
            }
        }
    }

    pub(super) fn drain(&self) {
        self.lock().draining = true;
    }

    /// From now on the connection ends as soon as it is idle.
    pub(super) fn close_when_idle(&self) {
        let mut state = self.lock();
        state.draining = true;
        state.closing_since.get_or_insert_with(Instant::now);
    }

    /// Whether an HTTP/1 answer should say that it is the last. It is not, while a request that
    /// came behind it is already in our hands.
    pub(super) fn is_last_answer(&self) -> bool {
        let state = self.lock();
        state.draining && state.begun == state.called && state.head_since.is_none()
    }

    /// Whether an idle HTTP/1 connection may be ended now: asked to close, with nothing of a
    /// request in our hands and nothing of an answer on its way out.
    pub(super) fn may_close(&self) -> bool {
        let state = self.lock();
        state.closing_since.is_some()
            && !state.is_busy()
            && state.head_since.is_none()
            && state.blocked_since.is_none()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.lock().closing_since.is_some()
    }

    pub(super) fn has_served(&self) -> bool {
        self.lock().called > 0
    }

    /// Whether a request has begun, be it with half a head, and has not been answered.
    pub(super) fn owes_an_answer(&self) -> bool {
        let state = self.lock();
        state.is_busy() || state.head_since.is_some()
    }

    /// The next deadline. None while only the service is at work: its deadlines are its own.
    pub(super) fn deadline(&self) -> Option<(Instant, Expiry)> {
        let state = self.lock();
        let blocked = state.blocked_since;
        let stalled = state.unsent.values().map(|unsent| unsent.progress_at).min();
        let unread = match (blocked, stalled) {
            (Some(blocked), Some(stalled)) => Some(blocked.min(stalled)),
            (blocked, stalled) => blocked.or(stalled),
        };
        if let Some(since) = unread {
            return Some((since + self.timeouts.write, Expiry::Write));
        }
        if state.is_busy() {
            return None;
        }
        let quiet_since = state.quiet_since;
        if state.http2 {
            return Some(match state.closing_since {
                Some(since) => (since.max(quiet_since) + self.timeouts.linger, Expiry::Linger),
                None => (quiet_since + self.timeouts.keep_alive, Expiry::KeepAlive),
            });
        }
        if let Some(since) = state.head_since {
            // The client of the connection's first head is on the clock since the accept. Later
            // heads may have come while an answer was being made; that time is ours.
            let since = if state.begun == 0 { quiet_since } else { since.max(quiet_since) };
            return Some((since + self.timeouts.header, Expiry::Header));
        }
        Some(match state.closing_since {
            Some(since) => (since.max(quiet_since) + self.timeouts.header, Expiry::Header),
            None if state.begun == 0 => (quiet_since + self.timeouts.header, Expiry::Header),
            None => (quiet_since + self.timeouts.keep_alive, Expiry::KeepAlive),
        })
    }

    /// How long a connection without a deadline is left alone before it is looked at again. Only
    /// a net under the wake-ups that come with every change.
    pub(super) fn look_again(&self) -> Duration {
        self.timeouts.keep_alive
    }
}

impl State {
    fn is_busy(&self) -> bool {
        self.begun > self.finished
    }
}
