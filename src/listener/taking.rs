//! How fast a client has to take its answer. Pure.
//!
//! Two things end an answer: a time without a byte taken, and an average that is too low. Where room is scarce both get
//! stricter with how scarce it is, so that the oldest and slowest answers go first and no more of them than needed: a
//! client that takes its answer as networks allow never notices.

use std::time::Duration;
use tokio::time::Instant;

/// Before the average counts: clients look away, and networks pause.
const GRACE: Duration = Duration::from_secs(30);
/// The same, and the longest time without a byte, where there is no room: a retransmission takes as long.
const SCARCE_GRACE: Duration = Duration::from_secs(2);
/// Bytes a second that a client has to take on average: a seventh of what a bad mobile connection gives, and what each
/// stream of a full HTTP/2 connection gets over 8 Mbit/s.
const RATE: f64 = 4096.0;
/// The same where there is no room: 2 Mbit/s.
const SCARCE_RATE: f64 = 262_144.0;

/// How an answer that waits for its client has been taken so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taking {
    since: Instant,
    taken: u64,
    progress_at: Instant,
}

impl Taking {
    pub(super) fn new(now: Instant) -> Self {
        Self { since: now, taken: 0, progress_at: now }
    }

    pub(super) fn took(&mut self, bytes: usize, now: Instant) {
        self.taken += bytes as u64;
        self.progress_at = now;
    }

    /// When it has taken too long, if no more of it is taken. `still` is how long a client may take nothing while room
    /// is not scarce, `scarcity` how scarce it is, from 0 to 1.
    pub(super) fn ends_at(&self, still: Duration, scarcity: f64) -> Instant {
        let between = |plenty: f64, scarce: f64| plenty + scarcity * (scarce - plenty);
        let grace = between(GRACE.as_secs_f64(), SCARCE_GRACE.as_secs_f64());
        let earned = self.taken as f64 / between(RATE, SCARCE_RATE);
        let still = between(still.as_secs_f64(), still.min(SCARCE_GRACE).as_secs_f64());
        let by_average = self.since + Duration::from_secs_f64(grace + earned);
        by_average.min(self.progress_at + Duration::from_secs_f64(still))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STILL: Duration = Duration::from_secs(60);

    /// An answer of which so many bytes were taken in its `age`, at an even rate.
    #[track_caller]
    fn check(age: u64, taken: usize, scarcity: f64, is_over: bool) {
        let since = Instant::now();
        let now = since + Duration::from_secs(age);
        let mut taking = Taking::new(since);
        taking.took(taken, now);
        let ends = taking.ends_at(STILL, scarcity);
        assert_eq!(ends <= now, is_over, "{taken} bytes in {age} s at {scarcity}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_average_ends_an_answer_after_its_grace() {
        check(29, 0, 0.0, false);
        check(31, 1, 0.0, true);
        check(31, 8192, 0.0, false);
        check(33, 8192, 0.0, true);
        check(3600, 15 << 20, 0.0, false);
        check(3600, 13 << 20, 0.0, true);
    }

    #[tokio::test(start_paused = true)]
    async fn where_room_is_scarce_the_slowest_go_first() {
        check(16, 1 << 20, 0.5, false);
        check(25, 1 << 20, 0.5, true);
        check(3, 1, 1.0, true);
        check(3, 1 << 20, 1.0, false);
        check(60, 10 << 20, 1.0, true);
        check(60, 20 << 20, 1.0, false);
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_without_a_byte_ends_it_too() {
        let now = Instant::now();
        let mut taking = Taking::new(now);
        taking.took(1 << 30, now);
        assert_eq!(taking.ends_at(STILL, 0.0), now + STILL);
        assert_eq!(taking.ends_at(STILL, 1.0), now + SCARCE_GRACE);
        let short = Duration::from_secs(1);
        assert_eq!(taking.ends_at(short, 1.0), now + short);
    }
}
