//! What is known of one model and of its versions at a moment, and which of them a request means.

use super::beside::Beside;
use super::failure::{FailureCode, ModelFailure};
use super::fingerprint::Stamp;
use super::intents::Intent;
use super::lifecycle::VersionState;
use super::live::Defaults;
use super::manifest::RolloutPlan;
use super::problem::Problems;
use super::routing::Routing;
use super::served::{ModelHandle, Served};
use crate::inference::{ErrorCode, InferError, ModelName, RoutingKey, Version, VersionSelector};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

/// When to ask again for a model that is being loaded.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// One version with what its state holds.
#[derive(Debug, Clone)]
pub(super) enum State {
    Loading,
    Warming,
    Verifying,
    Ready(ModelHandle),
    /// Not a handle: the catalog must not be what keeps it loaded.
    Draining(Weak<Served>),
    /// Draining as long as the version is there.
    Unloaded(Weak<Served>),
    Failed(ModelFailure),
}

impl State {
    /// Where in its life that is.
    pub(super) fn stage(&self) -> VersionState {
        match self {
            Self::Loading => VersionState::Loading,
            Self::Warming => VersionState::Warming,
            Self::Verifying => VersionState::Verifying,
            Self::Ready(_) => VersionState::Ready,
            Self::Draining(_) => VersionState::Draining,
            Self::Unloaded(_) => VersionState::Unloaded,
            Self::Failed(_) => VersionState::Failed,
        }
    }
}

/// A state and since when it holds.
#[derive(Debug, Clone)]
pub(super) struct VersionEntry {
    pub(super) state: State,
    pub(super) since: SystemTime,
    /// Why the last attempt to replace a version that serves did not succeed.
    pub(super) last_failure: Option<ModelFailure>,
    /// What the last attempt was made with, where it did not succeed.
    pub(super) tried: Option<Arc<Tried>>,
}

/// What the load of a version hangs on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tried {
    pub(super) source_digest: String,
    pub(super) beside: Beside,
    pub(super) defaults: Defaults,
    pub(super) file: Option<Stamp>,
}

impl VersionEntry {
    pub(super) fn new(state: State) -> Self {
        Self { state, since: SystemTime::now(), last_failure: None, tried: None }
    }

    /// The version, while it is ready.
    pub(super) fn handle(&self) -> Option<&ModelHandle> {
        match &self.state {
            State::Ready(handle) => Some(handle),
            _ => None,
        }
    }

    /// Whether it is ready and was not given up.
    pub(super) fn is_healthy(&self) -> bool {
        self.handle().is_some_and(|handle| !handle.has_failed())
    }

    /// Whether it was told that it was given up.
    pub(super) fn is_stuck(&self) -> bool {
        self.last_failure.as_ref().is_some_and(|it| it.code() == FailureCode::Stuck)
    }

    /// Why it is not served, or not as wanted.
    pub(super) fn failure(&self) -> Option<&ModelFailure> {
        match &self.state {
            State::Failed(failure) => Some(failure),
            _ => self.last_failure.as_ref(),
        }
    }

    /// Takes a version that serves away: who holds it finishes on it. Whether it served.
    pub(super) fn let_go(&mut self, state: fn(Weak<Served>) -> State) -> bool {
        let State::Ready(handle) = &self.state else { return false };
        handle.metrics().set_ready(false);
        *self = Self::new(state(Arc::downgrade(&handle.0)));
        true
    }
}

/// Where a model is in its life. `changing`: a load or an order of it is under way, and others have to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum ModelState {
    /// Only its name is known.
    #[default]
    New,
    /// Loaded for the first time.
    FirstLoad,
    /// Its first load is over, whatever came of it.
    Loaded { changing: bool },
    /// An operator let it go; over when a version serves again.
    Unloaded { changing: bool },
}

