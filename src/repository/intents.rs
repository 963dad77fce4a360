//! What operators and roll-outs decided about a model, kept over restarts: one small file a model, named like it.
//!
//! What cannot be read counts as not decided, with a warning: a model serves its highest version rather than none. A
//! folder that cannot be written does not keep an operator from going back to a good version; what was decided then holds
//! until the process ends, and the answer says so.

use super::state_file;
use crate::inference::{ModelName, Version, VersionLabel};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Longest file.
const MAX_BYTES: u64 = 4 << 20;
/// Longest reason of a rejection, in bytes: a thousand of them fit into the file.
const MAX_REASON: usize = 1024;
/// Maximum rejections and first sights of a model; the oldest versions go first.
const MAX_DIGESTS: usize = 1000;
/// Maximum labels of a model.
pub(super) const MAX_LABELS: usize = 100;

/// What was decided about a model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Intent {
    /// The version that an operator made the default.
    pub(super) default: Option<u64>,
    /// Names for versions.
    pub(super) labels: BTreeMap<String, u64>,
    /// SHA-256 of model files that are not served any more, with the reason.
    pub(super) rejected: BTreeMap<String, Rejection>,
    /// SHA-256 of the model file that was first seen of each version.
    pub(super) first_seen: BTreeMap<u64, String>,
    /// A roll-out under way.
    pub(super) rollout: Option<RolloutIntent>,
    /// The version that answered by default when it was last settled, where new versions take over by and by: after a restart
    /// a newer one begins beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) served: Option<u64>,
}

/// Why a file is not served any more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Rejection {
    /// The version that it was.
    pub(super) version: u64,
    /// Why.
    pub(super) reason: String,
}

/// How far a roll-out has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RolloutIntent {
    pub(super) stable: u64,
    pub(super) candidate: u64,
    /// The step of the plan, from 0.
    pub(super) step: usize,
    /// The new version's share, from 0 to 1.
    pub(super) weight: f64,
    /// Whether an operator chose it.
    #[serde(default)]
    pub(super) manual: bool,
    /// Whether an operator began it: model.toml may know of no roll-outs.
    #[serde(default)]
    pub(super) by_hand: bool,
}

impl Intent {
    /// The labels that are labels.
    pub(super) fn labels(&self) -> BTreeMap<VersionLabel, Version> {
        let parsed = self.labels.iter().take(MAX_LABELS);
        parsed
            .filter_map(|(label, version)| Some((label.parse().ok()?, Version(*version))))
            .collect()
    }

    /// Whether this version is the new one of a roll-out.
    pub(super) fn rolls_out(&self, version: Version) -> bool {
        self.rollout.as_ref().is_some_and(|rollout| rollout.candidate == version.0)
    }

    /// Notes which file a version is; the digest that it had before, when that was another one.
    pub(super) fn see(&mut self, version: Version, digest: &str) -> Option<String> {
        let before = self.first_seen.insert(version.0, digest.to_owned());
        while self.first_seen.len() > MAX_DIGESTS {
            self.first_seen.pop_first();
        }
        before.filter(|before| before != digest)
    }

    pub(super) fn reject(&mut self, version: Version, digest: &str, reason: &str) {
        let reason = &reason[..reason.floor_char_boundary(MAX_REASON)];
        let rejection = Rejection { version: version.0, reason: reason.to_owned() };
        self.rejected.insert(digest.to_owned(), rejection);
        while self.rejected.len() > MAX_DIGESTS {
            // Not the one that was just rejected, whatever its number.
            let others = self.rejected.iter().filter(|(it, _)| *it != digest);
            let oldest = others.min_by_key(|(_, it)| it.version);
            let Some(digest) = oldest.map(|(digest, _)| digest.clone()) else { break };
            self.rejected.remove(&digest);
        }
    }
}

/// The folder of what was decided.
#[derive(Debug)]
pub(super) struct Intents {
    folder: Option<PathBuf>,
    is_written: bool,
}

impl Intents {
    /// Below `state_dir`; without one, or where nothing is written, decisions hold until the process ends.
    pub(super) fn new(state_dir: Option<&Path>, is_written: bool) -> Self {
        let folder = state_dir.map(|path| path.join("models"));
        if let Some(folder) = folder.as_ref().filter(|_| is_written) {
            state_file::remove_drafts(folder);
        }
        Self { folder, is_written }
    }

