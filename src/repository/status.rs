//! What the repository reports about its models: plain structs, which others turn into JSON.

use super::catalog::Catalog;
use super::entry::{ModelEntry, State, VersionEntry};
use super::failure::{FailureCode, ModelFailure};
use super::intents::Rejection;
use super::layout::MODEL_FILE;
use super::lifecycle::VersionState;
use super::manifest::Strategy;
use super::rollouts;
use super::routing::{self, Pin};
use super::served::{Facts, ModelHandle, ModelLimits};
use super::shared::Shared;
use crate::inference::{Batching, ExtraSpec, ModelName, ModelSpec, Version, VersionLabel};
use crate::scheduler::SchedulerStatus;
use crate::telemetry::ModelMetrics;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

/// Maximum sentences about what was found in place of models.
const MAX_HINTS: usize = 3;

/// One model.
#[derive(Debug, Clone)]
pub struct ModelStatus {
    /// Its name.
    pub name: ModelName,
    /// Whether the server is ready only with it.
    pub required: bool,
    /// Whether it is being loaded, for the first time or anew.
    pub busy: bool,
    /// Whether an operator let it go.
    pub unloaded: bool,
    /// The version that requests get by default.
    pub serving: Option<Version>,
    /// The version that an operator made the default; another one serves while it is not ready.
    pub pin: Option<Pin>,
    /// Names for versions, those among them that follow by themselves.
    pub labels: BTreeMap<VersionLabel, Version>,
    /// The new version beside the one that serves.
    pub rollout: Option<RolloutStatus>,
    /// Versions whose files are not served any more.
    pub rejected: Vec<RejectedVersion>,
    /// Why there is no version to serve, or not the wanted ones.
    pub problem: Option<ModelFailure>,
    /// Whether what operators decided could not be written down.
    pub is_unkept: bool,
    /// Its versions, lowest first.
    pub versions: Vec<VersionStatus>,
}

/// A roll-out under way, in short.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RolloutStatus {
    /// How the new version takes over.
    pub strategy: Strategy,
    /// The new version.
    pub candidate: Version,
    /// The part of the requests that it answers, or of a shadow the part of which it gets copies.
    pub share: f64,
}

/// A version whose file is not served any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedVersion {
    /// The number under which it was seen.
    pub version: Version,
    /// SHA-256 of the file.
    pub digest: String,
    /// Why, for operators.
    pub reason: String,
}

/// One version.
#[derive(Debug, Clone)]
pub struct VersionStatus {
    /// The version.
    pub version: Version,
    /// Where it is in its life.
    pub state: VersionState,
    /// Why it failed, or why the last attempt to load it anew did.
    pub failure: Option<ModelFailure>,
    /// Since when it has been in this state.
    pub since: SystemTime,
    /// What is known once it is loaded.
    pub loaded: Option<LoadedStatus>,
}

/// What is known about a loaded version.
#[derive(Debug, Clone)]
pub struct LoadedStatus {
    /// What it takes and gives, and whether requests share runs.
    pub spec: Arc<ModelSpec>,
    /// What steps add to every answer.
    pub extras: Vec<ExtraSpec>,
    /// What else was found.
    pub facts: Facts,
    /// Its limits.
    pub limits: ModelLimits,
    /// The body of an example request.
    pub sample: Option<String>,
    /// What its scheduler is doing.
    pub scheduler: SchedulerStatus,
    /// Where its requests are counted.
    pub metrics: Arc<ModelMetrics>,
}

impl LoadedStatus {
    /// Whether requests share runs: what was found at load, or what has become of it since.
    #[must_use]
    pub fn batching(&self) -> Batching {
        match self.scheduler.refuted {
            Some(_) => Batching::Refuted,
            None => self.spec.batching,
        }
    }

    /// Why, in a sentence, with what of the model's code or answers says so.
    #[must_use]
    pub fn batching_reason(&self) -> String {
        let reason = self.batching().reason();
        match self.scheduler.refuted.as_ref().or(self.facts.grounds.as_ref()) {
            Some(grounds) => format!("{reason} ({grounds})"),
            None => reason.to_owned(),
        }
    }
}

/// Whether the server may get traffic, as far as models are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Every required model serves, less those that were unloaded, and there is a model at all.
    pub ready: bool,
    /// Required models that do not.
    pub waiting_for: Vec<ModelName>,
    /// Required models that an operator unloaded. Nobody waits for them: one order must not take the
    /// whole server away from the other models' clients.
    pub unloaded: Vec<ModelName>,
    /// Required models that failed by what they were asked. Where another one serves, nobody waits for them: what some
    /// clients send must not take the whole server away from the others.
    pub failed: Vec<ModelName>,
    /// What to do, when no model is waited for and the server is not ready all the same.
    pub reason: Option<String>,
}

pub(super) fn list(catalog: &Catalog) -> Vec<ModelStatus> {
    catalog.snapshot().iter().map(|(name, entry)| model(name, entry)).collect()
}

pub(super) fn describe(catalog: &Catalog, name: &ModelName) -> Option<ModelStatus> {
    catalog.snapshot().get(name).map(|entry| model(name, entry))
}

