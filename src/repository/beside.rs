//! The files beside a version that say what is expected of it: golden requests, a reference, sums.

use super::layout::{MODEL_FILE, ModelFolder, VersionFolder};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// Maximum files of one folder that are looked at.
const MAX_FILES: usize = 1000;

/// Which they were, and what changes when one is written or replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Beside(Vec<(OsString, u64, Option<SystemTime>, u64)>);

impl Beside {
    /// Those of a version; its model's folder has its own digest for what concerns all versions, but for those files.
    pub(super) fn of(version: &VersionFolder, folder: &ModelFolder) -> Self {
        let own = version.file.parent().unwrap_or(&folder.path);
        let mut files = Vec::new();
        add(own, version.file.file_name().is_some(), &mut files);
        if own != folder.path {
            add(&folder.path, false, &mut files);
        }
        files.sort();
        Self(files)
    }
}

fn add(folder: &Path, has_model: bool, files: &mut Vec<(OsString, u64, Option<SystemTime>, u64)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.take(MAX_FILES).filter_map(Result::ok) {
        let name = entry.file_name();
        let is_expectation =
            Path::new(&name).extension().is_some_and(|end| end == "json" || end == "jsonl")
                || name == "SHA256SUMS";
        if has_model && name == MODEL_FILE || !is_expectation {
            continue;
        }
        let Ok(found) = fs::metadata(entry.path()) else { continue };
        if found.is_file() {
            files.push((name, found.len(), found.modified().ok(), found.ino()));
        }
    }
}
