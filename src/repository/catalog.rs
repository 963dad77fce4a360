//! The states of all models, as one snapshot that readers take without waiting.
//!
//! Writers replace the whole map, one at a time; a reader sees a model before or after a change,
//! never in between. A version is `Ready` only when it has been warmed up and can be resolved.

use super::error::Failure;
use super::served::{ModelHandle, Served};
use crate::inference::{ErrorCode, InferError, ModelName, ModelRef, Version, VersionSelector};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

/// When to ask again for a model that is being loaded.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Most names that an error lists.
const MAX_LISTED: usize = 20;

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
    /// Not served, for a reason that is told with it.
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
    Failed(Failure),
}

/// A state and since when it holds.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) state: State,
    pub(super) since: SystemTime,
    /// Why the last attempt to replace a version that serves did not succeed.
    pub(super) last_failure: Option<Failure>,
}

impl Slot {
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

/// The version that an operator made the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// Which it is.
    pub version: Version,
    /// Whether that is written down, so that it holds after a restart too.
    pub kept: bool,
}

/// One model.
#[derive(Debug, Clone, Default)]
pub(super) struct Entry {
    /// Whether it was there when the server started.
    pub(super) at_start: bool,
    /// Whether the server is ready only with it.
    pub(super) required: bool,
    /// Whether its first load is over.
    pub(super) settled: bool,
    /// Whether it is being loaded, for the first time or anew.
    pub(super) busy: bool,
    /// Whether an operator let it go; over when a version serves again.
    pub(super) unloaded: bool,
    /// The version that an operator wants to be the default.
    pub(super) pin: Option<Pin>,
    /// Why there is no version to serve, or not the wanted ones.
    pub(super) problem: Option<String>,
    pub(super) versions: BTreeMap<Version, Slot>,
}

impl Entry {
    /// The version that requests get by default: the one that an operator set while it is ready,
    /// otherwise the highest that is.
    pub(super) fn serving(&self) -> Option<&ModelHandle> {
        let pinned = self.pin.and_then(|pin| self.versions.get(&pin.version)?.handle());
        pinned.or_else(|| self.versions.values().rev().find_map(Slot::handle))
    }

    /// Whether nothing serves because an operator wanted it so, and nothing has gone wrong since.
    pub(super) fn is_unloaded(&self) -> bool {
        self.unloaded && self.problem.is_none()
    }

    fn resolve(
        &self,
        name: &ModelName,
        version: VersionSelector,
    ) -> Result<ModelHandle, InferError> {
        let VersionSelector::Specific(version) = version else {
            return self.serving().cloned().ok_or_else(|| self.not_ready(name));
        };
        let error = match self.versions.get(&version).map(|slot| &slot.state) {
            Some(State::Ready(handle)) => return Ok(handle.clone()),
            Some(State::Loading) => loading(name),
            Some(State::Failed(_)) => failed(name),
            Some(State::Unloaded(_)) => unloaded(name),
            None if !self.settled => loading(name),
            Some(State::Draining(_)) | None => {
                let message = format!("model {name:?} has no version {version}");
                InferError::new(ErrorCode::VersionNotFound, message)
            }
        };
        Err(error.with_model(name))
    }