    /// What was decided before this process.
    ///
    /// # Errors
    ///
    /// It cannot be read, and counts as not decided. The file is put aside, so that it can be repaired.
    pub(super) fn read(&self, name: &ModelName) -> Result<Intent, String> {
        let Some(path) = self.folder.as_ref().map(|folder| folder.join(file_name(name))) else {
            return Ok(Intent::default());
        };
        let text = match state_file::read(&path, MAX_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Intent::default()),
            read => read,
        };
        text.and_then(|text| Ok(serde_json::from_str(&text)?)).map_err(|error| {
            let aside = path.with_extension("json.unreadable");
            let is_aside = self.is_written && fs::rename(&path, &aside).is_ok();
            let lies = if is_aside { aside.display() } else { path.display() };
            format!("what was decided about the model cannot be read, and counts as not decided: {error} ({lies})")
        })
    }

    /// Whether anything is to be written down.
    pub(super) fn are_kept(&self) -> bool {
        self.is_written && self.folder.is_some()
    }

    /// Writes down what is decided; whether that was possible.
    pub(super) fn write(&self, name: &ModelName, intent: &Intent) -> bool {
        let Some(folder) = self.folder.as_ref().filter(|_| self.is_written) else { return false };
        let written = if *intent == Intent::default() {
            remove(&folder.join(file_name(name)))
        } else {
            let text = serde_json::to_vec_pretty(intent).map_err(io::Error::from);
            text.and_then(|text| state_file::write(folder, &file_name(name), &text))
        };
        if let Err(error) = &written {
            let folder = folder.display();
            tracing::error!(
                model.name = %name, %folder, %error,
                "what was decided cannot be written down, so it holds until the next restart only"
            );
        }
        written.is_ok()
    }
}

/// A name may be as long as a file name may be without an ending; a model's name is shorter.
fn file_name(name: &ModelName) -> String {
    format!("{name}.json")
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided() -> Intent {
        let mut intent = Intent { default: Some(7), ..Intent::default() };
        intent.labels.insert("prod".into(), 7);
        intent.reject(Version(8), "ab", "too slow");
        intent.rollout = Some(RolloutIntent {
            stable: 7,
            candidate: 9,
            step: 1,
            weight: 0.25,
            manual: false,
            by_hand: true,
        });
        intent
    }

    #[test]
    fn decisions_outlive_the_process_and_garbage_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let name = "m".parse().unwrap();
        // Of a process that is gone, and of one that is there.
        let drafts = [
            folder.path().join("models/m.json.4194305.tmp"),
            folder.path().join(format!("models/m.json.{}.tmp", std::process::id())),
        ];
        fs::create_dir_all(folder.path().join("models")).unwrap();
        drafts.iter().for_each(|draft| fs::write(draft, "{").unwrap());
        let intents = Intents::new(Some(folder.path()), true);
        assert_eq!(drafts.map(|draft| draft.exists()), [false, true]);
        assert_eq!(intents.read(&name), Ok(Intent::default()));
        assert!(intents.write(&name, &decided()));
        assert_eq!(Intents::new(Some(folder.path()), true).read(&name), Ok(decided()));
        let file = folder.path().join("models/m.json");
        let whole = fs::read_to_string(&file).unwrap();
        for garbage in ["", "x", "{\"default\": -1}", "7", &whole[..whole.len() / 2]] {
            fs::write(&file, garbage).unwrap();
            assert!(intents.read(&name).is_err(), "{garbage:?}");
            let aside = folder.path().join("models/m.json.unreadable");
            assert_eq!(fs::read_to_string(aside).unwrap(), garbage, "it can be repaired");
            assert_eq!(intents.read(&name), Ok(Intent::default()));
        }
        assert!(intents.write(&name, &Intent::default()));
        assert!(!file.exists(), "nothing decided needs no file");
        assert!(intents.write(&name, &Intent::default()), "nothing to take away is no failure");
    }

    #[test]
    fn a_tool_reads_what_was_decided_and_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let name = "m".parse().unwrap();
        assert!(Intents::new(Some(folder.path()), true).write(&name, &decided()));
        let tool = Intents::new(Some(folder.path()), false);
        assert!(!tool.write(&name, &Intent::default()));
        assert_eq!(tool.read(&name), Ok(decided()));
    }

    #[test]
    fn what_cannot_be_written_says_so() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("models"), "in the way").unwrap();
        for state_dir in [Some(folder.path()), None] {
            assert!(!Intents::new(state_dir, true).write(&"m".parse().unwrap(), &decided()));
        }
    }

    #[test]
    fn what_was_rejected_last_is_kept() {
        let mut intent = Intent::default();
        for version in (0..=MAX_DIGESTS as u64).rev() {
            intent.reject(Version(version), &format!("{version}"), "r");
            assert!(intent.rejected.contains_key(&format!("{version}")));
        }
        assert_eq!(intent.rejected.len(), MAX_DIGESTS);
    }

    #[test]
    fn another_file_under_the_same_number_is_noticed() {
        let mut intent = Intent::default();
        assert_eq!(intent.see(Version(1), "aa"), None);
        assert_eq!(intent.see(Version(1), "aa"), None);
        assert_eq!(intent.see(Version(1), "bb"), Some("aa".into()));
        for version in 0..2000 {
            intent.see(Version(version), "cc");
            intent.reject(Version(version), &format!("{version}"), "r");
        }
        assert_eq!((intent.first_seen.len(), intent.rejected.len()), (MAX_DIGESTS, MAX_DIGESTS));
    }
}
