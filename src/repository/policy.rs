//! Which of the versions in a model's folder are served, and in which order they are tried. Pure.

use crate::inference::Version;
use std::collections::BTreeMap;

/// What model.toml says about versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionPolicy {
    /// So many of the highest.
    Latest(usize),
    /// Every one.
    All,
    /// These.
    Specific(Vec<Version>),
}

impl Default for VersionPolicy {
    fn default() -> Self {
        Self::Latest(1)
    }
}

impl VersionPolicy {
    /// Versions that the policy names and the folder does not hold.
    pub(super) fn missing(&self, available: &[Version]) -> Vec<Version> {
        match self {
            Self::Specific(wanted) => {
                wanted.iter().copied().filter(|version| !available.contains(version)).collect()
            }
            Self::Latest(_) | Self::All => Vec::new(),
        }
    }
}

/// What there is to choose from, and how far the choosing has come.
#[derive(Debug, Clone)]
pub(super) struct Situation {
    /// Versions that the folder holds, lowest first.
    pub(super) available: Vec<Version>,
    pub(super) policy: VersionPolicy,
    /// The version that an operator made the default. Under `latest` it takes the place of the highest.
    pub(super) pin: Option<Version>,
    /// Versions that a roll-out holds, before what the policy chooses.
    pub(super) held: Vec<Version>,
    /// Versions that bear labels, behind it: what labels name must not answer by default meanwhile.
    pub(super) labeled: Vec<Version>,
    /// What was tried so far, and whether it serves.
    pub(super) tried: BTreeMap<Version, bool>,
}

impl Situation {
    /// The version to bring up next; `None` when all that should serve does, or cannot.
    ///
    /// What is to answer by default comes first, so that no other answers in its place while the model comes up. Under
    /// `latest` a version that cannot serve has the next lower one take its place: the folder holds it so that the model can
    /// go back to it.
    pub(super) fn next(&self) -> Option<Version> {
        let is_open = |version: &Version| {
            self.available.contains(version) && !self.tried.contains_key(version)
        };
        let first = self.pin.iter().chain(&self.held).copied().find(is_open);
        if first.is_some() {
            return first;
        }
        self.chosen().or_else(|| self.labeled.iter().copied().find(is_open))
    }

    /// The next one of those that the policy chooses.
    fn chosen(&self) -> Option<Version> {
        let is_open = |version: &Version| {
            self.available.contains(version) && !self.tried.contains_key(version)
        };
        let downwards = self.available.iter().rev().copied();
        match &self.policy {
            VersionPolicy::All => downwards.clone().find(is_open),
            VersionPolicy::Specific(wanted) => {
                downwards.clone().filter(|version| wanted.contains(version)).find(is_open)
            }
            VersionPolicy::Latest(n) => {
                let mut n_served = usize::from(self.pin.is_some_and(|pin| self.serves(pin)));
                for version in downwards.filter(|version| Some(*version) != self.pin) {
                    if n_served >= *n {
                        return None;
                    }
                    match self.tried.get(&version) {
                        None => return Some(version),
                        Some(true) => n_served += 1,
                        Some(false) => {}
                    }
                }
                None
            }
        }
    }

    fn serves(&self, version: Version) -> bool {
        self.tried.get(&version) == Some(&true)
    }

    /// Whether a version is one of those to serve, once there is no next one. What serves and is none of them may go,
    /// unless none of them serves: an old version is better than none.
    pub(super) fn is_chosen(&self, version: Version) -> bool {
        self.tried.contains_key(&version)
    }

    /// The same when these are held: a version that was the new one of a roll-out is not any more once another is.
    pub(super) fn holding(&self, held: Vec<Version>) -> Self {
        let mut again = Self { held, tried: BTreeMap::new(), ..self.clone() };
        while let Some(version) = again.next() {
            let serves = self.serves(version);
            again.tried.insert(version, serves);
        }
        again
    }

    /// Takes back that versions serve which do not any more: somebody may have gone back from one meanwhile. Whether there was one.
    pub(super) fn follow(&mut self, serves: impl Fn(Version) -> bool) -> bool {
        let mut has_changed = false;
        for (version, is_so) in &mut self.tried {
            if *is_so && !serves(*version) {
                (*is_so, has_changed) = (false, true);
            }
        }
        has_changed
    }

