//! What is decided about a model: written down, and followed by requests from then on.

use super::catalog::Catalog;
use super::entry::ModelEntry;
use super::intents::Intent;
use super::routing::{Pin, Routing, Split};
use super::shared::Shared;
use crate::inference::{ModelName, Version};
use std::sync::Arc;

/// Changes what was decided, for a model that nobody else changes. Writes a file; whether that was possible.
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
    let mut intent = current(&shared.catalog, name);
    change(&mut intent);
    let kept = shared.intents.write(name, &intent);
    shared.catalog.update(name, |entry| {
        also(entry);
        follow(entry, intent, kept);
    });
    kept
}

/// What was decided before this process.
pub(super) fn remember(shared: &Shared, name: &ModelName) {
    let intent = shared.intents.read(name);
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
