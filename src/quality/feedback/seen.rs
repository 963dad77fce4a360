//! Which tokens have come back: the last of them, so that a label that is sent twice counts once.
//!
//! Each replica knows its own. Where a load balancer sends the same token to the same replica, none is counted twice.

use super::keys::Mac;
use std::collections::{HashSet, VecDeque};

/// How many are known, the latest: 32 MiB at the most.
const MAX_SEEN: usize = 1 << 20;

/// Tokens that came back, by a part of their codes: nobody without a key can make two that are alike.
#[derive(Debug, Default)]
pub(super) struct Seen {
    known: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Seen {
    /// Whether it comes for the first time, as far as is known; known from now on.
    pub(super) fn is_new(&mut self, code: &Mac) -> bool {
        let [a, b, c, d, e, f, g, h, ..] = *code;
        let short = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        if !self.known.insert(short) {
            return false;
        }
        self.order.push_back(short);
        if self.order.len() > MAX_SEEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_known_and_no_more() {
        let code = |number: u64| {
            let mut code = [0; 12];
            code[..8].copy_from_slice(&number.to_be_bytes());
            code
        };
        let mut seen = Seen::default();
        assert!(seen.is_new(&code(0)) && !seen.is_new(&code(0)));
        for number in 1..=MAX_SEEN as u64 {
            assert!(seen.is_new(&code(number)));
        }
        assert_eq!((seen.known.len(), seen.order.len()), (MAX_SEEN, MAX_SEEN));
        assert!(!seen.is_new(&code(1)));
        assert!(seen.is_new(&code(0)), "the oldest makes room");
    }
}
