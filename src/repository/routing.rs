//! Which version of a model answers a request. Pure.

use crate::inference::{RoutingKey, Version, VersionLabel};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The version that an operator made the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// Which it is.
    pub version: Version,
    /// Whether that is written down, so that it holds after a restart too.
    pub kept: bool,
}

/// The label of the version that answers by default.
pub(super) const STABLE: &str = "stable";
/// The label of the new version of a roll-out.
pub(super) const CANARY: &str = "canary";

/// A new version beside the one that serves.
#[derive(Debug, Clone)]
pub(super) struct Split {
    /// The one that serves.
    pub(super) stable: Version,
    /// The new one.
    pub(super) candidate: Version,
    /// The share of requests that the new one answers, from 0 to 1.
    pub(super) weight: f64,
    /// Requests without a key so far.
    turn: Arc<AtomicU64>,
}

impl Split {
    pub(super) fn new(stable: Version, candidate: Version, weight: f64) -> Self {
        Self { stable, candidate, weight, turn: Arc::default() }
    }

    /// The same with another share: keys that have the new version already stay with it as the share grows.
    pub(super) fn with_weight(&self, weight: f64) -> Self {
        Self { weight, ..self.clone() }
    }

    fn choose(&self, model: &str, key: Option<RoutingKey>) -> Version {
        if self.weight <= 0.0 {
            return self.stable;
        }
        let place = key.map_or_else(|| self.next_place(), |key| key.place(model));
        if place < self.weight { self.candidate } else { self.stable }
    }

    /// The places of requests without a key follow each other as the multiples of the golden ratio do: of any number of
    /// them in a row the share below a bound is as good as the bound.
    fn next_place(&self) -> f64 {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        // 2^64 divided by the golden ratio; the product wraps around, which takes off the whole part.
        let place = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (place >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// What operators and roll-outs say about the way of requests to the versions of a model.
#[derive(Debug, Clone, Default)]
pub(super) struct Routing {
    /// The version that answers by default, while it is ready.
    pub(super) default: Option<Pin>,
    /// Names for versions.
    pub(super) labels: BTreeMap<VersionLabel, Version>,
    /// A roll-out under way.
    pub(super) split: Option<Split>,
}

impl Routing {
    /// The version that answers a request without a version, of those that are ready, lowest first.
    pub(super) fn choose(
        &self,
        model: &str,
        key: Option<RoutingKey>,
        ready: impl DoubleEndedIterator<Item = Version> + Clone,
    ) -> Option<Version> {
        let is_ready = |wanted: Version| ready.clone().any(|version| version == wanted);
        match &self.split {
            Some(split) if is_ready(split.stable) => {
                let chosen = split.choose(model, key);
                // A new version that fails while it serves has its requests answered by the old one.
                Some(if is_ready(chosen) { chosen } else { split.stable })
            }
            _ => self.stable(ready),
        }
    }

    /// The version that answers by default: that of before a roll-out, the one that was set, or else the highest.
    pub(super) fn stable(
        &self,
        ready: impl DoubleEndedIterator<Item = Version> + Clone,
    ) -> Option<Version> {
        let is_ready = |wanted: &Version| ready.clone().any(|version| version == *wanted);
        let old = self.split.as_ref().map(|split| split.stable).filter(is_ready);
        let set = self.default.map(|pin| pin.version).filter(is_ready);
        old.or(set).or_else(|| ready.clone().next_back())
    }

    /// The version that a label names; `stable` and `canary` follow by themselves.
    pub(super) fn labeled(
        &self,
        label: &VersionLabel,
        ready: impl DoubleEndedIterator<Item = Version> + Clone,
    ) -> Option<Version> {
        match label.as_str() {
            STABLE => self.stable(ready),
            CANARY => self.split.as_ref().map(|split| split.candidate),
            _ => self.labels.get(label).copied(),
        }
    }

    /// The versions of a roll-out, the old one first.
    pub(super) fn in_rollout(&self) -> impl Iterator<Item = Version> {
        self.split.iter().flat_map(|split| [split.stable, split.candidate])
    }
}

/// Whether operators may give versions this label.
pub(super) fn is_free(label: &VersionLabel) -> bool {
    !matches!(label.as_str(), STABLE | CANARY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(numbers: &[u64]) -> impl DoubleEndedIterator<Item = Version> + Clone {
        numbers.iter().copied().map(Version)
    }

    #[track_caller]
    fn check(default: Option<u64>, ready: &[u64], expected: Option<u64>) {
        let pin = |version| Pin { version: Version(version), kept: true };
        let routing = Routing { default: default.map(pin), ..Routing::default() };
        let chosen = routing.choose("m", None, versions(ready));
        assert_eq!(chosen, expected.map(Version), "{default:?} of {ready:?}");
    }

    #[test]
    fn the_default_is_the_one_that_was_set_or_the_highest() {
        check(None, &[], None);
        check(None, &[1, 2, 7], Some(7));
        check(Some(2), &[1, 2, 7], Some(2));
        check(Some(3), &[1, 2, 7], Some(7));
        check(Some(3), &[], None);
    }

    fn split(weight: f64) -> Routing {
        Routing { split: Some(Split::new(Version(1), Version(2), weight)), ..Routing::default() }
    }

    #[test]
    fn shares_are_exact_without_keys() {
        for weight in [0.0, 0.01, 0.05, 0.25, 0.5, 0.99, 1.0] {
            let routing = split(weight);
            let chosen = (0..10_000).map(|_| routing.choose("m", None, versions(&[1, 2])));
            let new = chosen.filter(|it| *it == Some(Version(2))).count();
            let wanted = weight * 10_000.0;
            assert!((new as f64 - wanted).abs() <= 5.0, "{weight}: {new} of 10000");
        }
    }

    #[test]
    fn a_key_moves_once_as_the_share_grows() {
        for idx in 0..1000 {
            let key = Some(RoutingKey::of(format!("user {idx}").as_bytes()));
            let at = |weight| split(weight).choose("m", key, versions(&[1, 2])).unwrap();
            let path: Vec<_> = [0.0, 0.05, 0.25, 0.5, 1.0].into_iter().map(at).collect();
            assert!(path.is_sorted(), "a key must not move back: {path:?}");
            assert_eq!(at(0.25), at(0.25), "a key must not move between steps");
            assert_eq!((path[0], path[4]), (Version(1), Version(2)));
        }
    }

    #[test]
    fn a_version_that_is_not_ready_is_replaced_by_the_other() {
        let new_alone = split(1.0);
        assert_eq!(new_alone.choose("m", None, versions(&[1])), Some(Version(1)));
        assert_eq!(split(0.0).choose("m", None, versions(&[2])), Some(Version(2)));
        assert_eq!(split(0.5).choose("m", None, versions(&[])), None);
    }

    #[test]
    fn labels_follow_the_roll_out_or_the_operator() {
        let mut routing = split(0.5);
        routing.labels.insert("old".parse().unwrap(), Version(1));
        let labeled = |routing: &Routing, label: &str| {
            routing.labeled(&label.parse().unwrap(), versions(&[1, 2])).map(|it| it.0)
        };
        assert_eq!(labeled(&routing, "stable"), Some(1));
        assert_eq!(labeled(&routing, "canary"), Some(2));
        assert_eq!(labeled(&routing, "old"), Some(1));
        assert_eq!(labeled(&routing, "other"), None);
        routing.split = None;
        assert_eq!((labeled(&routing, "stable"), labeled(&routing, "canary")), (Some(2), None));
    }
}
