//! Models that come from a store: their mirror, and the repository that reads it.

use super::AppError;
use crate::config::Config;
use crate::repository::{Repository, VersionState, VersionStatus};
use crate::store::{self, Mirror};
use crate::telemetry::events::{EventKind, Events, Subject};
use crate::telemetry::{Metrics, families};
use std::time::Duration;

/// How long an order waits for what the store has by now.
const LOOK_PATIENCE: Duration = Duration::from_secs(30);

/// Keeps the models of the store that the configuration names in a folder, for as long as what is returned lives. Waits until
/// there is something to serve, the store turns out to be away, or the patience is over.
///
/// # Errors
///
/// The store cannot be used. That it is away is none.
pub fn mirror(config: &Config, patience: Duration) -> Result<Option<Mirror>, AppError> {
    let Some(options) = config.mirror_options() else { return Ok(None) };
    let mirror = Mirror::start(options)?;
    mirror.wait(patience);
    Ok(Some(mirror))
}

/// Joins a mirror and the repository that reads its folder.
pub(super) fn join(mirror: &Mirror, repository: &Repository, metrics: &Metrics, events: Events) {
    let reading = mirror.clone();
    repository.hold_readiness(move || reading.not_yet());
    let looking = mirror.clone();
    repository.look_first(move || looking.look(LOOK_PATIENCE));
    let using = repository.clone();
    mirror.tell_use(Box::new(move || versions_in_use(&using)));
    mirror.tell_problems(Box::new(move |problem| {
        let (kind, text) = match problem {
            Some(problem) => (EventKind::StoreProblem, problem),
            None => (EventKind::StoreRecovered, "models are as in the store again"),
        };
        events.add(kind, Subject::default(), text);
    }));
    for outcome in store::SyncOutcome::ALL {
        let mirror = mirror.clone();
        let syncs = move || mirror.syncs(outcome);
        metrics.read_at_scrape(&families::STORE_SYNCS, &[outcome.as_str()], syncs);
    }
    let reading = mirror.clone();
    let bytes = move || reading.downloaded_bytes();
    metrics.read_at_scrape(&families::STORE_DOWNLOADED_BYTES, &[], bytes);
    let reading = mirror.clone();
    metrics.read_at_scrape(&families::STORE_LAST_SUCCESS, &[], move || reading.last_success());
}

/// What serves or is about to; `None` while a model is changing, when that is not settled.
fn versions_in_use(repository: &Repository) -> Option<Vec<(String, u64)>> {
    let mut in_use = Vec::new();
    for model in repository.list() {
        if model.busy {
            return None;
        }
        let is_needed = |it: &&VersionStatus| it.state != VersionState::Unloaded;
        let needed = model.versions.iter().filter(is_needed);
        in_use.extend(needed.map(|it| (model.name.as_str().to_owned(), it.version.0)));
    }
    Some(in_use)
}
