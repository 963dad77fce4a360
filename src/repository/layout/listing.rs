//! What a folder holds, read within bounds.

use super::folder::{MODEL_FILE, PACKAGE_FILE};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::Path;

/// Maximum entries of a folder that are looked at.
pub(super) const MAX_ENTRIES: usize = 10_000;
/// The same for folders that are looked into only to find what lies in the wrong place.
const MAX_SEARCHED: usize = 1_000;
/// How files are named that PyTorch writes.
const TORCH_ENDINGS: &[&str] = &["pt", "pth", "pt2", "ptl", "torchscript"];
/// How others are named that hold a model.
const OTHER_ENDINGS: &[&str] = &["onnx", "mar"];
const SAVED_MODEL: &str = "saved_model.pb";

/// The folders and the model files in a folder, in the order of their names. Hidden ones are left
/// out, among them the `..data` that Kubernetes keeps in its volumes.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) folders: Vec<OsString>,
    /// Those that could be models by the ends of their names.
    pub(super) files: Vec<OsString>,
    /// Whether there was more than was looked at.
    pub(super) is_cut: bool,
    n_entries: usize,
}

impl Listing {
    pub(super) fn read(path: &Path, max_entries: usize) -> io::Result<Self> {
        let mut listing = Self::default();
        for entry in fs::read_dir(path)? {
            if listing.n_entries == max_entries {
                listing.is_cut = true;
                break;
            }
            listing.n_entries += 1;
            let entry = entry?;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let kind = entry.file_type()?;
            // A link that leads nowhere is no folder, and may bear a model's name.
            if kind.is_dir() || (kind.is_symlink() && entry.path().is_dir()) {
                listing.folders.push(name);
            } else if may_be_a_model(&name) {
                listing.files.push(name);
            }
        }
        listing.folders.sort();
        listing.files.sort();
        Ok(listing)
    }

    /// The model file, if it is there in whatever spelling.
    pub(super) fn model_file(&self) -> Option<&OsStr> {
        let find = |file: &str| self.files.iter().find(|name| name.eq_ignore_ascii_case(file));
        find(MODEL_FILE).or_else(|| find(PACKAGE_FILE)).map(OsString::as_os_str)
    }
}

fn may_be_a_model(name: &OsStr) -> bool {
    is_of_torch(name) || ends_in(name, OTHER_ENDINGS) || name == SAVED_MODEL
}

/// Whether a file is named as a version's file is, but for what stands before the dot.
pub(super) fn is_called_like_a_model(name: &OsStr) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "pt" || end == "pt2")
}

/// Whether a file is named as PyTorch's are.
pub(super) fn is_of_torch(name: &OsStr) -> bool {
    ends_in(name, TORCH_ENDINGS)
}

fn ends_in(name: &OsStr, endings: &[&str]) -> bool {
    let ending = Path::new(name).extension();
    ending.is_some_and(|ending| endings.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// A look into folders that are no models and no versions, bounded over all of them.
#[derive(Debug)]
pub(super) struct Search {
    left: usize,
}

/// What was found in such a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// This model file lies in it.
    Model(OsString),
    /// These other files lie in it, that may be models.
    Files(Vec<OsString>),
    /// A model file lies in a folder of this name in it.
    Deeper(OsString),
}

impl Search {
    pub(super) fn new() -> Self {
        Self { left: 20_000 }
    }

    /// What lies in a folder and in those in it. What cannot be read holds nothing.
    pub(super) fn look(&mut self, path: &Path) -> Option<Found> {
        let listing = self.list(path);
        if let Some(name) = listing.model_file() {
            return Some(Found::Model(name.to_owned()));
        }
        for folder in listing.folders {
            if self.list(&path.join(&folder)).model_file().is_some() {
                return Some(Found::Deeper(folder));
            }
        }
        (!listing.files.is_empty()).then_some(Found::Files(listing.files))
    }

    fn list(&mut self, path: &Path) -> Listing {
        let listing = Listing::read(path, self.left.min(MAX_SEARCHED)).unwrap_or_default();
        self.left -= listing.n_entries;
        listing
    }
}

/// A name as messages write it: as it is, unless it could be misread.
pub(super) fn shown(name: &OsStr) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    match name.to_str() {
        Some(name) if !name.is_empty() && name.chars().all(is_plain) => name.into(),
        _ => format!("{name:?}"),
    }
}
