//! What a model's folder holds: its versions, and what looks like one and is none.

use super::folder::{MANIFEST_FILE, MODEL_FILE, PACKAGE_FILE, VersionFolder};
use super::listing::{Found, Listing, MAX_ENTRIES, Search, is_of_torch, shown};
use super::words::UNREADABLE;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::Path;

/// Maximum names in a sentence.
const MAX_LISTED: usize = 3;

/// A folder of a model, or of something else.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Versions that have a model file, lowest first.
    pub(super) versions: Vec<VersionFolder>,
    /// A sentence for each folder that was meant to be a version, by what lies in it, and is none.
    pub(super) odd: Vec<String>,
    /// A sentence for each folder that may have been, if this is a model at all.
    pub(super) idle: Vec<String>,
    /// Model files in the folder itself.
    pub(super) files: Vec<OsString>,
    /// Where else a file lies that may be a model, with the folder in front.
    pub(super) stray: Option<String>,
    pub(super) has_manifest: bool,
    /// Why the folder cannot be read.
    pub(super) unreadable: Option<String>,
}

impl Contents {
    /// Reads a folder. `label` is how messages call it.
    pub(super) fn read(label: &str, path: &Path, search: &mut Search) -> Self {
        let listing = match Listing::read(path, MAX_ENTRIES) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::default(),
            Err(error) => {
                let unreadable = Some(format!("{UNREADABLE}: {error}"));
                return Self { unreadable, ..Self::default() };
            }
        };
        let mut contents = Self {
            has_manifest: path.join(MANIFEST_FILE).exists(),
            files: listing.files,
            ..Self::default()
        };
        for name in &listing.folders {
            match name.to_str().filter(|name| is_number(name)) {
                Some(number) => contents.add_version(label, path, number, search),
                None => contents.add_other(label, path, name, search),
            }
        }
        if listing.is_cut {
            let sentence =
                format!("folder {label} has more than {MAX_ENTRIES} entries, the rest is not read");
            contents.idle.push(sentence);
        }
        contents.versions.sort_by_key(|folder| folder.version);
        contents
    }

    fn add_version(&mut self, label: &str, path: &Path, number: &str, search: &mut Search) {
        let folder = path.join(number);
        let file = [MODEL_FILE, PACKAGE_FILE].map(|name| folder.join(name));
        let file = file.into_iter().find(|file| !is_absent(file));
        let refused = |why: &str| format!("folder {label}/{number} is not served: {why}");
        // A link that leads nowhere and a folder that may not be entered count as files here:
        // loading reports what is wrong with them.
        if let Some(file) = file {
            match number.parse() {
                Ok(version) => self.versions.push(VersionFolder { version, file }),
                Err(_) => self
                    .odd
                    .push(refused("a version is written without leading zeros and fits 64 bits")),
            }
            return;
        }
        match search.look(&folder) {
            Some(Found::Model(name)) => self.odd.push(refused(&wrong_name(&[name]))),
            // One file is a model under another name, many are something else.
            Some(Found::Files(names)) => match &*names {
                [only] if is_of_torch(only) => self.odd.push(refused(&wrong_name(&names))),
                [only] => {
                    self.idle.push(refused(&wrong_name(&names)));
                    self.stray.get_or_insert(format!("{number}/{}", shown(only)));
                }
                _ => {
                    self.idle.push(refused(&wrong_name(&names)));
                    self.stray.get_or_insert_with(|| format!("{number}/{}", listed(&names)));
                }
            },
            Some(Found::Deeper(inner)) => {
                let sentence = too_deep(label, OsStr::new(number), &inner);
                let is_version = inner.to_str().is_some_and(is_number);
                if is_version { &mut self.odd } else { &mut self.idle }.push(sentence);
            }
            None => self.idle.push(refused(&format!("it has no {MODEL_FILE}"))),
        }
    }

    fn add_other(&mut self, label: &str, path: &Path, name: &OsStr, search: &mut Search) {
        match search.look(&path.join(name)) {
            Some(Found::Model(_)) => self.odd.push(format!(
                "folder {label}/{} is not served: a version is a whole number without leading zeros, as in {label}/1",
                shown(name)
            )),
            // So deep lie copies of models, too, that nobody wants served.
            Some(Found::Deeper(inner)) => {
                self.idle.push(too_deep(label, name, &inner));
                let file = format!("{}/{}/{MODEL_FILE}", shown(name), shown(&inner));
                self.stray.get_or_insert(file);
            }
            Some(Found::Files(names)) => {
                let file = names.first().map(|file| shown(file)).unwrap_or_default();
                self.stray.get_or_insert_with(|| format!("{}/{file}", shown(name)));
            }
            None => {}
        }
    }

    /// Whether somebody meant this folder to be a model. Others (scripts, documents, logs) may lie
    /// among the models without a word. Hiding a folder that cannot be read would be worse than
    /// reporting it.
    pub(super) fn is_model(&self) -> bool {
        self.has_manifest
            || self.has_own_file()
            || !self.versions.is_empty()
            || !self.odd.is_empty()
            || self.unreadable.is_some()
    }

    /// Whether a model file lies in the folder itself and nothing beside it makes it a model.
    pub(super) fn is_version(&self) -> bool {
        self.has_own_file() && self.versions.is_empty() && self.odd.is_empty() && !self.has_manifest
    }

    pub(super) fn has_own_file(&self) -> bool {
        self.own_file().is_some()
    }

    /// The model file in the folder itself.
    pub(super) fn own_file(&self) -> Option<&'static str> {
        let is_there = |file: &&str| self.files.iter().any(|name| name == file);
        [MODEL_FILE, PACKAGE_FILE].into_iter().find(is_there)
    }

    /// Files of a folder that is no model, which may have been meant as one.
    pub(super) fn hint(&self) -> Option<String> {
        let own = (!self.files.is_empty()).then(|| listed(&self.files));
        own.or_else(|| self.stray.clone())
    }

    /// Why a folder without a version serves nothing.
    pub(super) fn explain_nothing(&self, label: &str) -> String {
        if let Some(reason) = &self.unreadable {
            return reason.clone();
        }
        if let Some(file) = self.own_file() {
            return format!(
                "{file} lies in the model's own folder; move it into a version folder: {label}/1/{file}"
            );
        }
        if !self.odd.is_empty() {
            return self.odd.join("; ");
        }
        let found = self.hint().map(|found| format!(", {found} is none")).unwrap_or_default();
        format!("no version folder holds a {MODEL_FILE}; expected {label}/1/{MODEL_FILE}{found}")
    }

    /// Everything beside the versions, for a model that has some.
    pub(super) fn ignored(self) -> Vec<String> {
        [self.odd, self.idle].concat()
    }
}

fn wrong_name(names: &[OsString]) -> String {
    format!("it holds {}, expected {MODEL_FILE}", listed(names))
}

fn too_deep(label: &str, outer: &OsStr, inner: &OsStr) -> String {
    let outer = shown(outer);
    format!(
        "folder {label}/{outer} is not served: {outer}/{}/{MODEL_FILE} lies too deep, expected {label}/1/{MODEL_FILE}",
        shown(inner)
    )
}

/// The first few names.
pub(super) fn listed(names: &[OsString]) -> String {
    let mut text: Vec<_> = names.iter().take(MAX_LISTED).map(|name| shown(name)).collect();
    if let Some(more) = names.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
        text.push(format!("{more} more"));
    }
    text.join(", ")
}

fn is_absent(file: &Path) -> bool {
    fs::symlink_metadata(file).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

pub(super) fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}
