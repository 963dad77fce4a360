//! What is known about the files of the mirror, kept beside them, so that nothing is downloaded twice.

use super::error::StoreError;
use super::folders::{disk, write_whole};
use super::listing::Object;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Largest index that is read, in bytes: three times what the most objects of a listing make.
const MAX_BYTES: u64 = 128 << 20;

/// A file that was brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) identity: String,
    pub(super) size: u64,
    pub(super) sha256: String,
    /// When the file here was written, in nanoseconds since 1970: by anybody else it has another time.
    pub(super) modified: i64,
}

/// See the file's head.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Index {
    /// By path below the models folder.
    pub(super) files: BTreeMap<String, Entry>,
    /// When a version was needed last, in seconds since 1970.
    pub(super) used: BTreeMap<String, u64>,
    #[serde(skip)]
    is_changed: bool,
}

impl Index {
    /// Reads it. Without one that can be read everything is downloaded anew.
    pub(super) fn load(path: &Path) -> Self {
        let is_small = fs::metadata(path).is_ok_and(|file| file.len() <= MAX_BYTES);
        let text = if is_small { fs::read(path).unwrap_or_default() } else { Vec::new() };
        serde_json::from_slice(&text).unwrap_or_else(|error| {
            if !text.is_empty() {
                tracing::warn!(%error, path = %path.display(), "the index of the store's files cannot be read");
            }
            Self::default()
        })
    }

    /// Writes it whole, if there is anything new.
    pub(super) fn save(&mut self, path: &Path) -> Result<(), StoreError> {
        if !self.is_changed {
            return Ok(());
        }
        let text = serde_json::to_vec(self).map_err(|error| disk(path)(error.into()))?;
        write_whole(path, &text)?;
        self.is_changed = false;
        Ok(())
    }

    /// The entry of an object, if the file here is what the object is now.
    pub(super) fn fitting(&self, object: &Object, here: &Path) -> Option<&Entry> {
        let entry = self.files.get(&object.key)?;
        let is_same = entry.identity == object.identity && entry.size == object.size;
        let file = fs::symlink_metadata(here).ok().filter(Metadata::is_file)?;
        let is_ours = file.len() == entry.size && modified(&file) == entry.modified;
        (is_same && is_ours).then_some(entry)
    }

    pub(super) fn set(&mut self, key: &str, entry: Entry) {
        self.files.insert(key.to_owned(), entry);
        self.is_changed = true;
    }

    /// Forgets files that `keep` does not know.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let before = self.files.len() + self.used.len();
        self.files.retain(|key, _| keep(key));
        self.used.retain(|label, _| keep(label));
        self.is_changed |= self.files.len() + self.used.len() != before;
    }

    pub(super) fn set_used(&mut self, label: String, at: u64) {
        if self.used.get(&label) != Some(&at) {
            self.used.insert(label, at);
            self.is_changed = true;
        }
    }
}

/// When a file was written.
pub(super) fn modified(file: &Metadata) -> i64 {
    file.mtime().saturating_mul(1_000_000_000).saturating_add(file.mtime_nsec())
}

/// Where the index lies.
pub(super) fn path(root: &Path) -> PathBuf {
    root.join("index.json")
}
