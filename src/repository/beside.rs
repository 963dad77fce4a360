//! The files beside a version that say what is expected of it (golden requests, a reference, sums), and a package.

use super::fingerprint::Stamp;
use super::layout::{ModelFolder, PACKAGE_FILE, SUMS_FILE, VersionFolder};
use std::ffi::OsString;
use std::fs;
use std::path::Path;

/// Maximum files of one folder that are looked at.
const MAX_FILES: usize = 1000;

/// Which they were, and what changes when one is written or replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Beside(Vec<(OsString, Stamp)>);

impl Beside {
    /// Those of a version; its model's folder has its own digest for what concerns all versions, but for those files.
    pub(super) fn of(version: &VersionFolder, folder: &ModelFolder) -> Self {
        let own = version.file.parent().unwrap_or(&folder.path);
        let mut files = Vec::new();
        add(own, &mut files);
        if own != folder.path {
            add(&folder.path, &mut files);
        }
        files.sort();
        Self(files)
    }
}

fn add(folder: &Path, files: &mut Vec<(OsString, Stamp)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.take(MAX_FILES).filter_map(Result::ok) {
        let name = entry.file_name();
        let end = Path::new(&name).extension();
        let is_text = end.is_some_and(|end| end == "json" || end == "jsonl");
        if !is_text && name != SUMS_FILE && name != PACKAGE_FILE {
            continue;
        }
        let Ok(found) = fs::metadata(entry.path()) else { continue };
        if found.is_file() {
            files.push((name, Stamp::of(&found)));
        }
    }
}
