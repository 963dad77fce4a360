//! From one version to another on order, or by the rules of a roll-out: going back, beside, and over for good.

use super::busy::Busy;
use super::decisions;
use super::entry::ModelEntry;
use super::error::RepositoryError;
use super::failure::{FailureCode, ModelFailure};
use super::fingerprint::file_digest;
use super::orders;
use super::rollouts;
use super::served::ModelHandle;
use super::shared::Shared;
use super::transition::{
    Cause, Found, Role, bring_up, find, is_current, load_model, load_version, read, situation,
};
use crate::inference::{Label, ModelName, Version};
use crate::telemetry::events::EventKind;
use std::sync::Arc;

/// Lets go what is not to be served any more after something else was decided, and brings up what is. For a model that is
/// marked as busy.
fn settle_versions(shared: &Shared, name: &ModelName) -> Result<(), RepositoryError> {
    let loaded = load_model(shared, name, Cause::Noticed);
    loaded.map_err(|failure| RepositoryError::Failed { model: name.clone(), failure })
}

/// Loads a version that waits in the folder: model.toml chooses others, or an operator does now.
fn bring_in(
    shared: &Shared,
    name: &ModelName,
    version: Version,
    role: Role,
) -> Result<(), RepositoryError> {
    let failed = |problem: String| RepositoryError::Failed {
        model: name.clone(),
        failure: ModelFailure::new(FailureCode::Incomplete, problem),
    };
    let found = read(shared, name).map_err(failed)?;
    if !found.folder.versions.iter().any(|folder| folder.version == version) {
        return Err(RepositoryError::VersionNotFound(name.clone(), version));
    }
    let loaded = load_version(shared, &found, version, role);
    loaded.map_err(|reason| failed(format!("version {version}: {reason}")))
}

/// Has a version answer by default; one that waits in the folder is loaded for it, and what is not to be served beside it goes.
pub(super) fn pin(
    shared: &Shared,
    name: &ModelName,
    version: Version,
) -> Result<(), RepositoryError> {
    let _busy = Busy::begin(&shared.catalog, name)?;
    let is_ready = orders::is_ready(shared, name, version)?;
    if !is_ready {
        bring_in(shared, name, version, Role::Default)?;
    }
    orders::set_default(shared, name, Some(version));
    if !is_ready {
        // It answers. What else may be wrong stands in the state of the model.
        let _ = settle_versions(shared, name);
    }
    Ok(())
}

/// Has the highest version answer by default again; one that waits in the folder because of the one that was set is loaded.
pub(super) fn unpin(shared: &Shared, name: &ModelName) -> Result<(), RepositoryError> {
    let _busy = Busy::begin(&shared.catalog, name)?;
    orders::set_default(shared, name, None);
    let models = shared.catalog.snapshot();
    let Some(entry) = models.get(name).filter(|it| !it.state.is_unloaded()) else { return Ok(()) };
    let Ok(found) = read(shared, name) else { return Ok(()) };
    let mut highest = situation(entry, &found);
    highest.held.clear();
    let waits = highest.next().is_some_and(|version| !entry.versions.contains_key(&version));
    if waits {
        let _ = settle_versions(shared, name);
    }
    Ok(())
}

/// Has a label name a version, or nothing any more; one that waits in the folder is loaded for it.
pub(super) fn label(
    shared: &Shared,
    name: &ModelName,
    label: &Label,
    version: Option<Version>,
) -> Result<(), RepositoryError> {
    let _busy = Busy::begin(&shared.catalog, name)?;
    orders::check_label(shared, name, label, version)?;
    if let Some(version) = version
        && !orders::is_ready(shared, name, version)?
    {
        let models = shared.catalog.snapshot();
        let entry = models.get(name).ok_or_else(|| RepositoryError::NotFound(name.clone()))?;
        let is_set =
            entry.routing.default.is_some_and(|pin| entry.healthy_version(pin.version).is_some());
        let is_highest = entry.serving().is_none_or(|it| it.version() < version);
        if is_highest && !is_set {
            return Err(RepositoryError::WouldAnswer(name.clone(), version));
        }
        bring_in(shared, name, version, Role::Beside)?;
    }
    orders::set_label(shared, name, label, version);
    Ok(())
}

