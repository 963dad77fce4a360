//! What works beside requests: threads that step back for them, and those who wait for what such a thread has left to do.

use super::number::Counter;
use std::io;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Added to the thread's niceness: requests come first.
const NICENESS: i32 = 10;
/// How soon who waits for a place looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Starts a thread that steps back where requests want the processor.
///
/// # Errors
///
/// Where the system has no room for another thread.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let work = move || {
        // Where the system refuses it, it works as fast as others compute. On Linux it is the thread's, not the process'.
        let _ = rustix::process::nice(NICENESS);
        work();
    };
    std::thread::Builder::new().name(name.into()).spawn(work).map(drop)
}

/// Leaves a request to be told when everything before it is done, and waits for that until then; whether it is done.
/// Blocks.
pub fn flush<M>(
    messages: &SyncSender<M>,
    message: impl FnOnce(SyncSender<()>) -> M,
    deadline: Instant,
) -> bool {
    let (done, is_done) = sync_channel(1);
    let mut message = message(done);
    while let Err(TrySendError::Full(again)) = messages.try_send(message) {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(LOOK_AGAIN);
        message = again;
    }
    // Nobody answers where the thread has ended.
    is_done.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok()
}

/// How long after one telling of an outage the next is not told: whoever makes one come and go shall not fill the log.
const TOLD_FOR: Duration = Duration::from_secs(600);

/// Whether something fails, for telling of it once, and once when it is over.
#[derive(Debug, Default)]
pub struct Outage(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    is_told: bool,
    at: Option<Instant>,
}

impl Outage {
    /// It failed; whether that is to be told.
    pub fn failed(&self, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_early = told.at.is_some_and(|at| now.saturating_duration_since(at) < TOLD_FOR);
        if told.is_told || is_early {
            return false;
        }
        *told = Told { is_told: true, at: Some(now) };
        true
    }

    /// It worked; whether that is to be told, since the opposite was.
    pub fn worked(&self) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut told.is_told)
    }
}

/// What became of something that was to be sent to somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// The receiver has taken it.
    Sent,
    /// Too many waited.
    Dropped,
    /// The receiver did not take it.
    Failed,
}

impl Delivery {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sent, Self::Dropped, Self::Failed];

    /// Its label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
        }
    }
}

/// How often each was so.
#[derive(Debug, Default)]
pub struct Deliveries([Counter; Delivery::ALL.len()]);

impl Deliveries {
    /// So many more.
    pub fn add(&self, outcome: Delivery, n: usize) {
        self.0[outcome as usize].add(n as u64);
    }

    /// How many.
    #[must_use]
    pub fn get(&self, outcome: Delivery) -> u64 {
        self.0[outcome as usize].get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_that_comes_and_goes_is_told_once() {
        let (outage, now) = (Outage::default(), Instant::now());
        assert!(outage.failed(now) && !outage.failed(now), "once");
        assert!(outage.worked() && !outage.worked(), "and once that it is over");
        for second in 1..600 {
            assert!(!outage.failed(now + Duration::from_secs(second)) && !outage.worked());
        }
        assert!(outage.failed(now + TOLD_FOR) && outage.worked());
    }
    use std::sync::mpsc::Receiver;

    type Done = SyncSender<()>;

    fn within(patience: Duration) -> Instant {
        Instant::now() + patience
    }

    #[test]
    fn who_flushes_waits_for_what_was_left_before() {
        let (messages, left): (SyncSender<Option<Done>>, Receiver<_>) = sync_channel(1);
        messages.send(None).expect("there is room");
        let work = move || left.iter().flatten().for_each(|done: Done| done.send(()).unwrap());
        spawn("beside", work).expect("a thread");
        assert!(flush(&messages, Some, within(Duration::from_secs(60))));
    }

    #[test]
    fn who_flushes_waits_for_no_longer_than_he_would() {
        let (messages, left): (SyncSender<Option<Done>>, Receiver<_>) = sync_channel(1);
        let soon = Duration::from_millis(20);
        assert!(!flush(&messages, Some, within(soon)), "nobody answers");
        assert!(!flush(&messages, Some, within(soon)), "there is no place");
        drop(left);
        assert!(!flush(&messages, Some, within(soon)), "the thread has ended");
    }
}
