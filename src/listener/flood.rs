//! HTTP/2 on one connection, as far as the guard looks at it: its frames are counted, and held against what
//! work was done.

use tokio::time::Instant;

use super::activity::Activity;
use super::frames::{Frames, Patience, Work};

/// Counts the frames of a connection.
#[derive(Debug)]
pub(super) struct FrameWatch {
    frames: Frames,
    patience: Patience,
    /// What was reported to the activity last: whether something stands half, and behind how many whole ones.
    half: Option<u64>,
}

/// The client sends frames in great numbers that ask for nothing.
#[derive(Debug, thiserror::Error)]
#[error("HTTP/2 frames come in great numbers and ask for nothing")]
pub(super) struct Flood;

impl FrameWatch {
    pub(super) fn new() -> Self {
        Self { frames: Frames::new(), patience: Patience::new(Instant::now()), half: None }
    }

    /// Counts what came, and reports to the activity when something begins or ceases to stand half.
    pub(super) fn note(&mut self, came: &[u8], activity: &Activity) {
        self.frames.walk(came);
        let half = self.frames.stands_half().then(|| self.frames.n_units());
        if half != self.half {
            match half {
                Some(_) => activity.head_restarted(),
                None => activity.head_vanished(),
            }
            self.half = half;
        }
    }

    /// Whether the frames so far are few for the work that was done.
    pub(super) fn is_borne(&mut self, written_bytes: u64, activity: &Activity) -> bool {
        let tally = self.frames.tally();
        if !self.patience.is_used_up(tally) {
            return true;
        }
        let work = Work { tally, n_requests: activity.n_begun(), written_bytes };
        self.patience.bears(&work, Instant::now())
    }
}
