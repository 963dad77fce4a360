//! What operators order of models that are loaded: to let go, and which version is the default.
//!
//! Nothing is waited for: a version that is let go drains by itself. An order and a load of the same
//! model exclude each other.

use super::busy::Busy;
use super::decisions;
use super::entry::{ModelEntry, State, VersionEntry};
use super::error::RepositoryError;
use super::failure::FailureCode;
use super::found::find;
use super::intents::{Intent, MAX_LABELS, Rejection};
use super::problem::Problems;
use super::routing;
use super::shared::Shared;
use crate::inference::{ModelName, Version, VersionLabel};
use crate::telemetry::events::EventKind;
use std::collections::BTreeSet;

/// Lets every version of a model go.
pub(super) fn unload(shared: &Shared, name: &ModelName) -> Result<(), RepositoryError> {
    let busy = Busy::begin(&shared.catalog, name)?;
    shared.catalog.update(name, let_all_go);
    tracing::info!(model.name = %name, "model was unloaded");
    shared.tell(EventKind::ModelUnloaded, name, None, "an operator let it go");
    // Nothing could bring it back.
    if find(shared, name).is_none() {
        busy.forget();
    }
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
            Some(State::Ready(_)) => {
                found.map(|it| it.let_go(State::Unloaded));
                // No change of a file brings it back.
                entry.unloaded.insert(version);
            }
            Some(State::Unloaded(_)) => {}
            Some(State::Loading | State::Warming | State::Verifying | State::Failed(_)) => {
                return Err(RepositoryError::NotReady(name.clone(), version));
            }
            Some(State::Draining(_)) | None => {
                return Err(RepositoryError::VersionNotFound(name.clone(), version));
            }
        }
        Ok(())
    })?;
    tracing::info!(model.name = %name, model.version = version.0, "version was unloaded");
    shared.tell(EventKind::VersionDraining, name, Some(version), "an operator let it go");
    Ok(())
}

pub(super) fn let_all_go(entry: &mut ModelEntry) {
    for found in entry.versions.values_mut() {
        found.let_go(State::Unloaded);
    }
    entry.state.unload();
    // It was about versions that were to serve.
    entry.problems = Problems::default();
}

/// Makes a version that is ready the default, or the highest one again, for a model that is marked as busy.
pub(super) fn set_default(shared: &Shared, name: &ModelName, version: Option<Version>) {
    let Intent { rollout, default: before, .. } = decisions::current(&shared.catalog, name);
    let rollout = rollout.filter(|_| version.is_some());
    decisions::decide(shared, name, |intent| {
        intent.default = version.map(|version| version.0);
        // Who says which version answers has chosen.
        intent.rollout = intent.rollout.take().filter(|_| version.is_none());
    });
    if let (Some(rollout), Some(version)) = (rollout, version) {
        let is_candidate = version.0 == rollout.candidate;
        let kind =
            if is_candidate { EventKind::RolloutPromoted } else { EventKind::RolloutRolledBack };
        let text = format!("an operator had version {version} answer by default");
        tracing::info!(model.name = %name, model.version = rollout.candidate, "roll-out ends: {text}");
        shared.tell(kind, name, Some(Version(rollout.candidate)), text);
    }
    match version {
        Some(version) => {
            tracing::info!(model.name = %name, model.version = version.0, "the default was set");
            shared.tell(EventKind::DefaultSet, name, Some(version), "it answers by default");
        }
        None if before.is_none() => {}
        None => {
            tracing::info!(model.name = %name, "the highest version is the default again");
            let text = "the highest version that is ready answers by default again";
            shared.tell(EventKind::DefaultCleared, name, None, text);
        }
    }
}

/// Whether a label may name a version, or may be removed.
pub(super) fn check_label(
    shared: &Shared,
    name: &ModelName,
    label: &VersionLabel,
    version: Option<Version>,
) -> Result<(), RepositoryError> {
    if !routing::is_free(label) {
        return Err(RepositoryError::LabelReserved(label.clone()));
    }
    if version.is_some() && label.as_str().bytes().all(|letter| letter.is_ascii_digit()) {
        return Err(RepositoryError::LabelIsNumber(label.clone()));
    }
    let labels = decisions::current(&shared.catalog, name).labels;
    let is_there = labels.contains_key(label.as_str());
    if version.is_some() && !is_there && labels.len() >= MAX_LABELS {
        return Err(RepositoryError::TooManyLabels(name.clone(), MAX_LABELS));
    }
    if version.is_none() && !is_there {
        return Err(RepositoryError::LabelNotFound(name.clone(), label.clone()));
    }
    Ok(())
}

/// Has a label name a version that is ready, or nothing any more, for a model that is marked as busy.
pub(super) fn set_label(
    shared: &Shared,
    name: &ModelName,
    label: &VersionLabel,
    version: Option<Version>,
) {
    decisions::decide(shared, name, |intent| match version {
        Some(version) => drop(intent.labels.insert(label.to_string(), version.0)),
        None => drop(intent.labels.remove(label.as_str())),
    });
    match version {
        Some(version) => {
            tracing::info!(model.name = %name, model.version = version.0, %label, "the label was set");
            let text = format!("the label {label:?} names it");
            shared.tell(EventKind::LabelSet, name, Some(version), text);
        }
        None => {
            tracing::info!(model.name = %name, %label, "the label was removed");
            let text = format!("the label {label:?} names nothing any more");
            shared.tell(EventKind::LabelRemoved, name, None, text);
        }
    }
}

