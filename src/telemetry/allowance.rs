//! So many of something in a second, whoever asks.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is left of a second's allowance. Threads share it without a lock.
#[derive(Debug, Default)]
pub struct Allowance(AtomicU64);

impl Allowance {
    /// Takes one of the `limit` of this second; whether there was one. `second` counts from anywhere.
    pub fn take(&self, second: u64, limit: u32) -> bool {
        let second = u32::try_from(second).unwrap_or(u32::MAX);
        let admit = |window| admit(window, second, limit);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, admit).is_ok()
    }
}

/// Takes one from the allowance of a second: `window` holds the second in its upper half and
/// how many it has had in its lower half. Returns the window afterwards, or `None` when the
/// second has had all of them.
fn admit(window: u64, second: u32, limit: u32) -> Option<u64> {
    let (current, used) = ((window >> 32) as u32, window as u32);
    // A thread that was held up may come with a second that is over; it draws on the current one.
    let used = if second > current { 0 } else { used };
    (used < limit).then(|| u64::from(second.max(current)) << 32 | u64::from(used + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_allowance() {
        let allowance = Allowance::default();
        let taken = |second| (0..100).filter(|_| allowance.take(second, 10)).count();
        assert_eq!(taken(5), 10);
        assert_eq!(taken(5), 0);
        assert_eq!(taken(4), 0, "a thread that is late draws on the current one");
        assert_eq!(taken(6), 10);
    }
}
