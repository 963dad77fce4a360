//! The models on disk and the versions of them that serve.
//!
//! A folder becomes a model in steps: `layout` finds it, `manifest` reads what it says about
//! itself, `policy` chooses among its versions. `bring_up` has those come up, and `load` loads each: `verdicts` may know the verdict on
//! it, otherwise `trial` has it tried in a child process; `plan` decides how it is to be served, `start` starts that, and
//! `served` is what requests get. `catalog` holds the states, as a snapshot that requests resolve against.
//!
//! The one thing to know: a version is let go by taking the catalog's handle away. Whoever resolved
//! it finishes on it, and the last handle unloads it on a thread of its own.
//!
//! Loading blocks, on plain threads. No wire format, no status code, no configuration file here.

mod batch_size;
mod beside;
mod bring_up;
mod busy;
mod candidate;
mod catalog;
mod changeover;
mod decisions;
mod entry;
mod error;
mod failure;
mod fingerprint;
mod found;
mod intents;
mod hold;
pub mod layout;
mod lifecycle;
mod live;
mod load;
pub mod manifest;
mod options;
mod orders;
mod plan;
pub mod policy;
mod problem;
mod reconfigure;
mod record;
mod rollouts;
mod routing;
mod sample;
mod seal;
mod served;
mod shared;
mod single;
mod source;
mod standing;
mod start;
mod state_file;
mod status;
mod steps;
mod sums;
mod text_file;
mod threads;
mod transition;
mod trial;
mod verdict;
mod verdicts;
mod verifier;
mod warmup;
mod watch;

#[cfg(test)]
mod tests;

pub use crate::engine::probe::{Curve, FormFacts, FormFindings, RunTimes, TimedRun, TriedForm};
pub use batch_size::BatchSize;
pub use decisions::UNKEPT;
pub use error::RepositoryError;
pub use failure::ModelFailure;
pub use fingerprint::file_digest;
pub use layout::NamedFolder;
pub use lifecycle::VersionState;
pub use live::{Defaults, Live, LiveOptions};
pub use options::{FolderWatch, FreeMemory, Overrides, RepositoryOptions, TrustedModel};
pub use rollouts::Rollout;
pub use routing::Pin;
pub use sample::SampleDecoder;
pub use served::{Facts, ModelHandle, ModelLimits};
pub use single::{FileTrial, try_file};
pub use status::{
    LoadedStatus, ModelStatus, Readiness, RejectedVersion, RolloutStatus, VersionStatus,
};
pub use steps::ALL_EXTRAS;
pub use text_file::read_plain;
pub use verifier::Verifier;

use crate::engine::Loader;
use crate::inference::{
    InferError, Label, ModelName, ModelRef, RoutingKey, Version, VersionSelector,
};
use crate::scheduler::Permits;
use crate::telemetry::Metrics;
use crate::telemetry::events::{EventKind, Events};
use catalog::Catalog;
use entry::{ModelState, Requirement};
use failure::LoadFailures;
use hold::{Bringer, Hold};
use intents::Intents;
use load::VersionLoader;
use served::Loaded;
use shared::Shared;
use source::Source;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use threads::{DetachedLimit, MAX_DETACHED, loading_thread, on_loading_thread};
use tokio::sync::oneshot;
use verdicts::Verdicts;

/// What a repository stands on.
#[derive(Clone)]
pub struct RepositoryParts {
    /// How it is to be run.
    pub options: RepositoryOptions,
    /// Loads files that have not been tried: the child process.
    pub trial_loader: Arc<dyn Loader>,
    /// Loads files that have, in this process.
    pub loader: Arc<dyn Loader>,
    /// Reads sample.json.
    pub decode_sample: SampleDecoder,
    /// Shared by all models on the processor.
    pub permits: Permits,
    /// Where models are counted.
    pub metrics: Metrics,
    /// Has a look at versions before they get traffic, if anybody does.
    pub verifier: Option<Arc<dyn Verifier>>,
    /// Where operators read what happens.
    pub events: Events,
}

impl std::fmt::Debug for RepositoryParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RepositoryParts").field("options", &self.options).finish_non_exhaustive()
    }
}

