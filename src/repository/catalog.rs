//! The states of all models, as one snapshot that readers take without waiting.
//!
//! Writers replace the whole map, one at a time; a reader sees a model before or after a change,
//! never in between. A version is `Ready` only when it has been warmed up and can be resolved.

use super::entry::ModelEntry;
use super::served::ModelHandle;
use crate::inference::{ErrorCode, InferError, ModelName, ModelRef, RoutingKey, VersionSelector};
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Maximum names in an error.
const MAX_LISTED: usize = 20;

type Models = BTreeMap<ModelName, Arc<ModelEntry>>;

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
    pub(super) fn update<T>(
        &self,
        name: &ModelName,
        change: impl FnOnce(&mut ModelEntry) -> T,
    ) -> T {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut models = (**self.models.load()).clone();
        let mut entry = models.get(name).map(|entry| ModelEntry::clone(entry)).unwrap_or_default();
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

    /// Forgets a model: what is still held of it drains.
    pub(super) fn remove(&self, name: &ModelName) {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        let mut models = (**self.models.load()).clone();
        let removed = models.remove(name);
        let before = removed.is_some().then(|| self.models.swap(Arc::new(models)));
        drop(closed);
        drop((before, removed));
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
    pub(super) fn resolve(
        &self,
        model: &ModelRef,
        key: Option<RoutingKey>,
    ) -> Result<ModelHandle, InferError> {
        let models = self.models.load();
        let Some(entry) = models.get(&model.name) else {
            let message = format!("there is no model {:?}", model.name);
            return Err(InferError::new(ErrorCode::ModelNotFound, message));
        };
        entry.resolve(&model.name, &model.version, key)
    }

    /// The version that answers by default, outside of a roll-out's share.
    pub(super) fn stable(&self, name: &ModelName) -> Result<ModelHandle, InferError> {
        let models = self.models.load();
        let serving = models.get(name).and_then(|entry| entry.serving().cloned());
        drop(models);
        let default = ModelRef { name: name.clone(), version: VersionSelector::Default };
        serving.map_or_else(|| self.resolve(&default, None), Ok)
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
    use super::super::entry::{State, VersionEntry};
    use super::*;
    use crate::inference::Version;
    use std::sync::Weak;

    fn name(text: &str) -> ModelName {
        text.parse().unwrap()
    }

    #[track_caller]
    fn check(catalog: &Catalog, model: &str, version: Option<u64>, expected: (ErrorCode, bool)) {
        let version = version.map_or(VersionSelector::Default, |version| {
            VersionSelector::Specific(Version(version))
        });
        let error = catalog.resolve(&ModelRef { name: name(model), version }, None).unwrap_err();
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
            entry.versions.insert(Version(1), VersionEntry::new(State::Loading));
            entry.state.end();
        });
        check(&catalog, "m", None, (ModelNotReady, true));
        check(&catalog, "m", Some(2), (VersionNotFound, false));
        catalog.update(&name("m"), |entry| {
            entry.versions.insert(Version(1), VersionEntry::new(State::Failed("secret".into())));
            entry.versions.insert(Version(0), VersionEntry::new(State::Draining(Weak::new())));
        });
        check(&catalog, "m", None, (ModelNotReady, false));
        check(&catalog, "m", Some(1), (ModelNotReady, false));
        check(&catalog, "m", Some(0), (VersionNotFound, false));
        catalog.update(&name("m"), |entry| {
            entry.versions.insert(Version(2), VersionEntry::new(State::Unloaded(Weak::new())));
            entry.state.unload();
        });
        check(&catalog, "m", None, (ModelNotReady, false));
        check(&catalog, "m", Some(2), (ModelNotReady, false));
        let model = ModelRef { name: name("m"), version: VersionSelector::Default };
        let error = catalog.resolve(&model, None).unwrap_err();
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
