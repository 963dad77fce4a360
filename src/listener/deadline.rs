//! The deadlines of a connection: pure functions of its state.

use std::time::Duration;

use tokio::time::Instant;

use super::state::{MakesWay, State};

/// How long a connection that has sent nothing, or half a head, is left alone while room is wanted, and how long one that
/// has sent nothing is listened to once the listener is closing: its request may be on its way.
pub(super) const FIRST_BYTE_GRACE: Duration = Duration::from_secs(1);

/// How long an HTTP/2 client has to close after GOAWAY while others wait for its place: a round trip.
const LINGER_AT_THE_CAP: Duration = Duration::from_millis(500);

/// What the options allow.
#[derive(Debug)]
pub(super) struct Timeouts {
    pub(super) header: Duration,
    pub(super) keep_alive: Duration,
    pub(super) write: Duration,
    pub(super) linger: Duration,
}

/// Which deadline a connection ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    Header,
    KeepAlive,
    Write,
    Linger,
    /// A connection that has sent nothing had time enough for it.
    FirstByte,
    /// Others wait for its place.
    Room,
}

impl Timeouts {
    /// The next deadline. None while only the service is at work: its deadlines are its own.
    pub(super) fn deadline(&self, state: &State) -> Option<(Instant, Expiry)> {
        let waits = state.unsent.values().any(|unsent| !unsent.is_given_up);
        if waits || state.is_blocked() {
            return Some((state.look_at, Expiry::Write));
        }
        if state.is_busy() {
            return None;
        }
        let quiet_since = state.quiet_since;
        if state.makes_way == MakesWay::WhenIdle && state.closing_since.is_none() {
            // A head that has just begun is no longer idle: it gets what any new one gets.
            let begun = state.head_since.map(|since| since.max(quiet_since) + FIRST_BYTE_GRACE);
            return Some((begun.unwrap_or(quiet_since), Expiry::Room));
        }
        if let Some(since) = state.closing_since
            && state.head_since.is_none()
            && !state.was_heard()
        {
            return Some((since.max(quiet_since) + FIRST_BYTE_GRACE, Expiry::FirstByte));
        }
        if state.http2 {
            return Some(self.http2_deadline(state));
        }
        if let Some(since) = state.head_since {
            // The client of the connection's first head is on the clock since the accept. Later
            // heads may have come while an answer was being made; that time is ours.
            let since = if state.begun == 0 { quiet_since } else { since.max(quiet_since) };
            return Some((since + self.header, Expiry::Header));
        }
        Some(match state.closing_since {
            Some(since) => (since.max(quiet_since) + self.header, Expiry::Header),
            None if state.begun == 0 => (quiet_since + self.header, Expiry::Header),
            None => (quiet_since + self.keep_alive, Expiry::KeepAlive),
        })
    }

    /// Of a connection on which no stream is open.
    fn http2_deadline(&self, state: &State) -> (Instant, Expiry) {
        let quiet_since = state.quiet_since;
        let half = state.head_since.map(|since| since.max(quiet_since) + self.header);
        let half = half.map(|at| (at, Expiry::Header));
        match (state.closing_since, state.makes_way) {
            (Some(since), MakesWay::WhenIdle) => {
                (since + self.linger.min(LINGER_AT_THE_CAP), Expiry::Linger)
            }
            (Some(since), _) => {
                half.unwrap_or((since.max(quiet_since) + self.linger, Expiry::Linger))
            }
            (None, _) => {
                // Whole frames that are no requests do not keep a connection alive.
                let idle = (quiet_since + self.keep_alive, Expiry::KeepAlive);
                half.filter(|half| half.0 < idle.0).unwrap_or(idle)
            }
        }
    }
}
