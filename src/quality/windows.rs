//! What was counted in the last hour, in the last day and since the version was loaded.

use super::counts::Counted;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Time between two snapshots of the last hour, and of the last day.
const SLICES: [(Duration, usize); 2] =
    [(Duration::from_secs(60), 60), (Duration::from_secs(3600), 24)];

/// Over which time a figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Window {
    /// An hour, or less where the version was not loaded that long ago.
    Hour,
    /// A day, or less.
    Day,
    /// All that was counted.
    SinceLoad,
}

impl Window {
    /// All of them, the shortest first.
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::SinceLoad];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::SinceLoad => "since_load",
        }
    }
}

/// Snapshots of counters, the oldest first. What lies between one and now is a window.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    kept: [VecDeque<(Instant, Counted)>; 2],
}

impl Snapshots {
    /// Keeps what was counted so far, where another one is due.
    pub(super) fn keep(&mut self, now: Instant, counted: &Counted) {
        for (kept, (every, n)) in self.kept.iter_mut().zip(SLICES) {
            if kept.back().is_none_or(|(at, _)| now.saturating_duration_since(*at) >= every) {
                kept.push_back((now, counted.clone()));
            }
            // One more than there are slices: the window begins at the first.
            while kept.len() > n + 1 {
                kept.pop_front();
            }
        }
    }

    /// What of it came in a window.
    pub(super) fn of(&self, window: Window, now: Instant, counted: &Counted) -> Counted {
        let (place, length) = match window {
            Window::Hour => (0, Duration::from_secs(3600)),
            Window::Day => (1, Duration::from_secs(24 * 3600)),
            Window::SinceLoad => return counted.clone(),
        };
        let is_within =
            |(at, _): &&(Instant, Counted)| now.saturating_duration_since(*at) <= length;
        let begin = self.kept[place].iter().find(is_within);
        begin.map_or_else(|| counted.clone(), |(_, before)| counted.since(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(rows: u64) -> Counted {
        Counted { rows, ..Counted::default() }
    }

    #[test]
    fn a_window_holds_what_came_in_its_time() {
        let (begin, minute) = (Instant::now(), Duration::from_secs(60));
        let mut snapshots = Snapshots::default();
        for number in 0..=3000u32 {
            snapshots.keep(begin + minute * number, &counted(u64::from(number)));
        }
        let now = begin + minute * 3000;
        let rows = |window| snapshots.of(window, now, &counted(3005)).rows;
        assert_eq!(rows(Window::Hour), 65);
        assert_eq!(rows(Window::Day), 24 * 60 + 5);
        assert_eq!(rows(Window::SinceLoad), 3005);
        assert_eq!((snapshots.kept[0].len(), snapshots.kept[1].len()), (61, 25));
        let young = Snapshots::default();
        assert_eq!(young.of(Window::Hour, now, &counted(7)).rows, 7);
    }
}
