//! Ids of requests: the caller's own where it is fit to be logged and returned, or one of ours.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Longest id that a caller may choose, in bytes.
const MAX_LEN: usize = 128;

/// The caller's id, if it has 1 to 128 visible ASCII characters: nothing that breaks a log line or a
/// header. Any other is as good as none.
#[must_use]
pub fn accept(id: &[u8]) -> Option<&str> {
    let fits = (1..=MAX_LEN).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(id).ok().filter(|_| fits)
}

/// Makes ids: 32 hexadecimal digits that sort by time, unique among the processes of a fleet.
///
/// 48 bits of milliseconds, 48 bits drawn at start, 32 bits counted. They are no secret: who has
/// seen one can guess others.
#[derive(Debug)]
pub struct RequestIds {
    process: u64,
    next: AtomicU32,
}

impl RequestIds {
    /// With a random part from the standard library's hash seed, which the system's generator fills.
    #[must_use]
    pub fn new() -> Self {
        let random = RandomState::new().hash_one(std::process::id());
        Self { process: random & 0xffff_ffff_ffff, next: AtomicU32::new(random as u32) }
    }

    /// The next id.
    #[must_use]
    pub fn make(&self) -> Arc<str> {
        // A clock before 1970 costs the order by time, nothing else.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = now.as_millis() & 0xffff_ffff_ffff;
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let id = millis << 80 | u128::from(self.process) << 32 | u128::from(count);
        let mut text = [0; 32];
        for (digit, shift) in text.iter_mut().zip((0..128).step_by(4).rev()) {
            *digit = b"0123456789abcdef"[(id >> shift & 0xf) as usize];
        }
        std::str::from_utf8(&text).expect("hexadecimal digits are ASCII").into()
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn only_visible_ascii_is_accepted() {
        for good in ["a", "3f2a-77", "~!\"<>{}", &"x".repeat(128)] {
            assert_eq!(accept(good.as_bytes()), Some(good));
        }
        for bad in ["", "a b", "a\n", "a\tb", "ü", "\u{7f}", &"x".repeat(129)] {
            assert_eq!(accept(bad.as_bytes()), None, "{bad:?} must be replaced");
        }
        assert_eq!(accept(b"\xff"), None);
    }

    #[test]
    fn made_ids_differ_and_are_fit_to_be_accepted() {
        let (one, other) = (RequestIds::new(), RequestIds::new());
        let ids: HashSet<_> = (0..1000).flat_map(|_| [one.make(), other.make()]).collect();
        assert_eq!(ids.len(), 2000);
        for id in &ids {
            assert_eq!(id.len(), 32);
            assert!(id.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')), "{id}");
            assert_eq!(accept(id.as_bytes()), Some(&**id));
        }
    }

    #[test]
    fn made_ids_begin_with_the_time() {
        let id = RequestIds::new().make();
        let millis = u64::from_str_radix(&id[..12], 16).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        assert!(now.abs_diff(millis) < 60_000, "{millis} is far from {now}");
    }
}
