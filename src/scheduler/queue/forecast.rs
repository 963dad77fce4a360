//! What a request that comes now has to expect of a queue, and whether that is too long for it. Pure.

use std::time::Duration;

/// What a request that comes now has to expect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Forecast {
    /// Until its run begins.
    pub(super) wait: Duration,
    /// Its own turn.
    pub(super) turn: Duration,
    /// The longest wait that is borne where nobody set another, while more comes than can be served.
    pub(super) bearable: Duration,
    /// The same while it does not.
    pub(super) patient: Duration,
    /// When the next instance has ended its turn.
    pub(super) next: Duration,
}

impl Forecast {
    /// Why a request is refused that may wait for `bound` and has so much time left; with when to come again.
    pub(super) fn refusal(&self, bound: Duration, left: Duration) -> Option<(String, Duration)> {
        let answered = self.wait + self.turn;
        let (text, too_long) = if self.wait > bound {
            let text = format!(
                "a request would wait for {:.1?}, at most {bound:.1?} is allowed (batching.max_queue_wait)",
                self.wait
            );
            (text, self.wait - bound)
        } else if answered > left {
            let text =
                format!("an answer would take {answered:.1?}, and the request has {left:.1?} left");
            (text, answered - left)
        } else {
            return None;
        };
        Some((text, whole_seconds(too_long.max(self.next))))
    }
}

/// Rounded up, at least one: what a header can say.
pub(super) fn whole_seconds(time: Duration) -> Duration {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    Duration::from_secs(seconds.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn who_waits_too_long_or_would_be_late_is_told_when_to_come_again() {
        let forecast =
            Forecast { wait: 2500 * MS, turn: 700 * MS, next: 300 * MS, ..Forecast::default() };
        let check = |bound: u64, left: u64, expected: Option<u64>| {
            let bound = Duration::from_millis(bound);
            let told = forecast.refusal(bound, Duration::from_millis(left));
            assert_eq!(told.map(|(_, after)| after.as_secs()), expected, "{bound:?}, {left}");
        };
        check(2400, 30_000, Some(1));
        check(1000, 30_000, Some(2));
        check(0, 30_000, Some(3));
        check(3000, 30_000, None);
        check(3000, 3100, Some(1));
        check(3000, 1000, Some(3));
        assert_eq!(whole_seconds(Duration::ZERO), Duration::from_secs(1));
        assert_eq!(whole_seconds(Duration::from_secs(2)), Duration::from_secs(2));
    }
}
