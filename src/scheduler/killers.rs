//! Inputs that ended the process of their model, remembered for a while: asked again, they would end the next one.

use crate::inference::ValidRequest;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long they are remembered: longer than clients retry.
const MEMORY: Duration = Duration::from_secs(600);
/// How many are; the oldest makes room.
const MAX_KILLERS: usize = 1024;

/// Of one version. Digests alone are kept, made with a key of this process.
#[derive(Debug, Default)]
pub(super) struct Killers {
    hasher: RandomState,
    since: Mutex<HashMap<u64, Instant>>,
    /// How many there are: mostly none, and then nothing is computed.
    count: AtomicUsize,
}

impl Killers {
    /// Remembers the inputs of a request.
    pub(super) fn remember(&self, request: &ValidRequest, now: Instant) {
        let digest = self.digest(request);
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = since.len() >= MAX_KILLERS && !since.contains_key(&digest);
        let oldest = since.iter().min_by_key(|(_, since)| **since).map(|(digest, _)| *digest);
        if let Some(oldest) = oldest.filter(|_| is_full) {
            since.remove(&oldest);
        }
        since.insert(digest, now);
        self.count.store(since.len(), Ordering::Release);
    }

    /// Whether a request has inputs that are remembered.
    pub(super) fn knows(&self, request: &ValidRequest, now: Instant) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let digest = self.digest(request);
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.retain(|_, since| now.saturating_duration_since(*since) < MEMORY);
        self.count.store(since.len(), Ordering::Release);
        since.contains_key(&digest)
    }

    fn digest(&self, request: &ValidRequest) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        for input in request.inputs() {
            match input {
                None => hasher.write_u8(0),
                Some(tensor) => {
                    hasher.write_u8(1);
                    tensor.datatype().name().hash(&mut hasher);
                    tensor.shape().dims().hash(&mut hasher);
                    tensor.buffer().as_bytes().hash(&mut hasher);
                }
            }
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::testing::request;

    #[test]
    fn inputs_are_known_for_a_while() {
        let (killers, now) = (Killers::default(), Instant::now());
        let [bad, good] = [[1.0], [2.0]].map(|values| request(&values, None));
        assert!(!killers.knows(&bad, now));
        killers.remember(&bad, now);
        assert!(killers.knows(&bad, now + MEMORY / 2) && !killers.knows(&good, now));
        assert!(killers.knows(&request(&[1.0], None), now), "the inputs count, not the request");
        assert!(!killers.knows(&bad, now + MEMORY));
        assert_eq!(killers.count.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_oldest_makes_room() {
        let (killers, now) = (Killers::default(), Instant::now());
        for n in 0..=MAX_KILLERS {
            let later = now + Duration::from_millis(n as u64);
            killers.remember(&request(&[n as f32], None), later);
        }
        let later = now + Duration::from_secs(10);
        assert_eq!(killers.count.load(Ordering::Relaxed), MAX_KILLERS);
        let knows = |value| killers.knows(&request(&[value], None), later);
        assert!(!knows(0.0) && knows(1.0));
    }
}