pub(super) fn readiness(shared: &Shared) -> Readiness {
    let models = shared.catalog.snapshot();
    let missing = models.iter().filter(|(_, entry)| entry.is_required() && !serves(entry));
    let (unloaded, missing): (Vec<_>, Vec<_>) =
        missing.partition(|(_, entry)| entry.state.is_unloaded());
    let is_given_up = |entry: &ModelEntry| {
        entry.state.is_settled() && entry.serving().is_some_and(ModelHandle::has_failed_by_requests)
    };
    let one_serves = models.values().any(|entry| entry.is_required() && serves(entry));
    let (failed, waiting): (Vec<_>, Vec<_>) =
        missing.into_iter().partition(|(_, entry)| one_serves && is_given_up(entry));
    let names = |of: Vec<(&ModelName, _)>| of.into_iter().map(|(name, _)| name.clone()).collect();
    let is_there = |entry: &ModelEntry| serves(entry) || entry.state.is_unloaded();
    // A server that can answer nothing, and that nobody wanted so, takes no traffic.
    let is_vacuous = waiting.is_empty() && !models.values().any(|entry| is_there(entry));
    let held = shared.hold.reason();
    Readiness {
        ready: waiting.is_empty() && !is_vacuous && held.is_none(),
        waiting_for: names(waiting),
        unloaded: names(unloaded),
        failed: names(failed),
        reason: held.or_else(|| is_vacuous.then(|| explain_nothing(shared, &models))),
    }
}

/// Why no model serves although none is waited for.
fn explain_nothing(shared: &Shared, models: &BTreeMap<ModelName, Arc<ModelEntry>>) -> String {
    let n_loading = models.values().filter(|entry| entry.state.is_changing()).count();
    if n_loading > 0 {
        return format!("none of the models serves yet, {n_loading} of them being loaded");
    }
    if !models.is_empty() {
        return "none of the models serves, and a server that can answer nothing is not ready"
            .into();
    }
    let folder = shared.options().models.display();
    let expected = format!(
        "no model was found in the models folder {folder}: put NAME/1/{MODEL_FILE} there; where the folder is not watched, load it with POST /manage/models/NAME/reload"
    );
    let hints = shared.ignored.iter().take(MAX_HINTS).cloned();
    std::iter::once(expected).chain(hints).collect::<Vec<_>>().join("; ")
}

/// Whether a model answers by default. During its first load it must have come to its end, so that
/// the default does not change right after the server said that it is ready.
fn serves(entry: &ModelEntry) -> bool {
    // Where new versions take over by and by, the one that served before answers while the new one is still tried.
    let is_in_place = |handle: &&ModelHandle| {
        entry.state.is_settled() || entry.intent.served == Some(handle.version().0)
    };
    entry.serving().filter(is_in_place).is_some_and(|handle| handle.failure().is_none())
}

fn model(name: &ModelName, entry: &ModelEntry) -> ModelStatus {
    let versions =
        entry.versions.iter().filter_map(|(version, entry)| self::version(*version, entry));
    ModelStatus {
        name: name.clone(),
        required: entry.is_required(),
        busy: entry.state.is_changing(),
        unloaded: entry.is_unloaded_on_order(),
        pin: entry.routing.default,
        serving: entry.serving().map(ModelHandle::version),
        labels: labels(entry),
        rollout: rollouts::of(entry).map(|it| RolloutStatus {
            strategy: it.plan.strategy,
            candidate: it.candidate.version(),
            share: it.share(),
        }),
        rejected: entry.intent.rejected.iter().map(rejected).collect(),
        problem: entry.problem(),
        is_unkept: entry.is_unkept,
        versions: versions.collect(),
    }
}

fn labels(entry: &ModelEntry) -> BTreeMap<VersionLabel, Version> {
    let mut labels = entry.routing.labels.clone();
    let stable = entry.serving().map(ModelHandle::version);
    let candidate = entry.routing.split.as_ref().map(|split| split.candidate);
    for (label, version) in [(routing::STABLE, stable), (routing::CANARY, candidate)] {
        labels.extend(label.parse().ok().zip(version));
    }
    labels
}

fn rejected((digest, rejection): (&String, &Rejection)) -> RejectedVersion {
    let Rejection { version, reason } = rejection.clone();
    RejectedVersion { version: Version(version), digest: digest.clone(), reason }
}

/// `None` for a version that has drained.
fn version(version: Version, entry: &VersionEntry) -> Option<VersionStatus> {
    let (state, failure, loaded) = match &entry.state {
        State::Loading | State::Warming | State::Verifying => (entry.state.stage(), None, None),
        State::Failed(failure) => (VersionState::Failed, Some(failure.clone()), None),
        State::Draining(served) if served.strong_count() == 0 => return None,
        State::Unloaded(served) if served.strong_count() == 0 => {
            (VersionState::Unloaded, None, None)
        }
        State::Draining(_) | State::Unloaded(_) => (VersionState::Draining, None, None),
        State::Ready(handle) => {
            let loaded = loaded(handle);
            // A version that lost too many instances to stuck runs fails while it serves.
            match loaded.scheduler.failed.clone() {
                Some(reason) => {
                    let failure = ModelFailure::new(FailureCode::Stuck, reason);
                    (VersionState::Failed, Some(failure), Some(loaded))
                }
                None => (VersionState::Ready, None, Some(loaded)),
            }
        }
    };
    let failure = failure.or_else(|| entry.last_failure.clone());
    Some(VersionStatus { version, state, failure, since: entry.since, loaded })
}

fn loaded(handle: &ModelHandle) -> LoadedStatus {
    LoadedStatus {
        spec: Arc::clone(handle.interface()),
        extras: handle.transform().extras(),
        facts: handle.facts().clone(),
        limits: handle.limits(),
        sample: handle.sample().map(str::to_owned),
        scheduler: handle.scheduler().status(),
        metrics: Arc::clone(handle.metrics()),
    }
}
