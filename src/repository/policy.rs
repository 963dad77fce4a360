//! Which of the versions in a model's folder are served. Pure.

use crate::inference::Version;

/// What model.toml says about versions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum VersionPolicy {
    /// The highest alone.
    #[default]
    Latest,
    /// Every one.
    All,
    /// These.
    Specific(Vec<Version>),
}

/// What to serve of the versions that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Versions to load, highest first: the one that requests get by default is there first.
    pub load: Vec<Version>,
    /// Versions that the policy names and the folder does not hold.
    pub missing: Vec<Version>,
}

/// Applies a policy to the versions that are there.
#[must_use]
pub fn choose(available: &[Version], policy: &VersionPolicy) -> Choice {
    let (mut load, missing): (Vec<_>, Vec<_>) = match policy {
        VersionPolicy::Latest => (available.iter().max().copied().into_iter().collect(), vec![]),
        VersionPolicy::All => (available.to_vec(), vec![]),
        VersionPolicy::Specific(wanted) => {
            wanted.iter().copied().partition(|version| available.contains(version))
        }
    };
    load.sort_unstable_by(|a, b| b.cmp(a));
    load.dedup();
    Choice { load, missing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(available: &[u64], policy: &VersionPolicy, load: &[u64], missing: &[u64]) {
        let versions = |numbers: &[u64]| numbers.iter().copied().map(Version).collect::<Vec<_>>();
        let expected = Choice { load: versions(load), missing: versions(missing) };
        assert_eq!(choose(&versions(available), policy), expected);
    }

    #[test]
    fn a_policy_chooses_among_what_is_there() {
        let specific = |numbers: &[u64]| {
            VersionPolicy::Specific(numbers.iter().copied().map(Version).collect())
        };
        check(&[1, 10, 2], &VersionPolicy::Latest, &[10], &[]);
        check(&[], &VersionPolicy::Latest, &[], &[]);
        check(&[1, 10, 2], &VersionPolicy::All, &[10, 2, 1], &[]);
        check(&[1, 2, 3], &specific(&[1, 3, 1, 7]), &[3, 1], &[7]);
    }
}
