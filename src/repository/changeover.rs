//! From one version to another on order, or by the rules of a roll-out: going back, beside, and over for good.

use super::bring_up::{Cause, Role, bring_up, is_current, load_version};
use super::busy::Busy;
use super::decisions::{self, remember_served};
use super::entry::{ModelEntry, State, VersionEntry};
use super::error::RepositoryError;
use super::failure::{FailureCode, ModelFailure};
use super::fingerprint::file_digest;
use super::found::{Found, find, read};
use super::intents::Intent;
use super::manifest::Strategy;
use super::orders::{self, Rejecting};
use super::problem::Problem;
use super::rollouts;
use super::served::ModelHandle;
use super::shared::Shared;
use super::transition::{let_go_unwanted, load_model, situation};
use crate::inference::{ModelName, Version, VersionLabel};
use crate::telemetry::events::EventKind;
use std::sync::Arc;

/// Lets go what is not to be served any more after something else was decided, and brings up what is. For a model that is
/// marked as busy.
fn settle_versions(shared: &Shared, name: &ModelName) -> Result<(), RepositoryError> {
    let loaded = load_model(shared, name, Cause::Noticed);
    loaded.map_err(|failure| RepositoryError::Failed { model: name.clone(), failure })
}

fn failed(name: &ModelName, problem: String) -> RepositoryError {
    let failure = ModelFailure::new(FailureCode::Incomplete, problem);
    RepositoryError::Failed { model: name.clone(), failure }
}

/// Loads a version that waits in the folder: model.toml chooses others, or an operator does now.
fn bring_in(
    shared: &Shared,
    name: &ModelName,
    version: Version,
    role: Role,
) -> Result<(), RepositoryError> {
    let found = read(shared, name).map_err(|problem| failed(name, problem))?;
    if !found.folder.versions.iter().any(|folder| folder.version == version) {
        return Err(RepositoryError::VersionNotFound(name.clone(), version));
    }
    refuse_rejected(shared, name, version)?;
    let loaded = load_version(shared, &found, version, role);
    loaded.map_err(|reason| failed(name, format!("version {version}: {reason}")))
}

/// An order for a version whose file was rejected names what is to be done first.
fn refuse_rejected(
    shared: &Shared,
    name: &ModelName,
    version: Version,
) -> Result<(), RepositoryError> {
    let intent = decisions::current(&shared.catalog, name);
    let digest = digest_of(shared, name, version)?;
    intent.rejected.get(&digest).map_or(Ok(()), |rejection| {
        Err(RepositoryError::IsRejected(name.clone(), version, rejection.reason.clone()))
    })
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
    if is_ready {
        remember_served(shared, name);
    } else {
        // It answers. What else may be wrong stands in the state of the model.
        let _ = settle_versions(shared, name);
    }
    Ok(())
}

/// Has the highest version answer by default again; one that waits in the folder because of the one that was set is loaded,
/// and takes over as model.toml says.
pub(super) fn unpin(shared: &Shared, name: &ModelName) -> Result<(), RepositoryError> {
    let _busy = Busy::begin(&shared.catalog, name)?;
    let models = shared.catalog.snapshot();
    let entry = models.get(name).ok_or_else(|| RepositoryError::NotFound(name.clone()))?;
    let found = read(shared, name).ok().filter(|_| !entry.state.is_unloaded());
    let (Some(found), Some(serving)) = (found, entry.serving().map(ModelHandle::version)) else {
        orders::set_default(shared, name, None);
        return Ok(());
    };
    let highest = entry.versions.iter().rev().find(|(_, it)| it.is_healthy());
    let is_gradual = found.source.manifest.rollout.strategy != Strategy::Replace;
    if let Some((highest, _)) = highest
        && is_gradual
        && *highest > serving
        && entry.intent.rollout.is_none()
    {
        // Ready already, and still to show what it does.
        rollouts::begin(shared, name, serving, *highest, false);
    }
    orders::set_default(shared, name, None);
    // What is wrong stands in the state of the model; the order is done.
    if waits(entry, &found) {
        let _ = settle_versions(shared, name);
    } else {
        let_go_unwanted(shared, name);
        remember_served(shared, name);
    }
    Ok(())
}

/// Whether the version that would be the highest lies in the folder and nothing has become of it.
fn waits(entry: &ModelEntry, found: &Found) -> bool {
    let mut unpinned = situation(entry, found);
    unpinned.pin = None;
    unpinned.held.clear();
    let is_over = |it: &VersionEntry| matches!(it.state, State::Draining(_));
    unpinned.next().is_some_and(|version| entry.versions.get(&version).is_none_or(is_over))
}

