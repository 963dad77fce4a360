//! Changes of state: the first load of all models, and the reload of one.
//!
//! One transition of a model at a time. The new version comes up beside the old one; only when it
//! is warm does the catalog's handle change, in one step, and what is no longer chosen drains.

use super::Shared;
use super::catalog::{Catalog, Entry, Slot, State};
use super::error::RepositoryError;
use super::layout::{self, ModelFolder};
use super::orders;
use super::policy::{self, Choice};
use super::served::{ModelHandle, Served};
use super::source::Source;
use super::status;
use crate::inference::{ModelName, Version};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Marks a model as being loaded or changed, until dropped.
pub(super) struct Busy<'a> {
    catalog: &'a Catalog,
    name: &'a ModelName,
}

impl<'a> Busy<'a> {
    /// Marks a model that the catalog has.
    pub(super) fn begin(
        catalog: &'a Catalog,
        name: &'a ModelName,
    ) -> Result<Self, RepositoryError> {
        if catalog.is_closed() {
            return Err(RepositoryError::Draining);
        }
        if !catalog.snapshot().contains_key(name) {
            return Err(RepositoryError::NotFound(name.clone()));
        }
        Self::mark(catalog, name)
    }

    fn mark(catalog: &'a Catalog, name: &'a ModelName) -> Result<Self, RepositoryError> {
        if catalog.update(name, |entry| std::mem::replace(&mut entry.busy, true)) {
            return Err(RepositoryError::Busy(name.clone()));
        }
        Ok(Self { catalog, name })
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.catalog.update(self.name, |entry| {
            entry.busy = false;
            entry.settled = true;
        });
    }
}

/// Loads every model that the catalog has, those first that readiness waits for.
pub(super) fn load_all(shared: &Shared) {
    let models = shared.catalog.snapshot();
    let mut names: Vec<_> = models.iter().map(|(name, entry)| (!entry.required, name)).collect();
    names.sort();
    for (_, name) in names {
        if shared.catalog.is_closed() {
            return;
        }
        let busy = Busy { catalog: &shared.catalog, name };
        // Whoever asks for the outcome reads it from the catalog.
        let _ = load_model(shared, name);
        drop(busy);
    }
    let readiness = status::readiness(&shared.catalog);
    if readiness.ready {
        tracing::info!("every required model is ready");
    } else {
        let waiting_for = readiness.waiting_for;
        tracing::error!(
            ?waiting_for,
            "required models could not be loaded, so the server is not ready"
        );
    }
}

/// Loads one model of a catalog that nobody else loads.
pub(super) fn load_alone(shared: &Shared, name: &ModelName) -> Result<(), RepositoryError> {
    let catalog = &shared.catalog;
    if !catalog.snapshot().contains_key(name) {
        return Err(RepositoryError::NotFound(name.clone()));
    }
    let busy = Busy { catalog, name };
    let outcome = load_model(shared, name);
    drop(busy);
    outcome.map_err(|reason| RepositoryError::Failed { model: name.clone(), reason })
}

/// Loads one model anew.
pub(super) fn reload(shared: &Shared, name: &ModelName) -> Result<(), RepositoryError> {
    let catalog = &shared.catalog;
    if catalog.is_closed() {
        return Err(RepositoryError::Draining);
    }
    let is_known = catalog.snapshot().contains_key(name);
    if !is_known && layout::find(&shared.workshop.options.models, name).is_none() {
        return Err(RepositoryError::NotFound(name.clone()));
    }
    let busy = Busy::mark(catalog, name)?;
    let outcome = load_model(shared, name);
    drop(busy);
    outcome.map_err(|reason| RepositoryError::Failed { model: name.clone(), reason })
}

fn load_model(shared: &Shared, name: &ModelName) -> Result<(), String> {
    let loaded = catch_unwind(AssertUnwindSafe(|| try_load_model(shared, name)));
    let loaded = loaded.unwrap_or_else(|_| Err("loading the model panicked".into()));
    shared.catalog.update(name, |entry| {
        entry.problem = loaded.as_ref().err().cloned();
        // A panic leaves versions behind that nobody is loading.
        for slot in entry.versions.values_mut() {
            if matches!(slot.state, State::Loading) {
                *slot = Slot::new(State::Failed("loading the model was given up".into()));
            }
        }
    });
    if let Err(reason) = &loaded {
        tracing::error!(model.name = %name, reason, "model could not be loaded");
    }
    loaded
}

fn try_load_model(shared: &Shared, name: &ModelName) -> Result<(), String> {
    let found = layout::find(&shared.workshop.options.models, name);
    let (folder, ignored) = found.ok_or("the model's folder is gone")?;
    for sentence in ignored {
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
        entry.required = entry.at_start && source.is_required();
        if !entry.settled {
            entry.pin = shared.workshop.pins.read(name);
        }
        // The default comes first, so that no other answers in its place while the model comes up.
        choice.load.sort_by_key(|version| entry.pin.is_none_or(|pin| pin.version != *version));
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
fn expect(entry: &mut Entry, choice: &Choice) {
    for version in &choice.load {
        if entry.versions.get(version).and_then(Slot::handle).is_none() {
            entry.versions.insert(*version, Slot::new(State::Loading));
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
    let outcome = shared.workshop.load(folder, source, file);
    let outcome = outcome.map(|served| {
        report(&served);
        ModelHandle(Arc::new(served))
    });
    shared.catalog.update(&folder.name, |entry| settle(entry, version, outcome))
}

fn settle(
    entry: &mut Entry,
    version: Version,
    outcome: Result<ModelHandle, String>,
) -> Result<(), String> {
    match outcome {
        Ok(handle) => {
            entry.versions.insert(version, Slot::new(State::Ready(handle)));
            entry.unloaded = false;
            Ok(())
        }
        Err(reason) => {
            let slot = entry.versions.get_mut(&version);
            match slot {
                Some(slot) if matches!(slot.state, State::Ready(_)) => {
                    slot.last_failure = Some(reason.clone());
                }
                _ => {
                    entry.versions.insert(version, Slot::new(State::Failed(reason.clone())));
                }
            }
            Err(reason)
        }
    }
}

/// Lets go what is no longer chosen, unless nothing that is chosen serves: an old version is better
/// than none.
fn retire(entry: &mut Entry, choice: &Choice) {
    let is_ready = |version| entry.versions.get(version).and_then(Slot::handle).is_some();
    let replaced = choice.load.iter().any(is_ready);
    entry.versions.retain(|version, slot| {
        if choice.load.contains(version) {
            return true;
        }
        match &slot.state {
            State::Ready(_) => {
                if replaced {
                    slot.let_go(State::Draining);
                }
                true
            }
            State::Draining(served) | State::Unloaded(served) => served.strong_count() > 0,
            State::Loading | State::Failed(_) => false,
        }
    });
}

fn report(served: &Served) {
    let batching = served.spec.batching;
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