impl ModelState {
    /// Takes up a load or an order; false where one is under way.
    pub(super) fn begin(&mut self) -> bool {
        match self {
            Self::New => {
                *self = Self::FirstLoad;
                true
            }
            Self::FirstLoad => false,
            Self::Loaded { changing } | Self::Unloaded { changing } => {
                !std::mem::replace(changing, true)
            }
        }
    }

    /// The load or order is over.
    pub(super) fn end(&mut self) {
        match self {
            Self::New | Self::FirstLoad => *self = Self::Loaded { changing: false },
            Self::Loaded { changing } | Self::Unloaded { changing } => *changing = false,
        }
    }

    /// An operator lets the model go.
    pub(super) fn unload(&mut self) {
        *self = Self::Unloaded { changing: self.is_changing() };
    }

    /// A version serves.
    pub(super) fn serve(&mut self) {
        if let Self::Unloaded { changing } = *self {
            *self = Self::Loaded { changing };
        }
    }

    /// Whether a load or an order is under way.
    pub(super) fn is_changing(self) -> bool {
        match self {
            Self::New => false,
            Self::FirstLoad => true,
            Self::Loaded { changing } | Self::Unloaded { changing } => changing,
        }
    }

    /// Whether the first load is over.
    pub(super) fn is_settled(self) -> bool {
        !matches!(self, Self::New | Self::FirstLoad)
    }

    /// Whether an operator wants nothing of it to serve.
    pub(super) fn is_unloaded(self) -> bool {
        matches!(self, Self::Unloaded { .. })
    }
}

/// Whether the server is ready only with a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Requirement {
    /// It is.
    Required,
    /// Its model.toml says that it may be missing.
    Optional,
    /// It came after the start, and never counts.
    #[default]
    CameLater,
}

impl Requirement {
    /// Of a model that is there when the server starts.
    pub(super) fn at_start(required: bool) -> Self {
        if required { Self::Required } else { Self::Optional }
    }

    /// The same after model.toml was read again.
    pub(super) fn read_again(self, required: bool) -> Self {
        match self {
            Self::CameLater => self,
            Self::Required | Self::Optional => Self::at_start(required),
        }
    }
}

/// One model.
#[derive(Debug, Clone, Default)]
pub(super) struct ModelEntry {
    pub(super) state: ModelState,
    pub(super) requirement: Requirement,
    /// What was decided about it, as it is kept.
    pub(super) intent: Arc<Intent>,
    /// How a new version takes over, by model.toml.
    pub(super) plan: Arc<RolloutPlan>,
    /// What follows from what was decided for requests.
    pub(super) routing: Routing,
    /// Whether that should be written down and could not be.
    pub(super) is_unkept: bool,
    /// Versions that an operator let go, until they are loaded on order.
    pub(super) unloaded: BTreeSet<Version>,
    /// What was wrong when its folder was read last.
    pub(super) problems: Problems,
    pub(super) versions: BTreeMap<Version, VersionEntry>,
}

impl ModelEntry {
    /// Puts a version into a state.
    pub(super) fn put(&mut self, version: Version, state: State) {
        let before = self.versions.get(&version).map(|it| it.state.stage());
        let after = Some(state.stage());
        debug_assert!(VersionState::may_become(before, after), "{before:?} to {after:?}");
        self.versions.insert(version, VersionEntry::new(state));
    }

    /// The versions that can answer, lowest first: those that are ready, less those that were given up while they served,
    /// unless there is no other.
    fn ready(&self) -> impl DoubleEndedIterator<Item = Version> + Clone {
        let has_healthy = self.versions.values().any(VersionEntry::is_healthy);
        let can_answer = move |it: &VersionEntry| {
            if has_healthy { it.is_healthy() } else { it.handle().is_some() }
        };
        self.versions.iter().filter(move |(_, it)| can_answer(it)).map(|(version, _)| *version)
    }

    /// A version, while it is ready and was not given up.
    pub(super) fn healthy_version(&self, version: Version) -> Option<&ModelHandle> {
        self.versions.get(&version).filter(|it| it.is_healthy())?.handle()
    }