/// Has a label name a version, or nothing any more; one that waits in the folder is loaded for it.
pub(super) fn label(
    shared: &Shared,
    name: &ModelName,
    label: &VersionLabel,
    version: Option<Version>,
) -> Result<(), RepositoryError> {
    let _busy = Busy::begin(&shared.catalog, name)?;
    orders::check_label(shared, name, label, version)?;
    if let Some(version) = version
        && !orders::is_ready(shared, name, version)?
    {
        // That it is not there goes before what would become of it.
        refuse_rejected(shared, name, version)?;
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
    // What it named before may be held by nothing else.
    let_go_unwanted(shared, name);
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
    let found = read(shared, name).map_err(|problem| failed(name, problem))?;
    if !found.folder.versions.iter().any(|folder| folder.version == version) {
        return Err(RepositoryError::VersionNotFound(name.clone(), version));
    }
    if shared.catalog.snapshot().get(name).is_some_and(|entry| entry.state.is_unloaded()) {
        return Err(RepositoryError::IsUnloaded(name.clone()));
    }
    let stable = shared.catalog.update(name, |entry| {
        let plan = found.source.manifest.rollout.plan();
        entry.plan = Arc::new(plan.or_by_hand());
        entry.serving().map(ModelHandle::version)
    });
    let Some(stable) = stable.filter(|stable| *stable != version) else {
        return Err(RepositoryError::NothingToRollOut(name.clone(), version));
    };
    refuse_rejected(shared, name, version)?;
    if digest_of(shared, name, version)? == orders::known_digest(shared, name, stable)? {
        return Err(RepositoryError::SameFile(name.clone(), version, stable));
    }
    let before = decisions::current(&shared.catalog, name).rollout.map(|it| it.candidate);
    if is_current(shared, &found, version) {
        rollouts::begin(shared, name, stable, version, true);
    } else {
        let role = Role::TakesOver { from: stable, by_hand: true };
        load_version(shared, &found, version, role).map_err(|problem| failed(name, problem))?;
    }
    if let Some(before) = before.filter(|before| *before != version.0) {
        let_go_unwanted(shared, name);
        rollouts::supersede(shared, name, Some(Version(before)));
    }
    Ok(())
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
    let models = shared.catalog.snapshot();
    let entry = models.get(name).ok_or_else(|| RepositoryError::NotFound(name.clone()))?;
    let under_way = rollouts::one(shared, name).filter(|it| it.candidate.version() == version);
    let replaced = match read(shared, name) {
        // Nothing of it is to serve, until an operator loads it.
        _ if entry.state.is_unloaded() => Ok(()),
        // The old version serves alone, and nothing comes up in the place of the new one.
        _ if under_way.as_ref().is_some_and(|it| !is_same(it.stable.version())) => Ok(()),
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
            let problems: Vec<_> = problems.iter().map(Problem::to_string).collect();
            if situation.any_serves() { Ok(()) } else { Err(problems.join("\n")) }
        }
        Err(problem) => Err(problem),
    };
    // What is loaded can take its place also where its folder is gone.
    let others = entry.versions.iter().filter(|(it, _)| **it != version && !is_same(**it));
    let other_serves = others.into_iter().any(|(_, it)| it.is_healthy());
    let goes = |(it, found): (&Version, &VersionEntry)| {
        found.is_healthy() && (*it == version || is_same(*it))
    };
    if let Err(problem) = replaced
        && !other_serves
        && entry.versions.iter().any(goes)
    {
        // The mark, which what was decided meanwhile may have written down.
        decisions::decide(shared, name, |intent| drop(intent.rejected.remove(&digest)));
        let others = match problem.is_empty() {
            true => "no other version with another file may serve".into(),
            false => problem,
        };
        return Err(failed(
            name,
            format!("version {version} goes on, nothing can take its place: {others}"),
        ));
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
    orders::reject(shared, name, Rejecting { version, digest: &digest, reason });
    shared.catalog.update(name, |entry| orders::report_pin(name, entry));
    remember_served(shared, name);
    Ok(())
}

/// Takes the rejection of a version back, and loads it if it is to serve.
pub(super) fn accept(
    shared: &Shared,
    name: &ModelName,
    version: Version,
) -> Result<(), RepositoryError> {
    let _busy = Busy::begin(&shared.catalog, name)?;
    let digest = digest_of(shared, name, version).ok();
    orders::accept(shared, name, version, digest.as_deref())?;
    let models = shared.catalog.snapshot();
    if models.get(name).is_some_and(|entry| entry.state.is_unloaded()) {
        return Ok(());
    }
    let settled = settle_versions(shared, name);
    let models = shared.catalog.snapshot();
    let found = models.get(name).and_then(|entry| entry.versions.get(&version));
    // What is wrong with others stands in the state of the model.
    match found.is_some_and(|it| it.failure().is_some()) {
        true => settled,
        false => Ok(()),
    }
}

/// Has the new version serve alone; the old one goes, unless model.toml or an operator keeps it. Of a default that an operator
/// set to the old version, the new one is the heir.
pub(super) fn promote(
    shared: &Shared,
    name: &ModelName,
    judged: Option<Version>,
    reason: &str,
) -> Result<(), RepositoryError> {
    let _busy = Busy::begin(&shared.catalog, name)?;
    let rollout = rollouts::of_version(shared, name, judged)?;
    let (stable, candidate) = (rollout.stable.version(), rollout.candidate.version());
    drop(rollout);
    // What is not in the folder any more would go with the promotion.
    let found = read(shared, name).ok();
    let is_there = |found: &&Found| found.folder.versions.iter().any(|it| it.version == candidate);
    let Some(found) = found.as_ref().filter(is_there) else {
        return Err(RepositoryError::VersionNotFound(name.clone(), candidate));
    };
    let models = shared.catalog.snapshot();
    let entry = models.get(name).ok_or_else(|| RepositoryError::NotFound(name.clone()))?;
    let is_first = is_first(entry, found, candidate);
    let is_it = |intent: &Intent| intent.rolls_out(candidate);
    let promote = |intent: &mut Intent| {
        intent.rollout = None;
        // What was promoted answers: also where an operator had set the old version or a third one, model.toml chooses others, or
        // a higher one is there. Where it is the highest by itself, a later one may take its place.
        let was_set = intent.default == Some(stable.0);
        intent.default = (was_set || !is_first).then_some(candidate.0);
    };
    if decisions::decide_if(shared, name, is_it, promote, |_| ()).is_none() {
        return Err(RepositoryError::NoRollout(name.clone()));
    }
    tracing::info!(model.name = %name, model.version = candidate.0, "promoted: {reason}");
    shared.tell(EventKind::RolloutPromoted, name, Some(candidate), reason);
    if decisions::current(&shared.catalog, name).default == Some(candidate.0) {
        let text =
            "it answers by default, in the place of the version that was set or that is higher";
        shared.tell(EventKind::DefaultSet, name, Some(candidate), text);
    }
    // It is promoted. What else may be wrong stands in the state of the model.
    let _ = settle_versions(shared, name);
    Ok(())
}

/// Whether a version would answer by default without a pin and a roll-out, as far as is known of those that are not loaded.
fn is_first(entry: &ModelEntry, found: &Found, version: Version) -> bool {
    let mut alone = situation(entry, found);
    alone.pin = None;
    alone.held.clear();
    let failed = entry.versions.iter().filter(|(_, it)| matches!(it.state, State::Failed(_)));
    alone.tried.extend(failed.map(|(version, _)| (*version, false)));
    let highest = entry.versions.iter().rev().find(|(_, it)| it.is_healthy());
    alone.next() == Some(version) && highest.is_none_or(|(highest, _)| *highest <= version)
}

/// Ends a roll-out with the old version serving alone, and the new one rejected.
pub(super) fn roll_back(
    shared: &Shared,
    name: &ModelName,
    judged: Option<Version>,
    reason: &str,
) -> Result<(), RepositoryError> {
    let rollout = rollouts::of_version(shared, name, judged)?;
    let candidate = rollout.candidate.version();
    match reject(shared, name, candidate, reason) {
        // Going back must not wait until another version is loaded.
        Err(RepositoryError::Busy(_)) => reject_at_once(shared, &rollout, reason)?,
        rejected => rejected?,
    }
    drop(rollout);
    tracing::warn!(model.name = %name, model.version = candidate.0, "rolled back: {reason}");
    shared.tell(EventKind::RolloutRolledBack, name, Some(candidate), reason);
    Ok(())
}

/// Rejects the new version of a roll-out while something of the model is loaded: the old one serves alone, so that nothing has to
/// come up for it.
fn reject_at_once(
    shared: &Shared,
    rollout: &rollouts::Rollout,
    reason: &str,
) -> Result<(), RepositoryError> {
    let (name, candidate) = (rollout.model(), rollout.candidate.version());
    let [of_stable, digest] =
        [&rollout.stable, &rollout.candidate].map(|it| it.facts().digest.clone());
    let rejecting = Rejecting { version: candidate, digest: &digest, reason };
    let done = of_stable != digest
        && orders::reject_if(shared, name, rejecting, |intent| intent.rolls_out(candidate));
    if done { Ok(()) } else { Err(RepositoryError::Busy(name.clone())) }
}