/// All models. Clones share everything.
#[derive(Debug, Clone)]
pub struct Repository(Arc<Shared>);

impl Repository {
    /// Reads the models folder and those that are named: every model is there, none is loaded. The models found now are the
    /// ones that readiness asks for, less those with `required = false`.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn open(parts: RepositoryParts) -> Result<Self, RepositoryError> {
        let RepositoryParts {
            options, trial_loader, loader, decode_sample, permits, metrics, ..
        } = parts;
        let (verifier, events) = (parts.verifier, parts.events);
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
        let verdicts = Verdicts::new(options.state_dir.as_deref());
        let loader = VersionLoader {
            options,
            trial_loader,
            loader,
            decode_sample,
            permits,
            metrics,
            verdicts,
            loaded: Loaded::default(),
            loading: DetachedLimit::default(),
            trying: Mutex::new(()),
        };
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
        let live = self.0.loader.options.live.now();
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

    /// Reads a model's folder again and loads what is to be served beside what serves; requests
    /// move over when the new version is warm. A version that cannot be loaded leaves the old one
    /// in place. Also loads a model that came after the start. Blocks.
    ///
    /// # Errors
    ///
    /// There is no such model, it is being loaded already, or a version could not be loaded.
    pub fn reload(&self, name: &ModelName) -> Result<ModelStatus, RepositoryError> {
        self.0.bringer.look();
        transition::reload(&self.0, name)?;
        self.describe(name).ok_or(RepositoryError::Draining)
    }

    /// Has other options hold from now on: models that are named no more go, and what would be loaded otherwise now is loaded
    /// anew, beside what serves. Blocks until it is.
    pub fn change(&self, options: LiveOptions) {
        on_loading_thread(|| reconfigure::change(&self.0, options));
    }

    /// Lets every version of a model go. They finish what they have; later requests are answered that
    /// the model was unloaded, until [`Repository::reload`] brings it back. Waits for nothing.
    ///
    /// # Errors
    ///
    /// There is no such model, or it is being loaded or changed.
    pub fn unload(&self, name: &ModelName) -> Result<(), RepositoryError> {
        orders::unload(&self.0, name)
    }

    /// Lets one version go; the last one that is ready takes the model with it.
    ///
    /// # Errors
    ///
    /// There is no such model or version, it is not ready, it is the default while others serve, or
    /// the model is being loaded or changed.
    pub fn unload_version(
        &self,
        name: &ModelName,
        version: Version,
    ) -> Result<(), RepositoryError> {
        orders::unload_version(&self.0, name, version)
    }

    /// Has requests without a version answered by this one for as long as it is ready, after a
    /// restart too; the others go on answering by their numbers. One that waits in the folder is loaded for it. Writes a
    /// file. Blocks.
    ///
    /// # Errors
    ///
    /// There is no such model or version, it is not ready or cannot be loaded, or the model is being loaded or changed.
    pub fn set_default(&self, name: &ModelName, version: Version) -> Result<(), RepositoryError> {
        self.0.bringer.look();
        changeover::pin(&self.0, name, version)
    }

    /// Has them answered by the highest version again, which is loaded if it waited because of the one that was set. Writes
    /// a file. Blocks.
    ///
    /// # Errors
    ///
    /// There is no such model, or it is being loaded or changed.
    pub fn clear_default(&self, name: &ModelName) -> Result<(), RepositoryError> {
        changeover::unpin(&self.0, name)
    }

    /// Has a label name a version, after a restart too. One that waits in the folder is loaded for it. Writes a file. Blocks.
    ///
    /// # Errors
    ///
    /// There is no such model or version, it is not ready or would answer by default, the label is one that follows by itself or there are too many, or
    /// the model is being loaded or changed.
    pub fn set_label(
        &self,
        name: &ModelName,
        label: &Label,
        version: Version,
    ) -> Result<(), RepositoryError> {
        changeover::label(&self.0, name, label, Some(version))
    }

    /// Has a label name nothing any more. Writes a file.
    ///
    /// # Errors
    ///
    /// There is no such model or label, or the model is being loaded or changed.
    pub fn remove_label(&self, name: &ModelName, label: &Label) -> Result<(), RepositoryError> {
        changeover::label(&self.0, name, label, None)
    }