    /// The version that requests get by default, outside of a roll-out's share.
    pub(super) fn serving(&self) -> Option<&ModelHandle> {
        self.ready_version(self.routing.stable(self.ready())?)
    }

    /// A version, while it is ready.
    pub(super) fn ready_version(&self, version: Version) -> Option<&ModelHandle> {
        self.versions.get(&version)?.handle()
    }

    pub(super) fn is_required(&self) -> bool {
        self.requirement == Requirement::Required
    }

    /// The version that a request means.
    pub(super) fn resolve(
        &self,
        name: &ModelName,
        version: &VersionSelector,
        key: Option<RoutingKey>,
    ) -> Result<ModelHandle, InferError> {
        let version = match version {
            VersionSelector::Default => {
                let chosen = self.routing.choose(name.as_str(), key, self.ready());
                let chosen = chosen.and_then(|version| self.ready_version(version));
                return chosen.cloned().ok_or_else(|| self.not_ready(name));
            }
            VersionSelector::Specific(version) => *version,
            VersionSelector::Label(label) => {
                self.routing.labeled(label, self.ready()).ok_or_else(|| {
                    let message = format!("no version of model {name:?} bears the label {label:?}");
                    InferError::new(ErrorCode::VersionNotFound, message).with_model(name)
                })?
            }
        };
        let error = match self.versions.get(&version).map(|it| &it.state) {
            Some(State::Ready(handle)) => return Ok(handle.clone()),
            Some(State::Loading | State::Warming | State::Verifying) => loading(name),
            Some(State::Failed(_)) => {
                let message = format!("version {version} of model {name:?} could not be loaded");
                InferError::new(ErrorCode::ModelNotReady, message)
            }
            Some(State::Unloaded(_)) => unloaded(name),
            None if !self.state.is_settled() => loading(name),
            Some(State::Draining(_)) | None => {
                let message = format!("model {name:?} has no version {version}");
                InferError::new(ErrorCode::VersionNotFound, message)
            }
        };
        Err(error.with_model(name))
    }

    fn not_ready(&self, name: &ModelName) -> InferError {
        let is_loading = |it: &VersionEntry| it.state.stage().is_coming();
        let waits = !self.state.is_settled() || self.versions.values().any(is_loading);
        let error = match (waits, self.is_unloaded_on_order()) {
            (true, _) => loading(name),
            (false, true) => unloaded(name),
            (false, false) => failed(name),
        };
        error.with_model(name)
    }
}

fn loading(name: &ModelName) -> InferError {
    InferError::new(ErrorCode::ModelNotReady, format!("model {name:?} is being loaded"))
        .with_retry_after(RETRY_AFTER)
}

/// Only an operator can bring it back: trying again does not help.
fn unloaded(name: &ModelName) -> InferError {
    InferError::new(ErrorCode::ModelNotReady, format!("model {name:?} was unloaded"))
}

/// Trying again does not help, and why it failed is for operators alone.
fn failed(name: &ModelName) -> InferError {
    InferError::new(ErrorCode::ModelNotReady, format!("model {name:?} could not be loaded"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_load_or_order_at_a_time() {
        let mut state = ModelState::New;
        assert!(state.begin() && !state.is_settled());
        assert!(!state.begin(), "the first load excludes everything");
        state.end();
        assert_eq!(state, ModelState::Loaded { changing: false });
        assert!(state.begin() && !state.begin());
        state.unload();
        assert_eq!(state, ModelState::Unloaded { changing: true }, "the order is still under way");
        state.end();
        assert!(state.begin() && state.is_unloaded(), "until something serves");
        state.serve();
        assert_eq!(state, ModelState::Loaded { changing: true });
    }

    #[test]
    fn what_came_later_is_never_required() {
        assert_eq!(Requirement::default().read_again(true), Requirement::CameLater);
        assert_eq!(Requirement::at_start(false).read_again(true), Requirement::Required);
        assert_eq!(Requirement::at_start(true).read_again(false), Requirement::Optional);
    }
}
