//! A new version beside the one that serves: begun, moved, ended. What is to happen others decide; here it is written down
//! before requests follow, and a restart goes on where it was.

use super::busy::Busy;
use super::decisions::{self, remember_served};
use super::entry::ModelEntry;
use super::error::RepositoryError;
use super::intents::{Intent, RolloutIntent};
use super::manifest::{RolloutPlan, RolloutStep, Strategy};
use super::orders::{self, Rejecting};
use super::served::ModelHandle;
use super::shared::Shared;
use crate::inference::{ModelName, Version};
use crate::telemetry::events::EventKind;
use std::sync::Arc;

/// A roll-out under way, with both of its versions.
#[derive(Debug, Clone)]
pub struct Rollout {
    /// The one that serves.
    pub stable: ModelHandle,
    /// The new one.
    pub candidate: ModelHandle,
    /// How it takes over.
    pub plan: Arc<RolloutPlan>,
    /// The step of the plan, from 0.
    pub step: usize,
    /// The share of requests that the new one answers.
    pub weight: f64,
    /// Whether an operator chose that share: steps then wait for operators, and rules still go back.
    pub is_manual: bool,
}

impl Rollout {
    /// The model.
    #[must_use]
    pub fn model(&self) -> &ModelName {
        self.stable.name()
    }

    /// The part of the requests that the new version answers, or of a shadow the part of which it gets copies.
    #[must_use]
    pub fn share(&self) -> f64 {
        let of_step = self.plan.steps.get(self.step).map_or(0.0, |step| step.weight);
        if self.plan.strategy == Strategy::Shadow { of_step } else { self.weight }
    }
}

/// Those of all models, as far as both versions are ready.
pub(super) fn all(shared: &Shared) -> Vec<Rollout> {
    shared.catalog.snapshot().values().filter_map(|entry| of(entry)).collect()
}

/// That of one model.
pub(super) fn one(shared: &Shared, name: &ModelName) -> Option<Rollout> {
    shared.catalog.snapshot().get(name).and_then(|entry| of(entry))
}

/// That of a model, if both versions are ready.
pub(super) fn of(entry: &ModelEntry) -> Option<Rollout> {
    let intent = entry.intent.rollout.as_ref()?;
    // One that was begun stays one, whatever model.toml says now.
    let plan = match entry.plan.strategy {
        Strategy::Replace => RolloutPlan::clone(&entry.plan).or_by_hand(),
        _ => RolloutPlan::clone(&entry.plan),
    };
    let plan = Arc::new(RolloutPlan { waits_for_operator: intent.manual, ..plan });
    Some(Rollout {
        stable: entry.healthy_version(Version(intent.stable))?.clone(),
        candidate: entry.healthy_version(Version(intent.candidate))?.clone(),
        plan,
        step: intent.step,
        weight: intent.weight,
        is_manual: intent.manual,
    })
}

/// The share of the new version on a step: copies of requests are answered by the old one.
fn weight(plan: &RolloutPlan, step: usize) -> f64 {
    match plan.strategy {
        Strategy::Canary => plan.steps.get(step).map_or(0.0, |step| step.weight),
        Strategy::Shadow | Strategy::Replace => 0.0,
    }
}

/// Begins the roll-out of a version that is about to be ready, while the model is marked as busy.
pub(super) fn begin(
    shared: &Shared,
    name: &ModelName,
    stable: Version,
    candidate: Version,
    by_hand: bool,
) {
    let models = shared.catalog.snapshot();
    let Some(plan) = models.get(name).map(|entry| Arc::clone(&entry.plan)) else { return };
    let weight = weight(&plan, 0);
    decisions::decide(shared, name, |intent| {
        intent.rollout = Some(RolloutIntent {
            stable: stable.0,
            candidate: candidate.0,
            step: 0,
            weight,
            manual: false,
            by_hand,
        });
    });
    let text = match plan.strategy {
        Strategy::Shadow => format!("it gets copies of the requests that version {stable} answers"),
        _ => format!("it gets {} % of the requests, version {stable} the others", percent(weight)),
    };
    tracing::info!(model.name = %name, model.version = candidate.0, "roll-out begins: {text}");
    shared.tell(EventKind::RolloutStarted, name, Some(candidate), text);
}

