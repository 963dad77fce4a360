//! What is to be said of a model as it stands: what was wrong when its folder was read counts only for as long as it is so.

use super::entry::{ModelEntry, VersionEntry};
use super::failure::{FailureCode, ModelFailure};
use super::problem::{Problem, Problems};
use crate::inference::Version;

impl ModelEntry {
    /// Why there is no version to serve, or not the wanted ones.
    pub(super) fn problem(&self) -> Option<ModelFailure> {
        let Problems { found, available } = &self.problems;
        let found = found.iter().filter(|it| holds(it, self)).map(Problem::to_string);
        let folderless = available.iter().flat_map(|available| folderless(self, available));
        let all: Vec<_> = found.chain(folderless).collect();
        (!all.is_empty()).then(|| ModelFailure::new(FailureCode::Incomplete, all.join("\n")))
    }

    /// Whether nothing serves because an operator wanted it so, and nothing has gone wrong since.
    pub(super) fn is_unloaded_on_order(&self) -> bool {
        self.state.is_unloaded() && self.problem().is_none()
    }
}

/// Whether it is still so: a version may have been rejected, or let go, or serve by now.
fn holds(problem: &Problem, entry: &ModelEntry) -> bool {
    let Some(version) = problem.version else { return true };
    let found = entry.versions.get(&version);
    let digest = entry.intent.first_seen.get(&version.0);
    let is_unwanted = digest.is_some_and(|digest| entry.intent.rejected.contains_key(digest));
    found.is_some_and(|found| {
        let serves = found.handle().is_some();
        found.failure().is_some() && !is_rejected(found) && (serves || !is_unwanted)
    })
}

/// Whether a version does not serve because somebody wanted it so: that is no problem of the model.
pub(super) fn is_rejected(found: &VersionEntry) -> bool {
    let is_rejected = found.failure().is_some_and(|it| it.code() == FailureCode::Rejected);
    is_rejected && found.handle().is_none()
}

/// What operators or a roll-out want served and the folder does not hold.
fn folderless(entry: &ModelEntry, available: &[Version]) -> Vec<String> {
    let is_gone = |version: &Version| !available.contains(version);
    let ready = entry.versions.iter().filter(|(version, it)| is_gone(version) && it.is_healthy());
    let serves_on = ready.map(|(version, _)| {
        format!(
            "version {version} is not in the folder any more: it serves on, and not after a restart"
        )
    });
    let pin = entry.routing.default.map(|pin| pin.version);
    let pin = pin.filter(|pin| is_gone(pin) && entry.healthy_version(*pin).is_none());
    let unkept = pin.map(|pin| format!("version {pin} was set as the default and is not there"));
    let labels = entry.routing.labels.iter();
    let labels = labels.filter(|(_, it)| is_gone(it) && entry.healthy_version(**it).is_none());
    let nothing = labels
        .map(|(label, it)| format!("the label {label:?} names version {it}, which is not there"));
    serves_on.chain(unkept).chain(nothing).collect()
}