/// SHA-256 of what is to be rejected: as it is loaded, as it lies in the folder, or as it was last seen.
fn digest_of(
    shared: &Shared,
    name: &ModelName,
    version: Version,
) -> Result<String, RepositoryError> {
    let models = shared.catalog.snapshot();
    let is_loaded = models.get(name).is_some_and(|entry| entry.ready_version(version).is_some());
    let folder = find(shared, name).filter(|_| !is_loaded);
    let file = folder.and_then(|it| it.versions.into_iter().find(|it| it.version == version));
    let lies_there = file.and_then(|it| file_digest(&it.file).ok());
    lies_there.map_or_else(|| orders::known_digest(shared, name, version), Ok)
}

/// Brings a version up beside the one that serves, as the new one of a roll-out.
pub(super) fn roll_out(
    shared: &Shared,
    name: &ModelName,
    version: Version,
) -> Result<(), RepositoryError> {
    let _busy = Busy::begin(&shared.catalog, name)?;
    let failed = |problem: String| RepositoryError::Failed {
        model: name.clone(),
        failure: ModelFailure::new(FailureCode::Incomplete, problem),
    };
    let found = read(shared, name).map_err(failed)?;
    if !found.folder.versions.iter().any(|folder| folder.version == version) {
        return Err(RepositoryError::VersionNotFound(name.clone(), version));
    }
    let stable = shared.catalog.update(name, |entry| {
        let plan = found.source.manifest.rollout.plan();
        entry.plan = Arc::new(plan.or_by_hand());
        entry.serving().map(ModelHandle::version)
    });
    let Some(stable) = stable.filter(|stable| *stable != version) else {
        return Err(RepositoryError::NothingToRollOut(name.clone(), version));
    };
    if is_current(shared, &found, version) {
        rollouts::begin(shared, name, stable, version, true);
        return Ok(());
    }
    let role = Role::TakesOver { from: stable, by_hand: true };
    load_version(shared, &found, version, role).map_err(failed)
}

/// Goes back from a version: another one takes its place, then its file is not served any more.
pub(super) fn reject(
    shared: &Shared,
    name: &ModelName,
    version: Version,
    reason: &str,
) -> Result<(), RepositoryError> {
    let _busy = Busy::begin(&shared.catalog, name)?;
    let digest = digest_of(shared, name, version)?;
    let is_same = |other: Version| {
        orders::known_digest(shared, name, other).is_ok_and(|other| other == digest)
    };
    let failed = |problem: String| RepositoryError::Failed {
        model: name.clone(),
        failure: ModelFailure::new(FailureCode::Incomplete, problem),
    };
    let models = shared.catalog.snapshot();
    let entry = models.get(name).ok_or_else(|| RepositoryError::NotFound(name.clone()))?;
    let under_way = rollouts::one(shared, name).filter(|it| it.candidate.version() == version);
    let replaced = match read(shared, name) {
        // The old version serves alone, and nothing comes up in the place of the new one.
        _ if under_way.is_some() => Ok(()),
        Ok(found) => {
            let mut situation = situation(entry, &found);
            situation.pin = situation.pin.filter(|pin| *pin != version);
            situation.held.retain(|held| *held != version);
            // Neither it nor a copy of it under another number.
            let same = situation.available.iter().copied().filter(|it| is_same(*it));
            let same: Vec<_> = same.chain([version]).collect();
            situation.tried.extend(same.into_iter().map(|it| (it, false)));
            // A copy of it that is not loaded yet is found out while it is.
            let mark = |entry: &mut ModelEntry| {
                Arc::make_mut(&mut entry.intent).reject(version, &digest, reason);
            };
            shared.catalog.update(name, mark);
            let problems = bring_up(shared, &found, Cause::Noticed, &mut situation);
            if situation.any_serves() { Ok(()) } else { Err(problems.join("\n")) }
        }
        Err(problem) => Err(problem),
    };
    // What is loaded can take its place also where its folder is gone.
    let others = entry.versions.iter().filter(|(it, _)| **it != version && !is_same(**it));
    let other_serves = others.into_iter().any(|(_, it)| it.is_healthy());
    if let Err(problem) = replaced
        && !other_serves
        && entry.ready_version(version).is_some()
    {
        // The mark, which what was decided meanwhile may have written down.
        decisions::decide(shared, name, |intent| drop(intent.rejected.remove(&digest)));
        let others = if problem.is_empty() { "there is no other".into() } else { problem };
        return Err(failed(format!(
            "version {version} goes on, nothing can take its place: {others}"
        )));
    }
    let stable = under_way.map(|rollout| rollout.stable.version());
    if let Some(stable) = stable
        && entry
            .versions
            .iter()
            .any(|(it, found)| *it > stable && *it != version && found.is_healthy())
    {
        // Others that are loaded, and higher, would answer in its place, though nobody chose them.
        decisions::decide(shared, name, |intent| intent.default = Some(stable.0));
        let text = "it goes on answering by default after the roll-out of another version";
        shared.tell(EventKind::DefaultSet, name, Some(stable), text);
    }
    orders::reject(shared, name, version, &digest, reason);
    shared.catalog.update(name, |entry| orders::report_pin(name, entry));
    Ok(())
}