    fn not_ready(&self, name: &ModelName) -> InferError {
        let is_loading = |slot: &Slot| matches!(slot.state, State::Loading);
        let waits = !self.settled || self.versions.values().any(is_loading);
        let error = match (waits, self.is_unloaded()) {
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

type Models = BTreeMap<ModelName, Arc<Entry>>;

/// All models.
#[derive(Debug, Default)]
pub(super) struct Catalog {
    models: ArcSwap<Models>,
    /// Held by writers from reading the map to replacing it; true when there is nothing to write any
    /// more.
    closed: Mutex<bool>,
}

impl Catalog {
    /// The models now.
    pub(super) fn snapshot(&self) -> Arc<Models> {
        self.models.load_full()
    }

    /// Changes one model, which is made when it is not there. Once the catalog is closed, the change
    /// is made and forgotten: what was loaded in the meantime goes again.
    pub(super) fn update<T>(&self, name: &ModelName, change: impl FnOnce(&mut Entry) -> T) -> T {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut models = (**self.models.load()).clone();
        let mut entry = models.get(name).map(|entry| Entry::clone(entry)).unwrap_or_default();
        let outcome = change(&mut entry);
        let before = (!*closed).then(|| {
            models.insert(name.clone(), Arc::new(entry));
            self.models.swap(Arc::new(models))
        });
        drop(closed);
        // What this drops may be the last handle of a version: not under the lock.
        drop(before);
        outcome
    }

    /// Lets all models go, for good.
    pub(super) fn close(&self) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        *closed = true;
        self.models.store(Arc::default());
    }

    /// Whether all models were let go.
    pub(super) fn is_closed(&self) -> bool {
        *self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version that a request means.
    pub(super) fn resolve(&self, model: &ModelRef) -> Result<ModelHandle, InferError> {
        let models = self.models.load();
        let Some(entry) = models.get(&model.name) else {
            let message = format!("there is no model {:?}", model.name);
            return Err(InferError::new(ErrorCode::ModelNotFound, message));
        };
        entry.resolve(&model.name, model.version)
    }

    /// The model that a request without a name means.
    pub(super) fn default_name(
        &self,
        configured: Option<&ModelName>,
    ) -> Result<ModelName, InferError> {
        if let Some(name) = configured {
            return Ok(name.clone());
        }
        let models = self.models.load();
        let mut names = models.keys();
        if let (Some(only), None) = (names.next(), names.next()) {
            return Ok(only.clone());
        }
        let listed: Vec<_> = models.keys().take(MAX_LISTED).map(ModelName::as_str).collect();
        let rest = models.len() - listed.len();
        let message = match (listed.is_empty(), rest) {
            (true, _) => "no model is served".into(),
            (false, 0) => format!("name one of the models: {}", listed.join(", ")),
            (false, _) => format!("name one of the models: {} and {rest} more", listed.join(", ")),
        };
        Err(InferError::new(ErrorCode::ModelRequired, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ModelName {
        text.parse().unwrap()
    }

    #[track_caller]
    fn check(catalog: &Catalog, model: &str, version: Option<u64>, expected: (ErrorCode, bool)) {
        let version = version.map_or(VersionSelector::Default, |version| {
            VersionSelector::Specific(Version(version))
        });
        let error = catalog.resolve(&ModelRef { name: name(model), version }).unwrap_err();
        assert_eq!((error.code, error.retry_after.is_some()), expected, "{error}");
        assert!(!error.message.contains("secret"), "why it failed is for operators: {error}");
    }

    #[test]
    fn what_cannot_be_resolved_has_its_code() {
        use ErrorCode::{ModelNotFound, ModelNotReady, VersionNotFound};
        let catalog = Catalog::default();
        check(&catalog, "m", None, (ModelNotFound, false));
        catalog.update(&name("m"), |_| ());
        check(&catalog, "m", None, (ModelNotReady, true));
        check(&catalog, "m", Some(1), (ModelNotReady, true));
        catalog.update(&name("m"), |entry| {
            entry.versions.insert(Version(1), Slot::new(State::Loading));
            entry.settled = true;
        });
        check(&catalog, "m", None, (ModelNotReady, true));
        check(&catalog, "m", Some(2), (VersionNotFound, false));
        catalog.update(&name("m"), |entry| {
            entry.versions.insert(Version(1), Slot::new(State::Failed("secret".into())));
            entry.versions.insert(Version(0), Slot::new(State::Draining(Weak::new())));
        });
        check(&catalog, "m", None, (ModelNotReady, false));
        check(&catalog, "m", Some(1), (ModelNotReady, false));
        check(&catalog, "m", Some(0), (VersionNotFound, false));
        catalog.update(&name("m"), |entry| {
            entry.versions.insert(Version(2), Slot::new(State::Unloaded(Weak::new())));
            entry.unloaded = true;
        });
        check(&catalog, "m", None, (ModelNotReady, false));
        check(&catalog, "m", Some(2), (ModelNotReady, false));
        let model = ModelRef { name: name("m"), version: VersionSelector::Default };
        let error = catalog.resolve(&model).unwrap_err();
        assert_eq!(error.to_string(), "model \"m\" was unloaded");
        catalog.close();
        catalog.update(&name("m"), |_| ());
        check(&catalog, "m", None, (ModelNotFound, false));
    }

    #[test]
    fn the_default_model_is_the_configured_or_the_only_one() {
        let catalog = Catalog::default();
        let message = |catalog: &Catalog| catalog.default_name(None).unwrap_err().to_string();
        assert_eq!(message(&catalog), "no model is served");
        catalog.update(&name("a"), |_| ());
        assert_eq!(catalog.default_name(None).unwrap(), name("a"));
        catalog.update(&name("b"), |_| ());
        assert_eq!(message(&catalog), "name one of the models: a, b");
        assert_eq!(catalog.default_name(Some(&name("b"))).unwrap(), name("b"));
        for index in 0..30 {
            catalog.update(&name(&format!("c{index}")), |_| ());
        }
        assert!(message(&catalog).ends_with(" and 12 more"), "{}", message(&catalog));
    }
}
