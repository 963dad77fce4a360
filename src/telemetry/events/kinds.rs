//! The kinds of events, and what each says: the table of `docs/models.md`.

use serde::{Deserialize, Serialize};

/// Declares the kinds, each with its name and what it says.
macro_rules! kinds {
    ($($(#[doc = $help:literal])+ $Kind:ident = $name:literal;)+) => {
        /// What kind of event it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub enum EventKind {
            $($(#[doc = $help])+ #[serde(rename = $name)] $Kind,)+
        }

        impl EventKind {
            /// Every kind, in the order of the page that documents them.
            pub const ALL: &'static [Self] = &[$(Self::$Kind,)+];

            /// Its name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$Kind => $name,)+ }
            }

            /// What it says, in a sentence.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$Kind => concat!($($help),+).trim_ascii(),)+ }
            }
        }
    };
}

kinds! {
    /// The server began; what it served before ended with the process before.
    ServerStarted = "server_started";
    /// A version is ready and takes requests.
    VersionReady = "version_ready";
    /// A version could not be loaded, or not be verified; what served before goes on.
    VersionFailed = "version_failed";
    /// A version takes no more requests; it finishes those that it has.
    VersionDraining = "version_draining";
    /// The model as a whole is not as wanted: no folder, a faulty model.toml, a version that is asked for and not there, decisions that cannot be written down.
    ModelProblem = "model_problem";
    /// An operator let the whole model go.
    ModelUnloaded = "model_unloaded";
    /// Files of a model changed, came or went; what they hold is loaded now.
    FilesChanged = "files_changed";
    /// A version's file is not the one that was first seen under this number.
    FileReplaced = "file_replaced";
    /// A version was made the default by an operator.
    DefaultSet = "default_set";
    /// The highest version that is ready is the default again.
    DefaultCleared = "default_cleared";
    /// A label names another version now.
    LabelSet = "label_set";
    /// A label names nothing any more.
    LabelRemoved = "label_removed";
    /// A version was rejected: its file is not served again until somebody takes that back.
    VersionRejected = "version_rejected";
    /// The rejection of a version was taken back.
    RejectionRemoved = "rejection_removed";
    /// A new version came up beside the one that serves and gets its first share, or a copy of requests.
    RolloutStarted = "rollout_started";
    /// The share of the new version changed.
    RolloutStep = "rollout_step";
    /// The rules have an opinion that an operator has to carry out.
    RolloutAdvice = "rollout_advice";
    /// The new version serves alone.
    RolloutPromoted = "rollout_promoted";
    /// The old version serves alone; unless it was let go or is not there any more, the new one is rejected.
    RolloutRolledBack = "rollout_rolled_back";
    /// A feature of a model's requests moved away from its reference, beyond what chance does.
    DriftFound = "drift_found";
    /// It is back.
    DriftEnded = "drift_ended";
    /// Requests cannot be captured: the disk is full, or the folder cannot be written; or the sink does not take them.
    CaptureProblem = "capture_problem";
    /// Something is wrong with the folder or the store that models come from; what is here serves on.
    StoreProblem = "store_problem";
    /// Models are as in the store again, or the folder can be read again.
    StoreRecovered = "store_recovered";
    /// The configuration was read again: what changed, and what needs a restart.
    ConfigurationReloaded = "configuration_reloaded";
    /// The configuration was read again and is faulty: nothing changed.
    ConfigurationRefused = "configuration_refused";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_kind_and_no_other() {
        let page = include_str!("../../../docs/models.md");
        let (_, table) = page.split_once("| event | what it says |\n|---|---|\n").unwrap();
        let found: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).collect();
        let row = |kind: &EventKind| format!("| `{}` | {} |", kind.as_str(), kind.help());
        assert_eq!(found, EventKind::ALL.iter().map(row).collect::<Vec<_>>());
    }

    #[test]
    fn kinds_are_told_by_their_names() {
        let text = serde_json::to_string(&EventKind::RolloutRolledBack).unwrap();
        assert_eq!(text, format!("{:?}", EventKind::RolloutRolledBack.as_str()));
        assert!(EventKind::ALL.iter().all(|kind| kind.help().ends_with('.')));
    }
}
