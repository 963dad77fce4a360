//! What operators order of models that are loaded: to let go, and which version is the default.
//!
//! Nothing is waited for: a version that is let go drains by itself. An order and a load of the same
//! model exclude each other.

use super::busy::Busy;
use super::entry::{ModelEntry, State, VersionEntry};
use super::error::RepositoryError;
use super::shared::Shared;
use crate::inference::{ModelName, Version};

/// Lets every version of a model go.
pub(super) fn unload(shared: &Shared, name: &ModelName) -> Result<(), RepositoryError> {
    let _busy = Busy::begin(&shared.catalog, name)?;
    shared.catalog.update(name, let_all_go);
    tracing::info!(model.name = %name, "model was unloaded");
    Ok(())
}

/// Lets one version go; the last one that is ready takes the model with it.
pub(super) fn unload_version(
    shared: &Shared,
    name: &ModelName,
    version: Version,
) -> Result<(), RepositoryError> {
    let _busy = Busy::begin(&shared.catalog, name)?;
    shared.catalog.update(name, |entry| {
        let is_default = entry.serving().is_some_and(|handle| handle.version() == version);
        let is_last = entry.versions.values().filter_map(VersionEntry::handle).count() == 1;
        let found = entry.versions.get_mut(&version);
        match found.as_ref().map(|found| &found.state) {
            Some(State::Ready(_)) if is_last => let_all_go(entry),
            Some(State::Ready(_)) if is_default => {
                return Err(RepositoryError::IsDefault(name.clone(), version));
            }
            Some(State::Ready(_)) => found.into_iter().for_each(|it| it.let_go(State::Unloaded)),
            Some(State::Unloaded(_)) => {}
            Some(State::Loading | State::Failed(_)) => {
                return Err(RepositoryError::NotReady(name.clone(), version));
            }
            Some(State::Draining(_)) | None => {
                return Err(RepositoryError::VersionNotFound(name.clone(), version));
            }
        }
        Ok(())
    })?;
    tracing::info!(model.name = %name, model.version = version.0, "version was unloaded");
    Ok(())
}

fn let_all_go(entry: &mut ModelEntry) {
    entry.versions.values_mut().for_each(|found| found.let_go(State::Unloaded));
    entry.state.unload();
    // It was about versions that were to serve.
    entry.problem = None;
}

/// Makes a version the default, or the highest one again.
pub(super) fn set_default(
    shared: &Shared,
    name: &ModelName,
    version: Option<Version>,
) -> Result<(), RepositoryError> {
    let _busy = Busy::begin(&shared.catalog, name)?;
    if let Some(version) = version {
        let models = shared.catalog.snapshot();
        match models.get(name).and_then(|entry| entry.versions.get(&version)).map(|it| &it.state) {
            Some(State::Ready(handle)) if handle.failure().is_none() => {}
            None | Some(State::Draining(_)) => {
                return Err(RepositoryError::VersionNotFound(name.clone(), version));
            }
            Some(_) => return Err(RepositoryError::NotReady(name.clone(), version)),
        }
    }
    let pin = shared.pins.write(name, version);
    shared.catalog.update(name, |entry| entry.routing.default = pin);
    match version {
        Some(version) => {
            tracing::info!(model.name = %name, model.version = version.0, "the default was set");
        }
        None => tracing::info!(model.name = %name, "the highest version is the default again"),
    }
    Ok(())
}

/// Says in the log when another version than the one that was set answers by default.
pub(super) fn report_pin(name: &ModelName, entry: &ModelEntry) {
    let serving = entry.serving().map(|handle| handle.version());
    if let (Some(pin), Some(serving)) = (entry.routing.default, serving)
        && pin.version != serving
    {
        tracing::warn!(
            model.name = %name,
            model.version = serving.0,
            "version {} was set as the default and does not serve, the highest that is ready takes its place",
            pin.version
        );
    }
}
