//! Which versions are kept, by a bound on their bytes: a pure choice.

use super::listing::Listing;
use std::collections::{BTreeMap, BTreeSet};

/// A version of a model.
pub(super) type Id = (String, u64);

/// What is known when versions are chosen.
#[derive(Debug)]
pub(super) struct Known<'a> {
    /// Versions that lie here.
    pub(super) here: &'a BTreeSet<Id>,
    /// Those that the server needs; `None` while that is not settled, and then nothing leaves that lies here.
    pub(super) in_use: Option<&'a BTreeSet<Id>>,
    /// When each was needed last, in seconds since 1970.
    pub(super) used: &'a BTreeMap<String, u64>,
    /// Bytes that all of them may take.
    pub(super) max_bytes: u64,
}

/// What is kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) wanted: BTreeSet<Id>,
    /// The highest versions of models that have no room.
    pub(super) too_large: Vec<Id>,
}

/// How a version is called in the index and in messages.
pub(super) fn label(id: &Id) -> String {
    format!("{}/{}", id.0, id.1)
}

/// What is needed comes first and stays whatever it takes, then each model's highest version, then what was needed last.
pub(super) fn choose(listing: &Listing, known: &Known<'_>) -> Choice {
    let mut candidates = Vec::new();
    for (name, model) in &listing.models {
        let highest = model.versions.keys().next_back().copied();
        for (&version, files) in &model.versions {
            let id = (name.clone(), version);
            let is_needed = known.in_use.is_none_or(|in_use| in_use.contains(&id));
            let must_stay = is_needed && known.here.contains(&id);
            let used = known.used.get(&label(&id)).copied().unwrap_or(0);
            let bytes: u64 = files.values().map(|file| file.size).sum();
            let rank = (!must_stay, highest != Some(version), std::cmp::Reverse((used, version)));
            candidates.push((rank, id, bytes));
        }
    }
    candidates.sort();
    let mut choice = Choice::default();
    let mut taken = 0_u64;
    for ((may_leave, is_old, _), id, bytes) in candidates {
        let fits = taken.saturating_add(bytes) <= known.max_bytes;
        if fits || !may_leave {
            taken = taken.saturating_add(bytes);
            choice.wanted.insert(id);
        } else if !is_old {
            choice.too_large.push(id);
        }
    }
    choice
}

#[cfg(test)]
mod tests {
    use super::super::listing::{ModelListing, Object};
    use super::*;
    use object_store::path::Path as ObjectPath;

    /// Models with versions of these sizes.
    fn listing(models: &[(&str, &[(u64, u64)])]) -> Listing {
        let mut listing = Listing::default();
        for (name, versions) in models {
            let mut model = ModelListing::default();
            for (version, size) in *versions {
                let object = Object {
                    key: format!("{name}/{version}/model.pt"),
                    location: ObjectPath::default(),
                    identity: String::new(),
                    size: *size,
                };
                model.versions.entry(*version).or_default().insert("model.pt".into(), object);
            }
            listing.models.insert((*name).into(), model);
        }
        listing
    }

    fn ids(labels: &[&str]) -> BTreeSet<Id> {
        let id = |label: &&str| {
            let (name, version) = label.split_once('/').unwrap();
            (name.to_owned(), version.parse().unwrap())
        };
        labels.iter().map(id).collect()
    }

    #[test]
    fn what_is_kept() {
        let listing = listing(&[("a", &[(1, 10), (2, 10), (3, 10)]), ("b", &[(1, 10)])]);
        #[track_caller]
        fn check(
            listing: &Listing,
            here: &[&str],
            in_use: Option<&[&str]>,
            max_bytes: u64,
            expected: &[&str],
        ) {
            let used = BTreeMap::from([("a/1".to_owned(), 5), ("a/2".to_owned(), 3)]);
            let in_use = in_use.map(ids);
            let known = Known { here: &ids(here), in_use: in_use.as_ref(), used: &used, max_bytes };
            assert_eq!(choose(listing, &known).wanted, ids(expected));
        }
        check(&listing, &[], None, 40, &["a/1", "a/2", "a/3", "b/1"]);
        check(&listing, &[], None, 20, &["a/3", "b/1"]);
        // What was needed last stays longest.
        check(&listing, &["a/1", "a/2"], Some(&[]), 30, &["a/1", "a/3", "b/1"]);
        // What serves stays, whatever the bound.
        check(&listing, &["a/1", "a/2"], Some(&["a/2"]), 20, &["a/2", "a/3"]);
        check(&listing, &["a/1", "a/2"], Some(&["a/2"]), 0, &["a/2"]);
        // Nobody has said what serves: nothing leaves.
        check(&listing, &["a/1", "a/2"], None, 0, &["a/1", "a/2"]);
        // A version that is not here is no reason to break the bound.
        check(&listing, &[], Some(&["a/1"]), 0, &[]);
    }

    #[test]
    fn the_highest_version_without_room_is_named() {
        let listing = listing(&[("a", &[(1, 10), (2, 30)])]);
        let used = BTreeMap::new();
        let known = Known { here: &ids(&[]), in_use: None, used: &used, max_bytes: 20 };
        let choice = choose(&listing, &known);
        assert_eq!((choice.wanted, choice.too_large), (ids(&["a/1"]), vec![("a".into(), 2)]));
    }
}