    /// Whether anything that is to serve does.
    pub(super) fn any_serves(&self) -> bool {
        self.tried.values().any(|serves| *serves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(numbers: &[u64]) -> Vec<Version> {
        numbers.iter().copied().map(Version).collect()
    }

    /// Where the versions of `bad` cannot serve, which are tried in which order?
    #[track_caller]
    fn check(available: &[u64], policy: VersionPolicy, pin: u64, held: &[u64], tried: &[i64]) {
        let mut situation = Situation {
            available: versions(available),
            policy,
            pin: (pin > 0).then_some(Version(pin)),
            held: versions(held),
            labeled: Vec::new(),
            tried: BTreeMap::new(),
        };
        // A negative number is a version that cannot serve.
        for outcome in tried {
            assert_eq!(situation.next(), Some(Version(outcome.unsigned_abs())), "{situation:?}");
            situation.tried.insert(Version(outcome.unsigned_abs()), *outcome > 0);
        }
        assert_eq!(situation.next(), None, "{situation:?}");
    }

    #[test]
    fn a_policy_chooses_among_what_is_there() {
        use VersionPolicy::{All, Latest, Specific};
        check(&[1, 2, 10], Latest(1), 0, &[], &[10]);
        check(&[1, 2, 10], Latest(2), 0, &[], &[10, 2]);
        check(&[], Latest(1), 0, &[], &[]);
        check(&[1, 2, 10], All, 0, &[], &[10, 2, 1]);
        check(&[1, 2, 3], Specific(versions(&[1, 3, 1, 7])), 0, &[], &[3, 1]);
        assert_eq!(Specific(versions(&[1, 7])).missing(&versions(&[1, 2])), versions(&[7]));
    }

    #[test]
    fn what_cannot_serve_has_the_next_lower_one_take_its_place() {
        use VersionPolicy::{All, Latest, Specific};
        check(&[1, 2, 3], Latest(1), 0, &[], &[-3, 2]);
        check(&[1, 2, 3], Latest(1), 0, &[], &[-3, -2, -1]);
        check(&[1, 2, 3], Latest(2), 0, &[], &[3, -2, 1]);
        check(&[1, 2, 3], All, 0, &[], &[-3, 2, 1]);
        check(&[1, 2, 3], Specific(versions(&[3])), 0, &[], &[-3]);
    }

    #[test]
    fn a_pin_takes_the_place_of_the_highest_and_what_is_held_comes_beside() {
        use VersionPolicy::{All, Latest, Specific};
        check(&[1, 2, 3], Latest(1), 1, &[], &[1]);
        check(&[1, 2, 3], Latest(1), 1, &[], &[-1, 3]);
        check(&[1, 2, 3], Latest(2), 1, &[], &[1, 3]);
        check(&[1, 2, 3], All, 1, &[], &[1, 3, 2]);
        check(&[1, 2, 3], Specific(versions(&[3])), 1, &[], &[1, 3]);
        check(&[2, 3], Latest(1), 1, &[], &[3]);
        check(&[1, 2, 3], Latest(1), 0, &[1], &[1, 3]);
        check(&[1, 2, 3], Latest(1), 0, &[1], &[1, -3, 2]);
        check(&[1, 3], Latest(1), 0, &[1], &[1, -3]);
    }

    /// Every folder of up to four versions, each good or bad, under every policy and pin: as long as one that the policy
    /// lets serve is good, one serves; and no version is tried twice.
    #[test]
    fn whatever_is_broken_something_serves_if_it_can() {
        use VersionPolicy::{All, Latest, Specific};
        let policies = [
            Latest(1),
            Latest(2),
            Latest(9),
            All,
            Specific(versions(&[2])),
            Specific(versions(&[1, 4])),
        ];
        let mut n_cases = 0;
        for there in 0..16u64 {
            for good in 0..16u64 {
                for policy in &policies {
                    for pin in 0..=4 {
                        for held in 0..=4 {
                            serves_if_it_can(there, good, policy, pin, held);
                            n_cases += 1;
                        }
                    }
                }
            }
        }
        assert_eq!(n_cases, 16 * 16 * 6 * 5 * 5);
    }

    fn serves_if_it_can(there: u64, good: u64, policy: &VersionPolicy, pin: u64, held: u64) {
        let set = |bits: u64| (1..=4).filter(move |it| bits >> (it - 1) & 1 == 1).map(Version);
        let mut situation = Situation {
            available: set(there).collect(),
            policy: policy.clone(),
            pin: (pin > 0).then_some(Version(pin)),
            held: (held > 0).then_some(Version(held)).into_iter().collect(),
            labeled: Vec::new(),
            tried: BTreeMap::new(),
        };
        while let Some(version) = situation.next() {
            let is_good = set(good).any(|it| it == version);
            assert!(set(there).any(|it| it == version), "only what is there: {situation:?}");
            assert_eq!(situation.tried.insert(version, is_good), None, "twice: {situation:?}");
        }
        let allowed = |version: &Version| match policy {
            VersionPolicy::Specific(wanted) => {
                wanted.contains(version) || version.0 == pin || version.0 == held
            }
            _ => true,
        };
        let could = set(there & good).any(|version| allowed(&version));
        assert_eq!(situation.any_serves(), could, "{situation:?}");
    }
}
