//! The state of a connection, behind the lock of its activity, and the facts that follow from it.

use std::collections::HashMap;
use std::task::Waker;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::head::Refusal;
use crate::inference::Pace;

#[derive(Debug)]
pub(super) struct State {
    pub(super) http2: bool,
    /// Requests given to hyper, and those of them whose answer has gone out or was given up.
    pub(super) begun: u64,
    pub(super) finished: u64,
    /// Requests that hyper gave to the service. On HTTP/1 the n-th call is the n-th head.
    pub(super) called: u64,
    /// The head that broke the rules, by its number. It is always the last of its connection.
    pub(super) refusal: Option<(u64, Refusal)>,
    /// Since when no request has been in progress. Meaningless while one is.
    pub(super) quiet_since: Instant,
    /// Since when a part of a request head has been waiting for the rest.
    pub(super) head_since: Option<Instant>,
    /// How the socket takes the answer that it has refused bytes of.
    pub(super) blocked: Option<Blocked>,
    /// When answers that wait are to be looked at.
    pub(super) look_at: Instant,
    /// HTTP/2 only: answers with bytes that flow control holds back, by request.
    pub(super) unsent: HashMap<u64, Unsent>,
    /// Answers tell the client not to come back.
    pub(super) draining: bool,
    /// The connection closes as soon as it is idle.
    pub(super) closing_since: Option<Instant>,
    /// A connection that never sent a request was listened to for long enough.
    pub(super) had_its_grace: bool,
    /// Others wait for a place, and this connection was chosen to make way.
    pub(super) makes_way: MakesWay,
    /// Who drives the connection, to be woken when it has to make way.
    pub(super) driver: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MakesWay {
    No,
    AfterItsAnswer,
    WhenIdle,
}

#[derive(Debug)]
pub(super) struct Blocked {
    /// It does now.
    pub(super) is_now: bool,
    /// Which answer it is, by the number of those before it.
    pub(super) answer: u64,
    pub(super) pace: Pace,
}

#[derive(Debug)]
pub(super) struct Unsent {
    pub(super) n_chunks: usize,
    pub(super) pace: Pace,
    /// The task of its stream, which resets it when it is ended.
    pub(super) task: Option<AbortHandle>,
    /// That task was ended.
    pub(super) is_given_up: bool,
    /// Who waits until it has left.
    pub(super) waiting: Option<Waker>,
}

impl State {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            http2: false,
            begun: 0,
            finished: 0,
            called: 0,
            refusal: None,
            quiet_since: now,
            head_since: None,
            blocked: None,
            look_at: now,
            unsent: HashMap::new(),
            draining: false,
            closing_since: None,
            had_its_grace: false,
            makes_way: MakesWay::No,
            driver: None,
        }
    }

    /// Whether the client has had the time to send a request.
    pub(super) fn was_heard(&self) -> bool {
        self.begun > 0 || self.had_its_grace
    }

    pub(super) fn is_busy(&self) -> bool {
        self.begun > self.finished
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.as_ref().is_some_and(|blocked| blocked.is_now)
    }
}
