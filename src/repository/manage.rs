//! What operators, roll-outs and a changed configuration order.

use super::error::RepositoryError;
use super::live::LiveOptions;
use super::models::Repository;
use super::rollouts::{self, Rollout};
use super::status::ModelStatus;
use super::threads::on_loading_thread;
use super::{changeover, orders, reconfigure, transition};
use crate::inference::{ModelName, Version, VersionLabel};

impl Repository {
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
        label: &VersionLabel,
        version: Version,
    ) -> Result<(), RepositoryError> {
        changeover::label(&self.0, name, label, Some(version))
    }

    /// Has a label name nothing any more. Writes a file.
    ///
    /// # Errors
    ///
    /// There is no such model or label, or the model is being loaded or changed.
    pub fn remove_label(
        &self,
        name: &ModelName,
        label: &VersionLabel,
    ) -> Result<(), RepositoryError> {
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
}