/// Without the noise of binary fractions.
fn percent(weight: f64) -> f64 {
    (weight * 1e4).round() / 1e2
}

/// The models whose roll-outs have lost a version, which nobody else is changing.
pub(super) fn broken(shared: &Shared) -> Vec<ModelName> {
    let models = shared.catalog.snapshot();
    let is_broken = |(_, entry): &(&ModelName, &Arc<ModelEntry>)| {
        let is_idle = entry.state.is_settled() && !entry.state.is_changing();
        entry.intent.rollout.is_some() && is_idle && of(entry).is_none()
    };
    models.iter().filter(is_broken).map(|(name, _)| name.clone()).collect()
}

/// Ends a roll-out whose versions do not both serve any more, when nobody else changes the model.
pub(super) fn end_broken(shared: &Shared, name: &ModelName) -> Result<(), RepositoryError> {
    let _busy = Busy::begin(&shared.catalog, name)?;
    settle(shared, name);
    Ok(())
}

/// Ends a roll-out whose versions are not both ready after a load: the one that is serves alone.
pub(super) fn settle(shared: &Shared, name: &ModelName) {
    let models = shared.catalog.snapshot();
    let Some(entry) = models.get(name) else { return };
    let Some(intent) = entry.intent.rollout.clone() else { return };
    let is_ready = |version| entry.healthy_version(Version(version)).is_some();
    let (kind, text) = match (is_ready(intent.stable), is_ready(intent.candidate)) {
        (true, true) | (false, false) => return,
        (true, false) => (
            EventKind::RolloutRolledBack,
            format!("it is not ready any more, version {} serves alone", intent.stable),
        ),
        (false, true) => (
            EventKind::RolloutPromoted,
            format!("version {} is not ready any more, so it serves alone", intent.stable),
        ),
    };
    decisions::decide(shared, name, |intent| intent.rollout = None);
    let candidate = Version(intent.candidate);
    tracing::warn!(model.name = %name, model.version = intent.candidate, "roll-out ends: {text}");
    shared.tell(kind, name, Some(candidate), &*text);
    let given_up = entry.ready_version(candidate).filter(|handle| handle.has_failed());
    if let Some(handle) = given_up.filter(|_| kind == EventKind::RolloutRolledBack) {
        // It would come back with the next change of the folder.
        let digest = handle.facts().digest.clone();
        let rejecting = Rejecting { version: candidate, digest: &digest, reason: &text };
        orders::reject(shared, name, rejecting);
    }
    remember_served(shared, name);
}

/// Has a version not come back that was the new one of a roll-out when another took its place, and is let go: it was never promoted, and
/// would begin anew once the other is gone. For a model that is marked as busy.
pub(super) fn supersede(shared: &Shared, name: &ModelName, before: Option<Version>) {
    let models = shared.catalog.snapshot();
    let Some(entry) = models.get(name) else { return };
    let intent = &entry.intent;
    let (Some(before), Some(now)) = (before, &intent.rollout) else { return };
    let seen = |version: u64| intent.first_seen.get(&version);
    let Some(digest) = seen(before.0) else { return };
    let is_one =
        [now.stable, now.candidate].iter().any(|it| *it == before.0 || seen(*it) == Some(digest));
    if is_one || entry.ready_version(before).is_some() {
        return;
    }
    let reason =
        format!("version {} took its place in the roll-out before it was promoted", now.candidate);
    tracing::warn!(model.name = %name, model.version = before.0, "roll-out ends: {reason}");
    shared.tell(EventKind::RolloutRolledBack, name, Some(before), &*reason);
    orders::reject(shared, name, Rejecting { version: before, digest, reason: &reason });
}

/// The roll-out of a model, for whoever changes it and has it marked as busy.
pub(super) fn under_way(shared: &Shared, name: &ModelName) -> Result<Rollout, RepositoryError> {
    one(shared, name).ok_or_else(|| RepositoryError::NoRollout(name.clone()))
}

/// The same, if it is the one of this version, about which something was decided; of any where none is named.
pub(super) fn of_version(
    shared: &Shared,
    name: &ModelName,
    candidate: Option<Version>,
) -> Result<Rollout, RepositoryError> {
    let rollout = under_way(shared, name)?;
    match candidate.is_none_or(|version| rollout.candidate.version() == version) {
        true => Ok(rollout),
        false => Err(RepositoryError::NoRollout(name.clone())),
    }
}

