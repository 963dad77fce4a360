//! A folder that holds one model and is named by whoever starts the server: `--model NAME=FOLDER`.
//!
//! Platforms mount a model without its name: as a plain file, as the versions of one model, or as
//! the single folder of an unpacked archive. The folder may come after the server.

use super::contents::{Contents, is_number, listed};
use super::folder::{MANIFEST_FILE, ModelFolder, VersionFolder};
use super::listing::{Listing, MAX_ENTRIES, Search};
use crate::inference::{ModelName, Version};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What such a folder may hold.
const EXPECTED: &str = "model.pt, 1/model.pt or one file *.pt";

/// A model's folder wherever it lies, written `name=folder`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedFolder {
    /// The model.
    pub name: ModelName,
    /// Its folder.
    pub path: PathBuf,
}

impl FromStr for NamedFolder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected \"name=folder\", got {text:?}");
        let (name, path) = text.split_once('=').ok_or_else(wrong)?;
        let name = name.trim().parse().map_err(|_| wrong())?;
        if path.is_empty() || path.contains('\0') {
            return Err(wrong());
        }
        Ok(Self { name, path: path.into() })
    }
}

impl fmt::Display for NamedFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.path.display())
    }
}

impl NamedFolder {
    /// Reads the folder. An archive's single top folder is looked through. A platform that is told
    /// of a single file puts that in the folder's place.
    pub(in super::super) fn read(&self) -> ModelFolder {
        if self.path.is_file() {
            let version = VersionFolder { version: Version(1), file: self.path.clone() };
            return ModelFolder {
                name: self.name.clone(),
                path: self.path.clone(),
                within: self.path.clone(),
                versions: vec![version],
                problem: None,
                ignored: Vec::new(),
            };
        }
        let outer = self.read_folder(&self.path);
        let inner = outer.versions.is_empty().then(|| only_folder(&self.path)).flatten();
        let inner = inner.map(|path| self.read_folder(&path));
        inner.filter(|folder| !folder.versions.is_empty()).unwrap_or(outer)
    }

    /// Reads the folder, or the one in it.
    fn read_folder(&self, path: &Path) -> ModelFolder {
        let name = &self.name;
        let contents = Contents::read(name.as_str(), path, &mut Search::new());
        let plain = (!contents.has_own_file()).then(|| only_file(&contents.files)).flatten();
        let plain = plain.or_else(|| contents.own_file().map(OsString::from));
        let mut folder = ModelFolder {
            name: name.clone(),
            path: path.to_owned(),
            within: self.path.clone(),
            versions: contents.versions.clone(),
            problem: None,
            ignored: Vec::new(),
        };
        match plain {
            Some(file) if folder.versions.is_empty() => {
                // A file without a version folder is the first version.
                folder.versions.push(VersionFolder { version: Version(1), file: path.join(file) });
            }
            Some(file) => folder.ignored.push(format!(
                "{name}/{} is not served: it lies beside version folders",
                file.to_string_lossy()
            )),
            None if folder.versions.is_empty() => folder.problem = Some(explain(&contents, path)),
            None => {}
        }
        folder.ignored.extend(contents.ignored());
        folder
    }

    /// Whether the folder is still to come: a mount that is not there yet, or not filled.
    pub(in super::super) fn is_to_come(&self) -> bool {
        match fs::read_dir(&self.path) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Whether a path leads to this folder.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let real = |path: &Path| path.canonicalize().ok();
        real(path).is_some_and(|path| real(&self.path) == Some(path))
    }
}

fn explain(contents: &Contents, path: &Path) -> String {
    if let Some(reason) = &contents.unreadable {
        return reason.clone();
    }
    if !path.exists() {
        return "its folder is not there".into();
    }
    let found = match (&*contents.files, &*contents.odd) {
        ([], []) => contents.stray.clone().unwrap_or_else(|| "nothing of the kind".into()),
        ([], odd) => odd.join("; "),
        (files, _) => listed(files),
    };
    format!("expected a folder with {EXPECTED}, found {found}")
}

/// The one file that is named like a model, if there is just one. A package beside it does not count.
fn only_file(files: &[OsString]) -> Option<OsString> {
    let only = |end: &str| {
        let is_model = |name: &&OsString| Path::new(name).extension().is_some_and(|it| it == end);
        let mut models = files.iter().filter(is_model);
        models.next().map(|first| models.next().is_none().then(|| first.clone()))
    };
    only("pt").or_else(|| only("pt2")).flatten()
}

/// The one folder in a folder that holds nothing else of a model.
fn only_folder(path: &Path) -> Option<PathBuf> {
    let listing = Listing::read(path, MAX_ENTRIES).ok()?;
    let [only] = &*listing.folders else { return None };
    let is_version = only.to_str().is_some_and(is_number);
    let is_model = is_version || !listing.files.is_empty() || path.join(MANIFEST_FILE).exists();
    (!is_model).then(|| path.join(only))
}