    /// Goes back from a version: its file is not served again, after a restart too, and what the folder holds beside it is
    /// loaded and takes its place. Blocks.
    ///
    /// # Errors
    ///
    /// There is no such model or version, nothing else of it can serve, or the model is being loaded or changed.
    pub fn reject(
        &self,
        name: &ModelName,
        version: Version,
        reason: &str,
    ) -> Result<(), RepositoryError> {
        changeover::reject(&self.0, name, version, reason)
    }

    /// Takes the rejection of a version back, and has it loaded if it is to serve. Blocks.
    ///
    /// # Errors
    ///
    /// There is no such model, the version was not rejected or cannot be loaded, or the model is being loaded or changed.
    pub fn accept(&self, name: &ModelName, version: Version) -> Result<(), RepositoryError> {
        changeover::accept(&self.0, name, version)
    }

    /// The roll-outs under way, as far as both versions are ready.
    #[must_use]
    pub fn rollouts(&self) -> Vec<Rollout> {
        rollouts::all(&self.0)
    }

    /// Ends roll-outs whose versions do not both serve any more: one was given up. Blocks.
    pub fn end_broken_rollouts(&self) {
        for name in rollouts::broken(&self.0) {
            // Where somebody else changes the model, the next look is soon enough.
            drop(rollouts::end_broken(&self.0, &name));
        }
    }

    /// Has others take the place of versions that were given up while they served, each model on a thread of its own.
    pub fn replace_given_up(&self) {
        for name in transition::given_up(&self.0) {
            // Where too much is under way, the next look is soon enough.
            drop(self.detached(move |it| transition::replace_given_up(&it.0, &name)));
        }
    }

    /// The roll-out of one model.
    #[must_use]
    pub fn rollout(&self, name: &ModelName) -> Option<Rollout> {
        rollouts::one(&self.0, name)
    }

    /// Loads a version of the folder beside the one that serves, and begins its roll-out. Blocks.
    ///
    /// # Errors
    ///
    /// There is no such model or version, it serves already or nothing does, it cannot be loaded, or the model is being
    /// loaded or changed.
    pub fn roll_out(&self, name: &ModelName, version: Version) -> Result<(), RepositoryError> {
        self.0.bringer.look();
        changeover::roll_out(&self.0, name, version)
    }

    /// Goes on to a step of the plan with the roll-out of this version.
    ///
    /// # Errors
    ///
    /// No roll-out of it is under way, or the model is being loaded or changed.
    pub fn advance_rollout(
        &self,
        name: &ModelName,
        candidate: Version,
        step: usize,
    ) -> Result<(), RepositoryError> {
        rollouts::advance(&self.0, name, candidate, step)
    }

    /// Gives the new version of a roll-out this share of the requests, from 0 to 1. Steps then wait for operators.
    ///
    /// # Errors
    ///
    /// No roll-out is under way, or the model is being loaded or changed.
    pub fn set_rollout_weight(&self, name: &ModelName, weight: f64) -> Result<(), RepositoryError> {
        rollouts::set_weight(&self.0, name, weight)
    }

    /// Has the new version of a roll-out serve alone: this one, where it is named. Blocks.
    ///
    /// # Errors
    ///
    /// No roll-out of it is under way, or the model is being loaded or changed.
    pub fn promote(
        &self,
        name: &ModelName,
        candidate: Option<Version>,
        reason: &str,
    ) -> Result<(), RepositoryError> {
        changeover::promote(&self.0, name, candidate, reason)
    }

    /// Ends a roll-out, that of this version where it is named: the old version serves alone, the new one is rejected. Possible
    /// while something of the model is loaded, too. Blocks.
    ///
    /// # Errors
    ///
    /// No roll-out of it is under way, or the model is being changed.
    pub fn roll_back(
        &self,
        name: &ModelName,
        candidate: Option<Version>,
        reason: &str,
    ) -> Result<(), RepositoryError> {
        changeover::roll_back(&self.0, name, candidate, reason)
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
