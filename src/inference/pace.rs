//! How fast a client has to send its body, and to take its answer. Pure.
//!
//! Two things end a body or an answer: a time without a byte, and an average that is too low. Where room is scarce both
//! get stricter with how scarce it is, so that the oldest and slowest go first and no more of them than needed: a client
//! that sends and takes as networks allow never notices.

use std::time::Duration;
use tokio::time::Instant;

/// Before the average counts: clients look away, and networks pause.
const GRACE: Duration = Duration::from_secs(30);
/// The same, and the longest time without a byte, where there is no room: a retransmission takes as long.
const SCARCE_GRACE: Duration = Duration::from_secs(2);
/// Bytes a second that a client has to move on average: a seventh of what a bad mobile connection gives, and what each
/// stream of a full HTTP/2 connection gets over 8 Mbit/s.
const RATE: f64 = 4096.0;
/// The same where there is no room: 2 Mbit/s.
const SCARCE_RATE: f64 = 262_144.0;

/// How a client has sent its body, or taken its answer, so far: its average since it began.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    since: Instant,
    moved: u64,
    progress_at: Instant,
}

impl Pace {
    /// One that begins now.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { since: now, moved: 0, progress_at: now }
    }

    /// So many bytes were sent or taken.
    pub fn moved(&mut self, bytes: usize, now: Instant) {
        self.moved += bytes as u64;
        self.progress_at = now;
    }

    /// When it has taken too long, if no more bytes move. `still` is how long none may move while room is not scarce,
    /// `scarcity` how scarce it is, from 0 to 1.
    #[must_use]
    pub fn ends_at(&self, still: Duration, scarcity: f64) -> Instant {
        let by_average = self.since + grace(scarcity) + earned(self.moved as f64, scarcity);
        by_average.min(self.still_until(still, scarcity))
    }

    /// When it has been still for too long: the one of the two rules.
    #[must_use]
    pub fn still_until(&self, still: Duration, scarcity: f64) -> Instant {
        let scarce = still.min(SCARCE_GRACE).as_secs_f64();
        self.progress_at + Duration::from_secs_f64(between(still.as_secs_f64(), scarce, scarcity))
    }
}

/// The time that a client has saved up by what it sent: each byte earns as much as it takes at the lowest rate, and nobody saves
/// more than the time that he has before his average counts. Who sends much at once cannot be still for long after that.
#[derive(Clone, Copy, Debug)]
pub struct Savings {
    until: Instant,
}

impl Savings {
    /// Those of one that begins now.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { until: now + GRACE }
    }

    /// So many bytes were sent.
    pub fn moved(&mut self, bytes: usize, now: Instant, scarcity: f64) {
        let most = now + grace(scarcity);
        self.until = (self.until.min(most) + earned(bytes as f64, scarcity)).min(most);
    }

    /// When they are used up, if no more bytes come.
    #[must_use]
    pub fn used_up_at(&self) -> Instant {
        self.until
    }
}

/// The time that so many bytes take at the lowest rate.
fn earned(bytes: f64, scarcity: f64) -> Duration {
    Duration::from_secs_f64(bytes / between(RATE, SCARCE_RATE, scarcity))
}

/// How long it may be too slow.
fn grace(scarcity: f64) -> Duration {
    let seconds = between(GRACE.as_secs_f64(), SCARCE_GRACE.as_secs_f64(), scarcity);
    Duration::from_secs_f64(seconds)
}

fn between(plenty: f64, scarce: f64, scarcity: f64) -> f64 {
    plenty + scarcity * (scarce - plenty)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STILL: Duration = Duration::from_secs(60);
    const STEP: Duration = Duration::from_millis(100);

    /// Whether one is over that moves so many bytes in its `age`, at an even rate.
    #[track_caller]
    fn check(age: u64, bytes: usize, scarcity: f64, is_over: bool) {
        let since = Instant::now();
        let (mut pace, mut savings) = (Pace::new(since), Savings::new(since));
        let n_steps = usize::try_from(age).unwrap() * 10;
        let (mut by_average, mut by_savings) = (false, false);
        for step in 1..=n_steps {
            let now = since + STEP * u32::try_from(step).unwrap();
            let moved = bytes * step / n_steps - bytes * (step - 1) / n_steps;
            pace.moved(moved, now);
            savings.moved(moved, now, scarcity);
            by_average |= pace.ends_at(STILL, scarcity) <= now;
            by_savings |= savings.used_up_at() <= now;
        }
        let found = (by_average, by_savings);
        assert_eq!(found, (is_over, is_over), "{bytes} bytes in {age} s at {scarcity}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_average_ends_it_after_its_grace() {
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
    async fn much_at_once_buys_no_time_for_later() {
        let now = Instant::now();
        let mut savings = Savings::new(now);
        savings.moved(1 << 30, now, 0.0);
        assert_eq!(savings.used_up_at(), now + GRACE);
        // Room gets scarce, and a byte each half second comes.
        let trickles = (1..).map(|n| now + n * Duration::from_millis(500));
        let ended = trickles.take(100).find(|now| {
            savings.moved(1, *now, 1.0);
            savings.used_up_at() <= *now + Duration::from_millis(1)
        });
        assert!(ended.is_some_and(|ended| ended <= now + 2 * SCARCE_GRACE), "{ended:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_without_a_byte_ends_it_too() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        pace.moved(1 << 30, now);
        let short = Duration::from_secs(1);
        assert_eq!(pace.ends_at(short, 0.0), now + short);
        assert_eq!(pace.ends_at(STILL, 1.0), now + SCARCE_GRACE);
        assert_eq!(pace.ends_at(short, 1.0), now + short);
    }
}
