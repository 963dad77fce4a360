//! What is known of one model and of its versions at a moment, and which of them a request means.

use super::failure::ModelFailure;
use super::routing::Routing;
use super::served::{ModelHandle, Served};
use crate::inference::{ErrorCode, InferError, ModelName, Version, VersionSelector};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

/// When to ask again for a model that is being loaded.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Where a version is in its life: `Loading` → `Ready` → `Draining` → gone or `Unloaded`, or `Failed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VersionState {
    /// Being tried, read or warmed up.
    Loading,
    /// Warmed up; requests are taken.
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
    pub const ALL: &'static [Self] =
        &[Self::Loading, Self::Ready, Self::Draining, Self::Unloaded, Self::Failed];

    /// Its name in metadata.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Unloaded => "unloaded",
            Self::Failed => "failed",
        }
    }
}

/// One version with what its state holds.
#[derive(Debug, Clone)]
pub(super) enum State {
    Loading,
    Ready(ModelHandle),
    /// Not a handle: the catalog must not be what keeps it loaded.
    Draining(Weak<Served>),
    /// Draining as long as the version is there.
    Unloaded(Weak<Served>),
    Failed(ModelFailure),
}

/// A state and since when it holds.
#[derive(Debug, Clone)]
pub(super) struct VersionEntry {
    pub(super) state: State,
    pub(super) since: SystemTime,
    /// Why the last attempt to replace a version that serves did not succeed.
    pub(super) last_failure: Option<ModelFailure>,
}

impl VersionEntry {
    pub(super) fn new(state: State) -> Self {
        Self { state, since: SystemTime::now(), last_failure: None }
    }

    /// The version, while it is ready.
    pub(super) fn handle(&self) -> Option<&ModelHandle> {
        match &self.state {
            State::Ready(handle) => Some(handle),
            _ => None,
        }
    }

    /// Takes a version that serves away: who holds it finishes on it.
    pub(super) fn let_go(&mut self, state: fn(Weak<Served>) -> State) {
        if let State::Ready(handle) = &self.state {
            handle.metrics().set_ready(false);
            *self = Self::new(state(Arc::downgrade(&handle.0)));
        }
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
    pub(super) routing: Routing,
    /// Why there is no version to serve, or not the wanted ones.
    pub(super) problem: Option<ModelFailure>,
    pub(super) versions: BTreeMap<Version, VersionEntry>,
}

impl ModelEntry {
    /// The version that requests get by default.
    pub(super) fn serving(&self) -> Option<&ModelHandle> {
        let ready = self.versions.iter().filter(|(_, it)| it.handle().is_some());
        let version = self.routing.choose(ready.map(|(version, _)| *version))?;
        self.versions.get(&version)?.handle()
    }

    pub(super) fn is_required(&self) -> bool {
        self.requirement == Requirement::Required
    }

    /// Whether nothing serves because an operator wanted it so, and nothing has gone wrong since.
    pub(super) fn is_unloaded_on_order(&self) -> bool {
        self.state.is_unloaded() && self.problem.is_none()
    }

    /// The version that a request means.
    pub(super) fn resolve(
        &self,
        name: &ModelName,
        version: VersionSelector,
    ) -> Result<ModelHandle, InferError> {
        let version = match version {
            VersionSelector::Default => {
                return self.serving().cloned().ok_or_else(|| self.not_ready(name));
            }
            VersionSelector::Specific(version) => version,
        };
        let error = match self.versions.get(&version).map(|it| &it.state) {
            Some(State::Ready(handle)) => return Ok(handle.clone()),
            Some(State::Loading) => loading(name),
            Some(State::Failed(_)) => failed(name),
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
        let is_loading = |it: &VersionEntry| matches!(it.state, State::Loading);
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
