//! What is decided about a model: written down, and followed by requests from then on.

use super::catalog::Catalog;
use super::entry::ModelEntry;
use super::intents::Intent;
use super::manifest::Strategy;
use super::routing::{Pin, Routing, Split};
use super::shared::Shared;
use crate::inference::{ModelName, Version};
use crate::telemetry::events::EventKind;
use std::sync::{Arc, PoisonError};

/// What is told of decisions for which there is no room.
pub const UNKEPT: &str =
    "what was decided about the model cannot be written down, and holds until the process ends";

/// Changes what was decided. Writes a file; whether that was possible.
pub(super) fn decide(shared: &Shared, name: &ModelName, change: impl FnOnce(&mut Intent)) -> bool {
    decide_and(shared, name, change, |_| ())
}

/// The same, with something else changed of the model in the same moment: no request comes in between.
pub(super) fn decide_and(
    shared: &Shared,
    name: &ModelName,
    change: impl FnOnce(&mut Intent),
    also: impl FnOnce(&mut ModelEntry),
) -> bool {
    decide_if(shared, name, |_| true, change, also).unwrap_or_default()
}

/// The same, if what is decided by now is as it should be; `None` where it is not.
pub(super) fn decide_if(
    shared: &Shared,
    name: &ModelName,
    is_so: impl FnOnce(&Intent) -> bool,
    change: impl FnOnce(&mut Intent),
    also: impl FnOnce(&mut ModelEntry),
) -> Option<bool> {
    let _deciding = shared.deciding.lock().unwrap_or_else(PoisonError::into_inner);
    let mut intent = current(&shared.catalog, name);
    if !is_so(&intent) {
        return None;
    }
    change(&mut intent);
    let kept = shared.intents.write(name, &intent);
    let is_unkept = !kept && shared.intents.are_kept();
    let was_unkept = shared.catalog.update(name, |entry| {
        also(entry);
        follow(entry, intent, kept);
        std::mem::replace(&mut entry.is_unkept, is_unkept)
    });
    if is_unkept && !was_unkept {
        shared.tell(EventKind::ModelProblem, name, None, UNKEPT);
    }
    Some(kept)
}

/// What was decided before this process.
pub(super) fn remember(shared: &Shared, name: &ModelName) {
    let intent = shared.intents.read(name).unwrap_or_else(|problem| {
        tracing::error!(model.name = %name, "{problem}");
        shared.tell(EventKind::ModelProblem, name, None, problem);
        Intent::default()
    });
    shared.catalog.update(name, |entry| follow(entry, intent, true));
}

/// What is decided now.
pub(super) fn current(catalog: &Catalog, name: &ModelName) -> Intent {
    catalog.snapshot().get(name).map(|entry| Intent::clone(&entry.intent)).unwrap_or_default()
}

fn follow(entry: &mut ModelEntry, intent: Intent, kept: bool) {
    entry.routing = Routing {
        default: intent.default.map(|version| Pin { version: Version(version), kept }),
        labels: intent.labels(),
        split: intent.rollout.as_ref().map(|rollout| {
            let (stable, candidate) = (Version(rollout.stable), Version(rollout.candidate));
            let before = entry.routing.split.take();
            let before = before.filter(|it| (it.stable, it.candidate) == (stable, candidate));
            before.map_or_else(
                || Split::new(stable, candidate, rollout.weight),
                |split| split.with_weight(rollout.weight),
            )
        }),
    };
    entry.intent = Arc::new(intent);
}

/// Writes down which version serves where new ones take over by and by: after a start another one may be there too. Elsewhere the
/// highest serves, and nothing is written.
pub(super) fn remember_served(shared: &Shared, name: &ModelName) {
    let models = shared.catalog.snapshot();
    let Some(entry) = models.get(name) else { return };
    let serving = entry.serving().map(|handle| handle.version().0);
    let is_gradual = entry.plan.strategy != Strategy::Replace || entry.intent.rollout.is_some();
    let served = if is_gradual { serving.or(entry.intent.served) } else { None };
    if entry.intent.served != served {
        decide(shared, name, |intent| intent.served = served);
    }
}
