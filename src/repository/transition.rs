//! Changes of state: the first load of all models, and the reload of one.
//!
//! One transition of a model at a time. The new version comes up beside the old one; only when it
//! is warm does the catalog's handle change, in one step, and what is no longer chosen drains.

use super::busy::Busy;
use super::entry::{ModelEntry, State, VersionEntry};
use super::error::RepositoryError;
use super::failure::{FailureCode, ModelFailure};
use super::layout::{self, ModelFolder, NamedFolder};
use super::orders;
use super::policy::{self, Choice};
use super::served::{ModelHandle, Served};
use super::shared::Shared;
use super::source::Source;
use super::status;
use crate::inference::{ModelName, Version};
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
                    entry.problem = Some(ModelFailure::new(FailureCode::Incomplete, TO_COME));
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
fn folder_to_come<'a>(shared: &'a Shared, name: &ModelName) -> Option<&'a NamedFolder> {
    let mut named = shared.loader.options.named.iter();
    named.find(|named| named.name == *name && named.is_to_come())
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
    let _ = load_model(shared, name);
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
        let models = &shared.loader.options.models;
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
    let outcome = load_model(shared, name);
    drop(busy);
    outcome.map_err(|failure| RepositoryError::Failed { model: name.clone(), failure })
}

/// Loads one model anew.
pub(super) fn reload(shared: &Shared, name: &ModelName) -> Result<(), RepositoryError> {
    let catalog = &shared.catalog;
    if catalog.is_closed() {
        return Err(RepositoryError::Draining);
    }
    let is_known = catalog.snapshot().contains_key(name);
    if !is_known && find(shared, name).is_none() {
        return Err(RepositoryError::NotFound(name.clone()));
    }
    let busy = Busy::begin_or_add(catalog, name)?;
    let outcome = load_model(shared, name);
    drop(busy);
    outcome.map_err(|failure| RepositoryError::Failed { model: name.clone(), failure })
}

fn load_model(shared: &Shared, name: &ModelName) -> Result<(), ModelFailure> {
    let loaded = catch_unwind(AssertUnwindSafe(|| try_load_model(shared, name)));
    let loaded = loaded.unwrap_or_else(|_| Err("loading the model panicked".into()));
    let loaded = loaded.map_err(|problem| ModelFailure::new(FailureCode::Incomplete, problem));
    shared.catalog.update(name, |entry| {
        entry.problem = loaded.as_ref().err().cloned();
        // A panic leaves versions behind that nobody is loading.
        for found in entry.versions.values_mut() {
            if matches!(found.state, State::Loading) {
                *found = VersionEntry::new(State::Failed("loading the model was given up".into()));
            }
        }
    });
    if let Err(failure) = &loaded {
        let reason = failure.details();
        tracing::error!(model.name = %name, reason, "model could not be loaded");
    }
    loaded
}

fn find(shared: &Shared, name: &ModelName) -> Option<ModelFolder> {
    let options = &shared.loader.options;
    layout::find(&options.models, &options.named, name)
}

fn try_load_model(shared: &Shared, name: &ModelName) -> Result<(), String> {
    let folder = find(shared, name).ok_or("the model's folder is gone")?;
    for sentence in &folder.ignored {
        tracing::warn!("{sentence}");
    }
    if let Some(problem) = folder.problem {
        return Err(problem);
    }
    let source = Source::read(&folder)?;
    let available: Vec<_> = folder.versions.iter().map(|folder| folder.version).collect();
    let mut choice = policy::choose(&available, &source.manifest.versions);
    let mut problems: Vec<_> = choice
        .missing
        .iter()
        .map(|version| format!("version {version} is asked for by model.toml and not there"))
        .collect();
    shared.catalog.update(name, |entry| {
        entry.requirement = entry.requirement.read_again(source.is_required());
        if !entry.state.is_settled() {
            entry.routing.default = shared.pins.read(name);
        }
        // The default comes first, so that no other answers in its place while the model comes up.
        choice
            .load
            .sort_by_key(|version| entry.routing.default.is_none_or(|pin| pin.version != *version));
        expect(entry, &choice);
    });
    for version in &choice.load {
        if let Err(reason) = load_version(shared, &folder, &source, *version) {
            problems.push(format!("version {version}: {reason}"));
        }
    }
    shared.catalog.update(name, |entry| {
        retire(entry, &choice);
        orders::report_pin(name, entry);
    });
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

/// Shows the versions to come as loading; one that serves goes on doing so.
fn expect(entry: &mut ModelEntry, choice: &Choice) {
    for version in &choice.load {
        if entry.versions.get(version).and_then(VersionEntry::handle).is_none() {
            entry.versions.insert(*version, VersionEntry::new(State::Loading));
        }
    }
}

fn load_version(
    shared: &Shared,
    folder: &ModelFolder,
    source: &Source,
    version: Version,
) -> Result<(), String> {
    let file = folder.versions.iter().find(|folder| folder.version == version);
    let file = file.ok_or("the version's folder is gone")?;
    let outcome = shared.loader.load(folder, source, file);
    let outcome = outcome.map(|served| {
        report(&served);
        ModelHandle(Arc::new(served))
    });
    shared.catalog.update(&folder.name, |entry| settle(entry, version, outcome))
}

fn settle(
    entry: &mut ModelEntry,
    version: Version,
    outcome: Result<ModelHandle, ModelFailure>,
) -> Result<(), String> {
    match outcome {
        Ok(handle) => {
            entry.versions.insert(version, VersionEntry::new(State::Ready(handle)));
            entry.state.serve();
            Ok(())
        }
        Err(failure) => {
            let reason = failure.details().to_owned();
            let found = entry.versions.get_mut(&version);
            match found {
                Some(found) if matches!(found.state, State::Ready(_)) => {
                    found.last_failure = Some(failure);
                }
                _ => {
                    entry.versions.insert(version, VersionEntry::new(State::Failed(failure)));
                }
            }
            Err(reason)
        }
    }
}

/// Lets go what is no longer chosen, unless nothing that is chosen serves: an old version is better
/// than none.
fn retire(entry: &mut ModelEntry, choice: &Choice) {
    let is_ready = |version| entry.versions.get(version).and_then(VersionEntry::handle).is_some();
    let replaced = choice.load.iter().any(is_ready);
    entry.versions.retain(|version, found| {
        if choice.load.contains(version) {
            return true;
        }
        match &found.state {
            State::Ready(_) => {
                if replaced {
                    found.let_go(State::Draining);
                }
                true
            }
            State::Draining(served) | State::Unloaded(served) => served.strong_count() > 0,
            State::Loading | State::Failed(_) => false,
        }
    });
}

fn report(served: &Served) {
    let batching = served.engine_spec.batching;
    tracing::info!(
        model.name = %served.name,
        model.version = served.version.0,
        device = %served.facts.device,
        %batching,
        form = %served.facts.form.chosen,
        gain = %format_args!("{:.2}", served.facts.form.gain()),
        duration_ms = u64::try_from(served.facts.load_duration.as_millis()).unwrap_or(u64::MAX),
        "model is ready"
    );
    if !batching.is_allowed() {
        tracing::warn!(
            model.name = %served.name,
            model.version = served.version.0,
            %batching,
            "requests are not put together: {}", batching.reason()
        );
    }
    if served.facts.padding_wanted && served.facts.padding.is_none() {
        tracing::warn!(
            model.name = %served.name,
            model.version = served.version.0,
            "inputs are not padded although model.toml says so: requests of different sizes are not put together"
        );
    }
    for note in &served.facts.notes {
        tracing::info!(model.name = %served.name, model.version = served.version.0, "{note}");
    }
}
