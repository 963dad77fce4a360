//! Folders on disk: which models there are and which versions of each.
//!
//! Names and files only; nothing is opened. Symbolic links are followed, because Kubernetes mounts
//! volumes through them. What looks like a model and cannot be one is reported; to find it, folders are
//! looked into a little deeper than models lie, within bounds.

mod contents;
mod folder;
mod listing;
mod named;
mod sums;
mod words;

#[cfg(test)]
mod tests;

pub use folder::{
    MANIFEST_FILE, MODEL_FILE, ModelFolder, PACKAGE_FILE, SAMPLE_FILE, SUMS_FILE, VersionFolder,
};
pub use named::NamedFolder;
pub use sums::{Sum, read_sums};
pub use words::{FOLDER_IS_GONE, is_of_folder};

use crate::inference::ModelName;
use contents::{Contents, is_number, listed};
use listing::{Listing, MAX_ENTRIES, Search, is_called_like_a_model, shown};
use std::io;
use std::path::{Path, PathBuf};

/// Maximum sentences about what is not served.
const MAX_IGNORED: usize = 100;

/// What a models folder holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Models in the order of their names.
    pub models: Vec<ModelFolder>,
    /// One sentence for each entry that looks like a model and is not served.
    pub ignored: Vec<String>,
}

/// Reads the folder of all models, and the folders of those that are named.
///
/// # Errors
///
/// The folder itself cannot be read. With named models it may be absent.
pub fn scan(root: &Path, named: &[NamedFolder]) -> io::Result<Scan> {
    let mut scan = Scan::default();
    // The folder of one model, served under its name, is no folder of models as well.
    if !named.iter().any(|named| named.is_at(root)) {
        match Listing::read(root, MAX_ENTRIES) {
            Ok(listing) => scan.add_all(root, &listing, named),
            Err(error) if !named.is_empty() && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    scan.models.extend(named.iter().map(NamedFolder::read));
    scan.models.sort_by(|a, b| a.name.cmp(&b.name));
    let more = scan.ignored.len().saturating_sub(MAX_IGNORED);
    if more > 0 {
        scan.ignored.truncate(MAX_IGNORED);
        scan.ignored.push(format!("{more} more folders are not served"));
    }
    Ok(scan)
}

/// Reads the folder of one model; `None` when there is none.
#[must_use]
pub fn find(root: &Path, named: &[NamedFolder], name: &ModelName) -> Option<ModelFolder> {
    if let Some(named) = named.iter().find(|named| named.name == *name) {
        return Some(named.read());
    }
    let path = root.join(name.as_str());
    let contents = Contents::read(name.as_str(), &path, &mut Search::new());
    let is_model = contents.is_model() && !is_version_of_root(name.as_str(), &contents);
    is_model.then(|| model_folder(root, name.clone(), path, contents))
}

impl Scan {
    fn add_all(&mut self, root: &Path, listing: &Listing, named: &[NamedFolder]) {
        let mut search = Search::new();
        let mut root_version = None;
        for entry in &listing.folders {
            let path = root.join(entry);
            let label = shown(entry);
            let contents = Contents::read(&label, &path, &mut search);
            if is_version_of_root(&label, &contents) {
                root_version.get_or_insert(format!("{label}/{MODEL_FILE}"));
            } else if contents.is_model() {
                self.add((root, path), &label, contents, named);
            } else if let Some(found) = contents.hint() {
                self.ignored.push(format!(
                    "folder {label} is not served: it holds {found}, expected {label}/1/{MODEL_FILE}"
                ));
            }
        }
        let is_alone = self.models.is_empty();
        self.ignored.extend(explain_root(root, listing, root_version, is_alone));
        if listing.is_cut {
            self.ignored.push(format!(
                "the models folder has more than {MAX_ENTRIES} entries, the rest is not read"
            ));
        }
    }

    fn add(
        &mut self,
        (root, path): (&Path, PathBuf),
        label: &str,
        contents: Contents,
        named: &[NamedFolder],
    ) {
        match path.file_name().and_then(|name| name.to_str()).unwrap_or_default().parse() {
            Ok(name) if named.iter().any(|named| named.name == name) => self.ignored.push(format!(
                "folder {label} of the models folder is not served: another one is named for the model"
            )),
            Ok(_) if named.iter().any(|named| named.is_at(&path)) => {}
            Ok(name) => self.models.push(model_folder(root, name, path, contents)),
            Err(error) => self.ignored.push(format!("folder {label} is not served: {error}")),
        }
    }
}

fn model_folder(root: &Path, name: ModelName, path: PathBuf, contents: Contents) -> ModelFolder {
    let versions = contents.versions.clone();
    let problem = versions.is_empty().then(|| contents.explain_nothing(name.as_str()));
    // Otherwise the problem says it.
    let ignored = if versions.is_empty() { Vec::new() } else { contents.ignored() };
    ModelFolder { name, path, within: root.to_owned(), versions, problem, ignored }
}

/// Whether a folder looks like a version, so that the folder around it would be a model.
fn is_version_of_root(label: &str, contents: &Contents) -> bool {
    is_number(label) && contents.is_version()
}

/// What to write when the folder of models is the folder of one.
fn explain_root(
    root: &Path,
    listing: &Listing,
    version: Option<String>,
    is_alone: bool,
) -> Option<String> {
    let own = listing.model_file().and_then(|name| name.to_str());
    let own = own.filter(|name| [MODEL_FILE, PACKAGE_FILE].contains(name));
    let found = match (own, version, &*listing.files) {
        (Some(name), ..) => name.to_owned(),
        (None, Some(version), _) => version,
        (None, None, [only]) if is_alone && is_called_like_a_model(only) => shown(only),
        (None, None, []) => return None,
        (None, None, files) => {
            return Some(format!(
                "the models folder {} holds {}: a model is a folder, expected NAME/1/{MODEL_FILE}",
                root.display(),
                listed(files)
            ));
        }
    };
    Some(format!(
        "the models folder {0} holds {found} and so looks like the folder of one model: to serve it, start with --model NAME={0}",
        root.display()
    ))
}
