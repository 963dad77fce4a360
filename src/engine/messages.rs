//! What models print and what libtorch warns of: lines of the log with the model's name, and of each model only so many
//! a second, so that a model cannot fill a disk or hold up anybody by what it prints.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines of one model in a second.
const LINES: u32 = 100;
/// Bytes of one line.
pub(super) const LINE_BYTES: usize = 4 << 10;
const SECOND: Duration = Duration::from_secs(1);

/// The messages of a model.
#[derive(Debug)]
pub(super) struct ModelMessages {
    label: String,
    rate_limit: Mutex<RateLimit>,
}

impl ModelMessages {
    /// Without a label nobody knows whose they are.
    pub(super) fn new(label: String) -> Self {
        Self { label, rate_limit: Mutex::default() }
    }

    fn take(&self) -> Option<u64> {
        self.rate_limit.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
    }

    fn label(&self) -> Option<&str> {
        Some(self.label.as_str()).filter(|it| !it.is_empty())
    }

    /// The model printed something.
    pub(super) fn printed(&self, text: &str) {
        let Some(left_out) = self.take() else { return };
        let text = &*shortened(text);
        tracing::info!(model = self.label(), text, left_out, "The model printed");
    }

    /// The model, or libtorch while it ran, warned of something.
    #[cfg(feature = "torch")]
    pub(super) fn warned(&self, text: &str) {
        let Some(left_out) = self.take() else { return };
        let text = &*shortened(text);
        tracing::warn!(model = self.label(), text, left_out, "libtorch warned");
    }
}

/// What is left of a second's lines.
#[derive(Debug, Default)]
struct RateLimit {
    began: Option<Instant>,
    n_lines: u32,
    left_out: u64,
}

impl RateLimit {
    /// Takes a line, if one is left. `Some(0)` or how many were left out since the last.
    fn take(&mut self, now: Instant) -> Option<u64> {
        if self.began.is_none_or(|began| now.saturating_duration_since(began) >= SECOND) {
            (self.began, self.n_lines) = (Some(now), 0);
        }
        if self.n_lines == LINES {
            self.left_out += 1;
            return None;
        }
        self.n_lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// The text without its last end of line, and no longer than a line may be.
fn shortened(text: &str) -> Cow<'_, str> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    if text.len() <= LINE_BYTES {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(LINE_BYTES);
    Cow::Owned(format!("{}… ({} bytes)", &text[..end], text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_so_many_lines_a_second_and_the_next_says_how_many_were_left_out() {
        let mut rate_limit = RateLimit::default();
        let start = Instant::now();
        for _ in 0..LINES {
            assert_eq!(rate_limit.take(start), Some(0));
        }
        assert_eq!(rate_limit.take(start), None);
        assert_eq!(rate_limit.take(start + SECOND / 2), None);
        assert_eq!(rate_limit.take(start + SECOND), Some(2));
        assert_eq!(rate_limit.take(start + SECOND), Some(0));
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(shortened("a\nb\n"), "a\nb");
        let long = "ü".repeat(LINE_BYTES);
        let cut = shortened(&long);
        assert!(cut.ends_with("… (8192 bytes)"), "{cut}");
        assert!(cut.len() < LINE_BYTES + 32);
    }
}