/// Takes the rejection of a version back, and loads it if it is to serve.
pub(super) fn accept(
    shared: &Shared,
    name: &ModelName,
    version: Version,
) -> Result<(), RepositoryError> {
    let _busy = Busy::begin(&shared.catalog, name)?;
    orders::accept(shared, name, version)?;
    settle_versions(shared, name)
}

/// Has the new version serve alone; the old one goes, unless model.toml or an operator keeps it. Of a default that an operator
/// set to the old version, the new one is the heir.
pub(super) fn promote(
    shared: &Shared,
    name: &ModelName,
    reason: &str,
) -> Result<(), RepositoryError> {
    let _busy = Busy::begin(&shared.catalog, name)?;
    let rollout = rollouts::under_way(shared, name)?;
    let (stable, candidate) = (rollout.stable.version(), rollout.candidate.version());
    drop(rollout);
    // What is not in the folder any more would go with the promotion.
    let found = read(shared, name).ok();
    let is_there = |found: &Found| found.folder.versions.iter().any(|it| it.version == candidate);
    if !found.as_ref().is_some_and(is_there) {
        return Err(RepositoryError::VersionNotFound(name.clone(), candidate));
    }
    decisions::decide(shared, name, |intent| {
        intent.rollout = None;
        let was_set = intent.default == Some(stable.0);
        // A default that was set to a third version would take over now; the new one was chosen since. Without one, the highest
        // would, which may be the old one.
        intent.default = (was_set || candidate < stable).then_some(candidate.0);
    });
    tracing::info!(model.name = %name, model.version = candidate.0, "promoted: {reason}");
    shared.tell(EventKind::RolloutPromoted, name, Some(candidate), reason);
    if decisions::current(&shared.catalog, name).default == Some(candidate.0) {
        let text =
            "it answers by default, in the place of the version that was set or that is higher";
        shared.tell(EventKind::DefaultSet, name, Some(candidate), text);
    }
    settle_versions(shared, name)
}

/// Ends a roll-out with the old version serving alone, and the new one rejected.
pub(super) fn roll_back(
    shared: &Shared,
    name: &ModelName,
    reason: &str,
) -> Result<(), RepositoryError> {
    let candidate = rollouts::under_way(shared, name)?.candidate.version();
    reject(shared, name, candidate, reason)?;
    tracing::warn!(model.name = %name, model.version = candidate.0, "rolled back: {reason}");
    shared.tell(EventKind::RolloutRolledBack, name, Some(candidate), reason);
    Ok(())
}
