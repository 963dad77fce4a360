//! Changes of state: the first load of all models, and the reload of one.
//!
//! One transition of a model at a time. The new version comes up beside the old one; only when it
//! is warm does the catalog's handle change, in one step, and what is no longer chosen drains.

use super::bring_up::{Cause, bring_up, is_current};
use super::busy::Busy;
use super::decisions::{self, remember_served};
use super::entry::{ModelEntry, State, VersionEntry};
use super::error::RepositoryError;
use super::failure::{FailureCode, ModelFailure};
use super::found::{Found, find, read};
use super::layout::NamedFolder;
use super::manifest::Strategy;
use super::orders;
use super::policy::Situation;
use super::problem::{Problem, Problems};
use super::rollouts;
use super::served::ModelHandle;
use super::shared::Shared;
use super::status;
use crate::inference::{ModelName, Version};
use crate::telemetry::events::EventKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// What is reported of a model whose named folder holds nothing yet.
const TO_COME: &str = "the model's folder is not there or empty, and is waited for";
/// How often folders that are to come are looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Loads every model that the catalog has, those first that readiness waits for. Gives back those
/// whose folders are to come; they stay marked as being loaded.
#[must_use]
pub(super) fn load_all(shared: &Shared) -> Vec<ModelName> {
    let models = shared.catalog.snapshot();
    let mut names: Vec<_> =
        models.iter().map(|(name, entry)| (!entry.is_required(), name)).collect();
    names.sort();
    let mut late = Vec::new();
    for (_, name) in names {
        if shared.catalog.is_closed() {
            return Vec::new();
        }
        match folder_to_come(shared, name) {
            Some(named) => {
                tracing::warn!(model.name = %name, folder = %named.path.display(), "{TO_COME}");
                shared.catalog.update(name, |entry| {
                    entry.problems = Problems::of_model(TO_COME);
                });
                late.push(name.clone());
            }
            None => load_first(shared, name),
        }
    }
    report_readiness(shared);
    late
}

/// The folder of a model, when it was named and is to come.
fn folder_to_come(shared: &Shared, name: &ModelName) -> Option<NamedFolder> {
    let live = shared.options().live.now();
    let named = live.named.iter().find(|named| named.name == *name && named.is_to_come());
    named.cloned()
}

