//! All models, as the rest of the program has them: found, asked for, let go.

use super::catalog::Catalog;
use super::entry::{ModelState, Requirement};
use super::error::RepositoryError;
use super::failure::LoadFailures;
use super::hold::{Bringer, Hold};
use super::intents::Intents;
use super::live::Defaults;
use super::load::VersionLoader;
use super::parts::RepositoryParts;
use super::served::{ModelHandle, ModelLimits};
use super::shared::Shared;
use super::source::Source;
use super::status::{self, ModelStatus, Readiness};
use super::threads::{DetachedLimit, MAX_DETACHED, loading_thread, on_loading_thread};
use super::{layout, transition, watch};
use crate::inference::{InferError, ModelName, ModelRef, RoutingKey, Version, VersionSelector};
use crate::telemetry::events::EventKind;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

/// All models. Clones share everything.
#[derive(Debug, Clone)]
pub struct Repository(pub(super) Arc<Shared>);

impl Repository {
    /// What holds for the requests of every model, which its own folder may only tighten.
    #[must_use]
    pub fn limits(&self) -> ModelLimits {
        let live = self.0.options().live.now();
        let Defaults { max_body_bytes, timeout, .. } = live.defaults;
        ModelLimits { max_body_bytes, timeout }
    }

    /// Reads the models folder and those that are named: every model is there, none is loaded. The models found now are the
    /// ones that readiness asks for, less those with `required = false`.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn open(parts: RepositoryParts) -> Result<Self, RepositoryError> {
        let (options, metrics) = (&parts.options, &parts.metrics);
        let scan = layout::scan(&options.models, &options.live.now().named)
            .map_err(|source| RepositoryError::Folder { path: options.models.clone(), source })?;
        for sentence in &scan.ignored {
            tracing::warn!("{sentence}");
        }
        let catalog = Catalog::default();
        for folder in &scan.models {
            // A model.toml that cannot be read does not say that the model may be missing.
            let required = Source::read(folder).map_or(true, |source| source.is_required());
            catalog.update(&folder.name, |entry| {
                entry.requirement = Requirement::at_start(required);
                entry.state = ModelState::FirstLoad;
            });
        }
        let intents = Intents::new(options.state_dir.as_deref(), options.keeps_decisions);
        let failures = Arc::new(LoadFailures::default());
        metrics.register(Arc::<LoadFailures>::clone(&failures));
        let (verifier, events) = (parts.verifier.clone(), parts.events.clone());
        let loader = VersionLoader::new(parts);
        let models = scan.models.into_iter().flat_map(|folder| folder.ignored);
        let ignored = scan.ignored.into_iter().chain(models).collect();
        let detached = DetachedLimit::default();
        Ok(Self(Arc::new(Shared {
            catalog,
            loader,
            intents,
            verifier,
            events,
            failures,
            ignored,
            detached,
            hold: Hold::default(),
            bringer: Bringer::default(),
            deciding: Mutex::default(),
            ended: Default::default(),
        })))
    }

    /// Loads every model on a thread of its own; returns at once. Named folders that are not there
    /// yet are waited for.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub fn start(&self) -> Result<(), RepositoryError> {
        let shared = Arc::clone(&self.0);
        // What changes while models are loaded is a change.
        let watcher = watch::Watcher::new(&shared);
        let spawned = loading_thread().spawn(move || {
            let late = transition::load_all(&shared);
            let waiting = Arc::clone(&shared);
            if !late.is_empty() {
                let waits = loading_thread().spawn(move || transition::load_late(&waiting, late));
                if let Err(error) = waits {
                    tracing::error!(%error, "no thread waits for folders that are to come");
                }
            }
            if let Some(watcher) = watcher {
                watcher.run(&shared);
            }
        });
        spawned.map(drop).map_err(RepositoryError::Thread)
    }

    /// Carries out what may block on a thread of its own, to its end, whether or not anybody waits for the outcome; an
    /// error of the answer means that it panicked.
    ///
    /// # Errors
    ///
    /// Too many are under way, or the system gives no thread.
    pub fn detached<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<impl Future<Output = Result<T, oneshot::error::RecvError>>, RepositoryError> {
        let permit = self.0.detached.take().ok_or(RepositoryError::Crowded(MAX_DETACHED))?;
        let (answer, outcome) = oneshot::channel();
        let repository = self.clone();
        let spawned = loading_thread().spawn(move || {
            // Whoever asked may be gone.
            drop(answer.send(work(&repository)));
            drop(permit);
        });
        spawned.map(|_| outcome).map_err(RepositoryError::Thread)
    }

    /// Loads every model before it returns, and says what came of each. Blocks.
    #[must_use]
    pub fn check(&self) -> Vec<ModelStatus> {
        // A folder that is to come shows as a problem of its model.
        on_loading_thread(|| drop(transition::load_all(&self.0)));
        self.list()
    }

    /// What looked like a model or a version at the start and is not served, a sentence each.
    #[must_use]
    pub fn ignored(&self) -> &[String] {
        &self.0.ignored
    }

    /// Loads one model of a repository that was not started. Blocks.
    ///
    /// # Errors
    ///
    /// There is no such model, or it could not be loaded.
    pub fn load_alone(&self, name: &ModelName) -> Result<(), RepositoryError> {
        on_loading_thread(|| transition::load_alone(&self.0, name))
    }

    /// The version that a request means. The handle holds it loaded.
    ///
    /// # Errors
    ///
    /// `model_not_found`, `version_not_found`, `model_not_ready`.
    pub fn resolve(&self, model: &ModelRef) -> Result<ModelHandle, InferError> {
        self.0.catalog.resolve(model, None)
    }

    /// The version that answers by default, outside of a roll-out's share.
    ///
    /// # Errors
    ///
    /// As for [`Repository::resolve`].
    pub fn stable(&self, name: &ModelName) -> Result<ModelHandle, InferError> {
        self.0.catalog.stable(name)
    }

    /// The same for a caller with a key: in a roll-out, the same key gets the same version.
    ///
    /// # Errors
    ///
    /// As for [`Repository::resolve`].
    pub fn resolve_for(
        &self,
        model: &ModelRef,
        key: Option<RoutingKey>,
    ) -> Result<ModelHandle, InferError> {
        self.0.catalog.resolve(model, key)
    }

    /// The version that a request without a name means: that of the configured default model, or
    /// of the only one.
    ///
    /// # Errors
    ///
    /// `model_required`, and as for [`Repository::resolve`].
    pub fn resolve_default(&self) -> Result<ModelHandle, InferError> {
        self.resolve(&self.default_model(VersionSelector::Default)?)
    }

    /// The model that a request without a name means.
    ///
    /// # Errors
    ///
    /// `model_required`.
    pub fn default_model(&self, version: VersionSelector) -> Result<ModelRef, InferError> {
        let live = self.0.options().live.now();
        let name = self.0.catalog.default_name(live.default_model.as_ref())?;
        Ok(ModelRef { name, version })
    }

    /// Every model, in the order of the names.
    #[must_use]
    pub fn list(&self) -> Vec<ModelStatus> {
        status::list(&self.0.catalog)
    }

    /// One model.
    #[must_use]
    pub fn describe(&self, name: &ModelName) -> Option<ModelStatus> {
        status::describe(&self.0.catalog, name)
    }

    /// Has somebody else asked, too, before the server counts as ready: whether what models come from is there. `why` says
    /// why not, and must not block.
    pub fn hold_readiness(&self, why: impl Fn() -> Option<String> + Send + Sync + 'static) {
        self.0.hold.set(Box::new(why));
    }

    /// Has somebody brought the folder up to date before an order reads it: what models come from may have new ones. May block.
    pub fn look_first(&self, look: impl Fn() + Send + Sync + 'static) {
        self.0.bringer.set(Arc::new(look));
    }

    /// Whether every required model serves, there is one at all, and nothing holds the server back.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        status::readiness(&self.0)
    }

    /// Tells operators what happened to a version.
    pub fn tell(&self, kind: EventKind, name: &ModelName, version: Version, message: &str) {
        self.0.tell(kind, name, Some(version), message);
    }

    /// Lets every version go and waits until all are unloaded, at most for `patience`; says how
    /// many were not. Nothing is loaded afterwards. Blocks.
    pub fn shutdown(&self, patience: Duration) -> usize {
        self.0.catalog.close();
        watch::end(&self.0);
        self.0.loader.loaded.wait(patience)
    }
}
