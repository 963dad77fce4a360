//! What a connection is doing, as far as its deadlines and the drain care. Written by the I/O guard
//! and the service adapter, read by the task that drives the connection.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::deadline::{Expiry, Timeouts};
use super::head::Refusal;
use super::options::ListenerOptions;
use super::state::{Blocked, MakesWay, State, Unsent};
use crate::inference::{ByteBudget, Pace};

/// How often answers that wait are looked at: how long they may depends on how scarce room is.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Shared by the parts of one connection. A std mutex and not tokio's, since nothing is awaited
/// while it is held; on HTTP/1 all its users live in one task, so it is never contended.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    timeouts: Timeouts,
    /// Says how scarce room for answers is.
    budget: ByteBudget,
}

/// What a connection is doing, for the choice of those that make way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// A request is in progress, or its answer is on its way out.
    Busy,
    /// Between two requests.
    Kept { since: Instant },
    /// Nothing has come yet, or half a head.
    Unheard { since: Instant },
}

/// What became of answers that are taken too slowly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// So many streams were reset, the connection goes on.
    Reset(u64),
    /// The connection is to be closed.
    Close,
}

impl Activity {
    pub(super) fn new(options: &ListenerOptions) -> Self {
        Self {
            state: Mutex::new(State::new(Instant::now())),
            timeouts: Timeouts {
                header: options.header_timeout,
                keep_alive: options.keep_alive_timeout,
                write: options.write_timeout,
                linger: options.linger_timeout,
            },
            budget: options.budget.clone(),
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

    /// What had been waiting for its rest is whole, and a part of something else has come.
    pub(super) fn head_restarted(&self) {
        self.lock().head_since = Some(Instant::now());
    }

    /// A whole HTTP/1 head goes to hyper.
    pub(super) fn head_released(&self, refusal: Option<Refusal>) {
        let mut state = self.lock();
        state.head_since = None;
        state.begun += 1;
        let number = state.begun;
        state.refusal = refusal.map(|refusal| (number, refusal));
    }

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

    /// `true` while the socket refuses bytes; how many it took since it was asked last.
    pub(super) fn set_blocked(&self, is_now: bool, n_bytes: usize) {
        let mut state = self.lock();
        let (now, answer) = (Instant::now(), state.finished);
        match &mut state.blocked {
            Some(blocked) if blocked.answer == answer => {
                blocked.is_now = is_now;
                blocked.pace.moved(n_bytes, now);
            }
            blocked => {
                *blocked = is_now.then(|| Blocked { is_now, answer, pace: Pace::new(now) });
            }
        }
        state.look_at = now + LOOK_EVERY;
    }

    pub(super) fn chunk_queued(&self, request: u64, task: Option<AbortHandle>) {
        let mut state = self.lock();
        let now = Instant::now();
        if state.unsent.is_empty() {
            state.look_at = now + LOOK_EVERY;
        }
        let fresh = || Unsent {
            n_chunks: 0,
            pace: Pace::new(now),
            task,
            is_given_up: false,
            waiting: None,
        };
        state.unsent.entry(request).or_insert_with(fresh).n_chunks += 1;
    }

    pub(super) fn chunk_progressed(&self, request: u64, n_bytes: usize) {
        if let Some(unsent) = self.lock().unsent.get_mut(&request) {
            unsent.pace.moved(n_bytes, Instant::now());
        }
    }

    pub(super) fn chunk_done(&self, request: u64) {
        let mut state = self.lock();
        let Some(unsent) = state.unsent.get_mut(&request) else { return };
        unsent.n_chunks -= 1;
        if unsent.n_chunks > 0 {
            return;
        }
        let done = state.unsent.remove(&request);
        drop(state);
        // Not under the lock, which whoever is woken may want.
        if let Some(waiting) = done.and_then(|done| done.waiting) {
            waiting.wake();
        }
    }

    /// Ready when nothing of the answer waits for its client any more.
    pub(super) fn poll_sent(&self, request: u64, cx: &mut Context<'_>) -> Poll<()> {
        match self.lock().unsent.get_mut(&request) {
            Some(unsent) => {
                unsent.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }

    /// Looks at the answers that wait, and ends those that take too long.
    pub(super) fn judge(&self, now: Instant) -> Judgement {
        let scarcity = self.budget.scarcity();
        let still = self.timeouts.write;
        let mut state = self.lock();
        state.look_at = now + LOOK_EVERY;
        let blocked = state.blocked.as_ref().filter(|blocked| blocked.is_now);
        if blocked.is_some_and(|blocked| blocked.pace.ends_at(still, scarcity) <= now) {
            return Judgement::Close;
        }
        let mut tasks = Vec::new();
        for unsent in state.unsent.values_mut().filter(|unsent| !unsent.is_given_up) {
            if unsent.pace.ends_at(still, scarcity) > now {
                continue;
            }
            // The end of a short answer is queued with it, and its task has ended: there is nothing to reset.
            let running = unsent.task.as_ref().filter(|task| !task.is_finished());
            let Some(task) = running else { return Judgement::Close };
            tasks.push(task.clone());
            unsent.is_given_up = true;
        }
        drop(state);
        tasks.iter().for_each(AbortHandle::abort);
        Judgement::Reset(tasks.len() as u64)
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

    /// A connection that has sent nothing was listened to for long enough.
    pub(super) fn grace_is_over(&self) {
        self.lock().had_its_grace = true;
    }

    /// Whether an idle HTTP/1 connection may be ended now: asked to close, with nothing of a
    /// request in our hands and nothing of an answer on its way out.
    pub(super) fn may_close(&self) -> bool {
        let state = self.lock();
        state.closing_since.is_some()
            && state.was_heard()
            && !state.is_busy()
            && state.head_since.is_none()
            && !state.is_blocked()
    }

    /// Whether the client may be asked not to begin anything new: the connection was asked to close, and the client has
    /// had the time for what it came for.
    pub(super) fn may_send_away(&self) -> bool {
        let state = self.lock();
        state.closing_since.is_some() && state.was_heard()
    }

    pub(super) fn has_served(&self) -> bool {
        self.lock().called > 0
    }

    pub(super) fn standing(&self) -> Standing {
        let state = self.lock();
        let is_taken = !state.unsent.is_empty() || state.is_blocked();
        if state.is_busy() || is_taken {
            Standing::Busy
        } else if state.begun == 0 {
            Standing::Unheard { since: state.quiet_since }
        } else if let Some(since) = state.head_since {
            Standing::Unheard { since: since.max(state.quiet_since) }
        } else {
            Standing::Kept { since: state.quiet_since }
        }
    }

    /// Others wait for a place: the connection closes as soon as it is idle, which it is now if nothing has come since
    /// it was chosen.
    pub(super) fn make_way(&self) {
        let mut state = self.lock();
        state.draining = true;
        state.makes_way = MakesWay::WhenIdle;
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// The same for one that is busy: its next answer is its last.
    pub(super) fn make_way_after_its_answer(&self) {
        let mut state = self.lock();
        if !state.http2 && state.makes_way == MakesWay::No {
            state.draining = true;
            state.makes_way = MakesWay::AfterItsAnswer;
        }
    }

    pub(super) fn makes_way(&self) -> bool {
        self.lock().makes_way != MakesWay::No
    }

    /// Ready when the connection has to make way; wakes the task for it until then.
    pub(super) fn poll_makes_way(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.makes_way == MakesWay::WhenIdle {
            return Poll::Ready(());
        }
        state.driver = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether a request has begun, be it with half a head, and has not been answered.
    pub(super) fn owes_an_answer(&self) -> bool {
        let state = self.lock();
        state.is_busy() || state.head_since.is_some()
    }

    /// The next deadline. None while only the service is at work: its deadlines are its own.
    pub(super) fn deadline(&self) -> Option<(Instant, Expiry)> {
        self.timeouts.deadline(&self.lock())
    }

    /// How long a connection without a deadline is left alone before it is looked at again. Only
    /// a net under the wake-ups that come with every change.
    pub(super) fn look_again(&self) -> Duration {
        self.timeouts.keep_alive
    }
}