/// Loads models as soon as their folders are there. Blocks until all are, or the server ends.
pub(super) fn load_late(shared: &Shared, mut late: Vec<ModelName>) {
    while !late.is_empty() && !shared.catalog.is_closed() {
        let n_late = late.len();
        late.retain(|name| {
            let is_to_come = folder_to_come(shared, name).is_some();
            if !is_to_come {
                load_first(shared, name);
            }
            is_to_come
        });
        if late.len() < n_late {
            report_readiness(shared);
        }
        if !late.is_empty() {
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// Loads a model that was marked when the catalog was made.
fn load_first(shared: &Shared, name: &ModelName) {
    let busy = Busy::first_load(&shared.catalog, name);
    // Whoever asks for the outcome reads it from the catalog.
    let _ = load_model(shared, name, Cause::Ordered);
    drop(busy);
}

fn report_readiness(shared: &Shared) {
    // On the way down there are no models left to report.
    if shared.catalog.is_closed() {
        return;
    }
    let readiness = status::readiness(shared);
    if readiness.ready {
        tracing::info!("every required model is ready");
    } else if let Some(reason) = readiness.reason {
        let models = &shared.options().models;
        // A relative path is of no use to whoever does not know where the server was started.
        let folder = std::path::absolute(models).unwrap_or_else(|_| models.clone());
        tracing::error!(folder = %folder.display(), "the server is not ready: {reason}");
    } else {
        let waiting_for = readiness.waiting_for;
        tracing::error!(?waiting_for, "required models are not loaded, so the server is not ready");
    }
}

/// Loads one model of a catalog that nobody else loads.
pub(super) fn load_alone(shared: &Shared, name: &ModelName) -> Result<(), RepositoryError> {
    let catalog = &shared.catalog;
    if !catalog.snapshot().contains_key(name) {
        return Err(RepositoryError::NotFound(name.clone()));
    }
    let busy = Busy::first_load(catalog, name);
    let outcome = load_model(shared, name, Cause::Ordered);
    drop(busy);
    outcome.map_err(|failure| RepositoryError::Failed { model: name.clone(), failure })
}

/// Loads one model anew.
pub(super) fn reload(shared: &Shared, name: &ModelName) -> Result<(), RepositoryError> {
    load_again(shared, name, Cause::Ordered)
}

/// Loads what of one model has changed.
pub(super) fn refresh(shared: &Shared, name: &ModelName) -> Result<(), RepositoryError> {
    load_again(shared, name, Cause::Noticed)
}

fn load_again(shared: &Shared, name: &ModelName, cause: Cause) -> Result<(), RepositoryError> {
    let catalog = &shared.catalog;
    if catalog.is_closed() {
        return Err(RepositoryError::Draining);
    }
    let is_known = catalog.snapshot().contains_key(name);
    if !is_known && find(shared, name).is_none() {
        return Err(RepositoryError::NotFound(name.clone()));
    }
    let busy = Busy::begin_or_add(catalog, name)?;
    let outcome = load_model(shared, name, cause);
    drop(busy);
    outcome.map_err(|failure| RepositoryError::Failed { model: name.clone(), failure })
}

pub(super) fn load_model(
    shared: &Shared,
    name: &ModelName,
    cause: Cause,
) -> Result<(), ModelFailure> {
    let loaded = catch_unwind(AssertUnwindSafe(|| try_load_model(shared, name, cause)));
    let loaded = loaded.unwrap_or_else(|_| Err("loading the model panicked".into()));
    let is_of_model = loaded.is_err();
    let problem = shared.catalog.update(name, |entry| {
        entry.problems = loaded.unwrap_or_else(Problems::of_model);
        // A panic leaves versions behind that nobody is loading.
        let is_left = |it: &VersionEntry| it.state.stage().is_coming();
        let left: Vec<_> = entry.versions.iter().filter(|(_, it)| is_left(it)).collect();
        for version in left.into_iter().map(|(version, _)| *version).collect::<Vec<_>>() {
            entry.put(version, State::Failed("loading the version was given up".into()));
        }
        entry.problem()
    });
    let Some(failure) = problem else { return Ok(()) };
    if is_of_model {
        shared.failures.add(failure.code());
    }
    let reason = failure.details();
    tracing::error!(model.name = %name, reason, "the model is not served as its folder wants it");
    shared.tell(EventKind::ModelProblem, name, None, reason);
    Err(failure)
}

/// What is wrong afterwards, or why nothing could be read.
fn try_load_model(shared: &Shared, name: &ModelName, cause: Cause) -> Result<Problems, String> {
    let found = read(shared, name)?;
    let is_first = shared.catalog.snapshot().get(name).is_none_or(|it| !it.state.is_settled());
    // Where one version is asked for, nothing that was decided matters.
    let only = shared.options().overrides.version;
    if is_first && only.is_none() {
        decisions::remember(shared, name);
    }
    let mut situation = shared.catalog.update(name, |entry| {
        entry.requirement = entry.requirement.read_again(found.source.is_required());
        entry.plan = Arc::new(found.source.manifest.rollout.plan());
        if cause == Cause::Ordered {
            entry.unloaded.clear();
        }
        situation(entry, &found)
    });
    if only.is_none() {
        rollouts::follow_plan(shared, name);
    }
    let by = if only.is_some() { "" } else { " by model.toml" };
    let missing = situation.policy.missing(&situation.available).into_iter();
    let missing =
        missing.map(|version| format!("version {version} is asked for{by} and not there"));
    let mut problems: Vec<_> = missing.map(Problem::of_model).collect();
    let superseded = decisions::current(&shared.catalog, name).rollout.map(|it| it.candidate);
    loop {
        problems.extend(bring_up(shared, &found, cause, &mut situation));
        let models = shared.catalog.snapshot();
        let Some(entry) = models.get(name) else { break };
        let serves =
            |version| entry.unloaded.contains(&version) || entry.healthy_version(version).is_some();
        if !situation.follow(serves) {
            break;
        }
    }
    let gone = shared.catalog.update(name, |entry| {
        let held = entry.routing.in_rollout().collect();
        let gone = retire(entry, &situation.holding(held));
        orders::report_pin(name, entry);
        gone
    });
    tell_gone(shared, name, gone);
    rollouts::supersede(shared, name, superseded.map(Version));
    rollouts::settle(shared, name);
    if only.is_none() {
        remember_served(shared, name);
    }
    Ok(Problems { found: problems, available: Some(situation.available) })
}

fn tell_gone(shared: &Shared, name: &ModelName, gone: Vec<Version>) {
    for version in gone {
        let text = "it is not to be served any more, and finishes what it has";
        shared.tell(EventKind::VersionDraining, name, Some(version), text);
    }
}

pub(super) fn situation(entry: &ModelEntry, found: &Found) -> Situation {
    let Found { folder, source } = found;
    // What serves stays beside a version that is to take over by and by.
    let is_gradual = source.manifest.rollout.strategy != Strategy::Replace;
    let serving = entry.serving().map(ModelHandle::version);
    // At a start nothing serves yet, and what did before comes first.
    let outgoing = serving.or(entry.intent.served.map(Version)).filter(|_| is_gradual);
    Situation {
        available: folder.versions.iter().map(|folder| folder.version).collect(),
        policy: source.manifest.versions.clone(),
        pin: entry.routing.default.map(|pin| pin.version),
        held: outgoing.into_iter().chain(entry.routing.in_rollout()).collect(),
        labeled: entry.routing.labels.values().copied().collect(),
        // In place of one that an operator let go nothing else comes up.
        tried: entry.unloaded.iter().map(|version| (*version, true)).collect(),
    }
}

/// The models of which a version was given up while it served, and nobody has taken that up yet.
pub(super) fn given_up(shared: &Shared) -> Vec<ModelName> {
    let models = shared.catalog.snapshot();
    let is_new =
        |it: &VersionEntry| it.handle().is_some_and(ModelHandle::has_failed) && !it.is_stuck();
    let is_it = |(_, entry): &(&ModelName, &Arc<ModelEntry>)| {
        let is_idle = entry.state.is_settled() && !entry.state.is_changing();
        is_idle && entry.versions.values().any(is_new)
    };
    models.iter().filter(is_it).map(|(name, _)| name.clone()).collect()
}

/// Tells of versions that were given up while they served, and has others take their place.
pub(super) fn replace_given_up(shared: &Shared, name: &ModelName) -> Result<(), RepositoryError> {
    let busy = Busy::begin(&shared.catalog, name)?;
    let told = shared.catalog.update(name, |entry| {
        let mut told = Vec::new();
        for (version, found) in &mut entry.versions {
            let reason = found.handle().filter(|it| it.has_failed()).and_then(|it| it.failure());
            if let (Some(reason), false) = (reason, found.is_stuck()) {
                found.last_failure = Some(ModelFailure::new(FailureCode::Stuck, reason.clone()));
                told.push((*version, reason));
            }
        }
        told
    });
    for (version, reason) in told {
        shared.failures.add(FailureCode::Stuck);
        shared.tell(
            EventKind::VersionFailed,
            name,
            Some(version),
            format!("it was given up: {reason}"),
        );
    }
    // What is wrong stands in the state of the model.
    let _ = load_model(shared, name, Cause::Noticed);
    drop(busy);
    Ok(())
}

/// Whether everything of a model serves that should, by the files that are there now, and nothing else is said of it.
pub(super) fn is_up_to_date(shared: &Shared, name: &ModelName) -> bool {
    let Ok(found) = read(shared, name) else { return false };
    let models = shared.catalog.snapshot();
    let Some(entry) = models.get(name).filter(|it| it.problem().is_none()) else { return false };
    let mut situation = situation(entry, &found);
    while let Some(version) = situation.next() {
        if !is_current(shared, &found, version) {
            return false;
        }
        situation.tried.insert(version, true);
    }
    true
}

/// Lets go what is not to be served any more, after less is wanted; loads nothing.
pub(super) fn let_go_unwanted(shared: &Shared, name: &ModelName) {
    let Ok(found) = read(shared, name) else { return };
    let gone = shared.catalog.update(name, |entry| {
        let mut situation = situation(entry, &found);
        while let Some(version) = situation.next() {
            situation.tried.insert(version, entry.healthy_version(version).is_some());
        }
        retire(entry, &situation)
    });
    tell_gone(shared, name, gone);
}

/// Lets go what is no longer chosen, unless nothing that is chosen serves: an old version is better
/// than none. What takes no more requests because of that.
fn retire(entry: &mut ModelEntry, situation: &Situation) -> Vec<Version> {
    let mut gone = Vec::new();
    let mut chosen = entry.versions.iter().filter(|(version, _)| situation.is_chosen(**version));
    // By what is so now, not by what was found while versions came up.
    let any_serves = chosen.any(|(_, found)| found.is_healthy());
    let outgoing = entry.routing.split.as_ref().map(|split| split.stable);
    entry.versions.retain(|version, found| {
        let bears_label = entry.routing.labels.values().any(|it| it == version);
        if situation.is_chosen(*version) || Some(*version) == outgoing || bears_label {
            return true;
        }
        match &found.state {
            State::Ready(_) => {
                if any_serves && found.let_go(State::Draining) {
                    gone.push(*version);
                }
                true
            }
            State::Draining(served) | State::Unloaded(served) => served.strong_count() > 0,
            State::Loading | State::Warming | State::Verifying | State::Failed(_) => false,
        }
    });
    gone
}