/// Whether a version serves.
///
/// # Errors
///
/// It is not one that waits in the folder either.
pub(super) fn is_ready(
    shared: &Shared,
    name: &ModelName,
    version: Version,
) -> Result<bool, RepositoryError> {
    let models = shared.catalog.snapshot();
    let entry = models.get(name).ok_or_else(|| RepositoryError::NotFound(name.clone()))?;
    // What an operator let go is loaded on order alone.
    if entry.state.is_unloaded() {
        return Err(RepositoryError::IsUnloaded(name.clone()));
    }
    match entry.versions.get(&version).map(|it| &it.state) {
        Some(State::Ready(handle)) if !handle.has_failed() => Ok(true),
        // What failed does not get better by being named.
        Some(State::Draining(_) | State::Unloaded(_)) | None => Ok(false),
        Some(State::Failed(failure)) if failure.code() == FailureCode::Rejected => {
            let reason = failure.details().to_owned();
            Err(RepositoryError::IsRejected(name.clone(), version, reason))
        }
        Some(_) => Err(RepositoryError::NotReady(name.clone(), version)),
    }
}

/// The file of a version that is not to be served any more.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rejecting<'a> {
    pub(super) version: Version,
    pub(super) digest: &'a str,
    pub(super) reason: &'a str,
}

/// Has it not served again, and lets it go. What serves in its place has to be loaded by who asks.
pub(super) fn reject(shared: &Shared, name: &ModelName, rejecting: Rejecting<'_>) {
    reject_if(shared, name, rejecting, |_| true);
}

/// The same, if what is decided by now is as it should be; whether it was.
pub(super) fn reject_if(
    shared: &Shared,
    name: &ModelName,
    rejecting: Rejecting<'_>,
    is_so: impl FnOnce(&Intent) -> bool,
) -> bool {
    let Rejecting { version, digest, reason } = rejecting;
    let models = shared.catalog.snapshot();
    // Copies of the file go with it, under whatever number.
    let is_copy =
        |found: &VersionEntry| found.handle().is_some_and(|it| it.facts().digest == digest);
    let copies = models.get(name).into_iter().flat_map(|entry| &entry.versions);
    let copies = copies.filter(|(_, found)| is_copy(found)).map(|(version, _)| version.0);
    let goes: BTreeSet<_> = copies.chain([version.0]).collect();
    let decided = decisions::current(&shared.catalog, name);
    let was_default = decided.default.is_some_and(|it| goes.contains(&it));
    let reject = |intent: &mut Intent| {
        intent.reject(version, digest, reason);
        // What is rejected is no default, has no label and no roll-out.
        intent.default = intent.default.filter(|it| !goes.contains(it));
        intent.labels.retain(|_, it| !goes.contains(it));
        intent.rollout = intent.rollout.take().filter(|it| it.candidate != version.0);
    };
    let labels = decided.labels.into_iter();
    let lost = labels.filter(|(_, it)| goes.contains(it)).map(|(label, _)| label);
    let lost: Vec<_> = lost.collect();
    // In one moment: without its share, and still ready, it would be the highest version and get every request.
    let rejected = decisions::decide_if(shared, name, is_so, reject, |entry| {
        for (other, found) in &mut entry.versions {
            if *other == version || is_copy(found) {
                found.let_go(State::Draining);
            }
        }
    });
    if rejected.is_none() {
        return false;
    }
    if was_default {
        let text = "it was set and is rejected: the highest version that is ready answers by default again";
        shared.tell(EventKind::DefaultCleared, name, None, text);
    }
    for label in lost {
        let text = format!("the label {label:?} named version {version}, which is rejected");
        shared.tell(EventKind::LabelRemoved, name, None, text);
    }
    tracing::warn!(model.name = %name, model.version = version.0, reason, "the version was rejected");
    shared.tell(EventKind::VersionRejected, name, Some(version), reason);
    true
}

/// Takes the rejection of a version back, or that of another one whose file it has.
pub(super) fn accept(
    shared: &Shared,
    name: &ModelName,
    version: Version,
    digest: Option<&str>,
) -> Result<(), RepositoryError> {
    let intent = decisions::current(&shared.catalog, name);
    let is_it = |rejected: &str, it: &Rejection| {
        it.version == version.0 || digest.is_some_and(|digest| digest == rejected)
    };
    if !intent.rejected.iter().any(|(digest, it)| is_it(digest, it)) {
        return Err(RepositoryError::NotRejected(name.clone(), version));
    }
    decisions::decide(shared, name, |intent| {
        intent.rejected.retain(|digest, it| !is_it(digest, it));
    });
    let text = "it may be served again";
    tracing::info!(model.name = %name, model.version = version.0, "{text}");
    shared.tell(EventKind::RejectionRemoved, name, Some(version), text);
    Ok(())
}

/// The digest of a version's file: as it is loaded, or as it was last seen.
pub(super) fn known_digest(
    shared: &Shared,
    name: &ModelName,
    version: Version,
) -> Result<String, RepositoryError> {
    let models = shared.catalog.snapshot();
    let entry = models.get(name).ok_or_else(|| RepositoryError::NotFound(name.clone()))?;
    let loaded = entry.ready_version(version).map(|handle| handle.facts().digest.clone());
    let seen = || entry.intent.first_seen.get(&version.0).cloned();
    loaded.or_else(seen).ok_or_else(|| RepositoryError::VersionNotFound(name.clone(), version))
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
