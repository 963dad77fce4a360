//! The states of a version, and which may follow which. Pure.

/// Where a version is in its life. See [`VersionState::may_become`] for the ways through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VersionState {
    /// Its files are read, its sums and links checked, it is tried in the child, and loaded here.
    Loading,
    /// Its instances run it for the first time.
    Warming,
    /// Its answers to the requests of `golden.jsonl` are compared with what they should be.
    Verifying,
    /// Warmed up and verified; requests are taken.
    Ready,
    /// Replaced or unloaded; finishes what it has.
    Draining,
    /// An operator let it go; the next load of the model brings it back.
    Unloaded,
    /// Not served, for a reason that is reported with it.
    Failed,
}

impl VersionState {
    /// Every state.
    pub const ALL: &'static [Self] = &[
        Self::Loading,
        Self::Warming,
        Self::Verifying,
        Self::Ready,
        Self::Draining,
        Self::Unloaded,
        Self::Failed,
    ];

    /// Its name in metadata.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Warming => "warming",
            Self::Verifying => "verifying",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Unloaded => "unloaded",
            Self::Failed => "failed",
        }
    }

    /// Whether it is on its way to being ready.
    #[must_use]
    pub fn is_coming(self) -> bool {
        matches!(self, Self::Loading | Self::Warming | Self::Verifying)
    }

    /// Whether this state may follow that one; `None` before the version is known, and after it is forgotten.
    ///
    /// A version that is loaded anew while it serves stays `Ready` throughout: what comes up beside it is not seen until
    /// it takes its place.
    #[must_use]
    pub fn may_become(before: Option<Self>, after: Option<Self>) -> bool {
        use VersionState::{Draining, Failed, Loading, Ready, Unloaded, Verifying, Warming};
        match (before, after) {
            // It is found, or tried again; or is given up before its turn came.
            (None | Some(Draining | Unloaded | Failed), Some(Loading)) => true,
            (Some(Loading), Some(Warming | Failed) | None) => true,
            (Some(Warming), Some(Verifying | Failed)) => true,
            (Some(Verifying), Some(Ready | Failed)) => true,
            // Replaced by itself, by another version, or let go.
            (Some(Ready), Some(Ready | Draining | Unloaded)) => true,
            // Gone from the folder, or no longer chosen.
            (Some(Draining | Unloaded | Failed), None) => true,
            _ => before == after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_reached_by_verifying_alone_and_left_for_draining_or_unloaded_alone() {
        let all = || VersionState::ALL.iter().copied().map(Some).chain([None]);
        let before = |after| all().filter(move |it| VersionState::may_become(*it, after));
        let after = |before| all().filter(move |it| VersionState::may_become(before, *it));
        use VersionState::{Draining, Ready, Unloaded, Verifying};
        assert!(before(Some(Ready)).eq([Some(Verifying), Some(Ready)]));
        assert!(after(Some(Ready)).eq([Some(Ready), Some(Draining), Some(Unloaded)]));
        assert!(
            before(Some(Draining)).all(|it| it == Some(Ready) || it == Some(Draining)),
            "only what served drains"
        );
        // Every state can be reached, and left for good.
        let mut reached = vec![None];
        let mut idx = 0;
        while let Some(state) = reached.get(idx).copied() {
            reached.extend(after(state).filter(|it| !reached.contains(it)).collect::<Vec<_>>());
            idx += 1;
        }
        assert_eq!(reached.len(), VersionState::ALL.len() + 1);
    }
}
