//! Which version of a model answers a request that names none. Pure.

use crate::inference::Version;

/// The version that an operator made the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// Which it is.
    pub version: Version,
    /// Whether that is written down, so that it holds after a restart too.
    pub kept: bool,
}

/// What operators say about the way of requests to the versions of a model.
#[derive(Debug, Clone, Default)]
pub(super) struct Routing {
    /// The version that answers by default, while it is ready.
    pub(super) default: Option<Pin>,
}

impl Routing {
    /// The version that answers by default, of those that are ready, lowest first: the one that was set, or else the
    /// highest.
    pub(super) fn choose(
        &self,
        ready: impl DoubleEndedIterator<Item = Version> + Clone,
    ) -> Option<Version> {
        let set = self.default.map(|pin| pin.version);
        let set = set.filter(|set| ready.clone().any(|version| version == *set));
        set.or_else(|| ready.clone().next_back())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(default: Option<u64>, ready: &[u64], expected: Option<u64>) {
        let pin = |version| Pin { version: Version(version), kept: true };
        let routing = Routing { default: default.map(pin) };
        let chosen = routing.choose(ready.iter().copied().map(Version));
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
}
