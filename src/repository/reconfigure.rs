//! Other options for a repository that serves, and what follows from them.
//!
//! A model that is named no more goes, unless the models folder has one of its name. Where other defaults hold, what serves is
//! loaded anew beside itself, so that no request notices.

use super::busy::Busy;
use super::error::RepositoryError;
use super::found::find;
use super::layout::NamedFolder;
use super::live::LiveOptions;
use super::orders::let_all_go;
use super::shared::Shared;
use super::transition::refresh;
use crate::inference::ModelName;
use crate::telemetry::events::EventKind;
use std::collections::BTreeSet;
use std::time::Duration;

/// How often a model is asked for that is being loaded or changed.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// Has other options hold, and what follows from that done.
pub(super) fn change(shared: &Shared, options: LiveOptions) {
    let live = &shared.options().live;
    let old = live.now();
    live.set(options);
    let new = live.now();
    for NamedFolder { name, .. } in &old.named {
        let is_named = new.named.iter().any(|named| named.name == *name);
        if !is_named && find(shared, name).is_none() {
            when_idle(shared, || remove(shared, name));
        }
    }
    let mut names: BTreeSet<ModelName> = BTreeSet::new();
    if old.defaults != new.defaults {
        names.extend(shared.catalog.snapshot().keys().cloned());
    }
    let is_new = |named: &&NamedFolder| !old.named.contains(named);
    names.extend(new.named.iter().filter(is_new).map(|named| named.name.clone()));
    for name in &names {
        let models = shared.catalog.snapshot();
        // What an operator let go stays away.
        if !models.get(name).is_some_and(|entry| entry.state.is_unloaded()) {
            when_idle(shared, || refresh(shared, name));
        }
    }
}

/// Lets a model go and forgets it.
fn remove(shared: &Shared, name: &ModelName) -> Result<(), RepositoryError> {
    let busy = Busy::begin(&shared.catalog, name)?;
    shared.catalog.update(name, let_all_go);
    busy.forget();
    let text = "the configuration does not name it any more";
    tracing::info!(model.name = %name, "{text}");
    shared.tell(EventKind::ModelUnloaded, name, None, text);
    Ok(())
}

/// Waits until nothing else changes the model; that has its own limits of time. What comes of it stands with the model.
fn when_idle(shared: &Shared, change: impl Fn() -> Result<(), RepositoryError>) {
    while let Err(RepositoryError::Busy(_)) = change() {
        if shared.catalog.is_closed() {
            return;
        }
        std::thread::sleep(ASK_AGAIN);
    }
}