/// Has a roll-out follow what model.toml says now: its step may have another share, and a shadow answers nobody. What an operator
/// leads stays as it is.
pub(super) fn follow_plan(shared: &Shared, name: &ModelName) {
    let models = shared.catalog.snapshot();
    let Some(entry) = models.get(name) else { return };
    let Some(before) = entry.intent.rollout.clone() else { return };
    let plan = &entry.plan;
    let mut now = before.clone();
    match plan.strategy {
        // It never followed one.
        Strategy::Replace if before.by_hand => {}
        // Its steps are gone with the plan.
        Strategy::Replace => now.manual = true,
        Strategy::Canary | Strategy::Shadow => {
            now.step = now.step.min(plan.steps.len().saturating_sub(1));
            if plan.strategy == Strategy::Shadow || !now.manual {
                now.weight = weight(plan, now.step);
            }
        }
    }
    if now == before {
        return;
    }
    let text = format!("model.toml changed: step {}, {} %", now.step + 1, percent(now.weight));
    let candidate = Version(now.candidate);
    // Whoever changed it meanwhile, or ended it, has the last word.
    let is_so = |intent: &Intent| intent.rollout.as_ref() == Some(&before);
    let follow = |intent: &mut Intent| intent.rollout = Some(now);
    if decisions::decide_if(shared, name, is_so, follow, |_| ()).is_some() {
        tell_step(shared, name, candidate, text);
    }
}

/// Goes on to a step.
pub(super) fn advance(
    shared: &Shared,
    name: &ModelName,
    candidate: Version,
    step: usize,
) -> Result<(), RepositoryError> {
    let _busy = Busy::begin(&shared.catalog, name)?;
    let rollout = of_version(shared, name, Some(candidate))?;
    let weight = weight(&rollout.plan, step);
    decisions::decide(shared, name, |intent| {
        if let Some(rollout) = &mut intent.rollout {
            (rollout.step, rollout.weight) = (step, weight);
        }
    });
    let share = rollout.plan.steps.get(step).map_or(weight, |step| step.weight);
    tell_step(shared, name, candidate, format!("step {}, {} %", step + 1, percent(share)));
    Ok(())
}

/// Gives the new version a share that an operator chose; steps then wait for operators. Possible while something of the model is
/// loaded, too.
pub(super) fn set_weight(
    shared: &Shared,
    name: &ModelName,
    weight: f64,
) -> Result<(), RepositoryError> {
    if shared.catalog.is_closed() {
        return Err(RepositoryError::Draining);
    }
    if !shared.catalog.snapshot().contains_key(name) {
        return Err(RepositoryError::NotFound(name.clone()));
    }
    let rollout = under_way(shared, name)?;
    let candidate = rollout.candidate.version();
    // The share of a step is that step: so an operator carries the advice out to go on to it.
    let is_step = |step: &RolloutStep| (step.weight - weight).abs() < 1e-9;
    let step = rollout.plan.steps.iter().position(is_step);
    let is_shadow = rollout.plan.strategy == Strategy::Shadow;
    if is_shadow && step.is_none() {
        let steps = rollout.plan.steps.iter().map(|step| format!("{} %", percent(step.weight)));
        let steps = steps.collect::<Vec<_>>().join(", ");
        return Err(RepositoryError::AnswersNobody(name.clone(), candidate, steps));
    }
    let step = step.unwrap_or(rollout.step);
    drop(rollout);
    let is_it = |intent: &Intent| intent.rolls_out(candidate);
    let set = |intent: &mut Intent| {
        if let Some(rollout) = &mut intent.rollout {
            let share = if is_shadow { 0.0 } else { weight };
            (rollout.step, rollout.weight, rollout.manual) = (step, share, true);
        }
    };
    if decisions::decide_if(shared, name, is_it, set, |_| ()).is_none() {
        return Err(RepositoryError::NoRollout(name.clone()));
    }
    tell_step(shared, name, candidate, format!("an operator gave it {} %", percent(weight)));
    Ok(())
}

fn tell_step(shared: &Shared, name: &ModelName, candidate: Version, text: String) {
    tracing::info!(model.name = %name, model.version = candidate.0, "roll-out: {text}");
    shared.tell(EventKind::RolloutStep, name, Some(candidate), text);
}
