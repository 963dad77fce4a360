//! Folders on disk: which models there are and which versions of each.
//!
//! Names and files only; nothing is opened. Symbolic links are followed, because Kubernetes mounts
//! volumes through them.

use crate::inference::ModelName;
use crate::inference::Version;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The file of a version.
pub const MODEL_FILE: &str = "model.pt";
/// What a model says about itself, beside its versions.
pub const MANIFEST_FILE: &str = "model.toml";
/// The body of an example request, beside the versions.
pub const SAMPLE_FILE: &str = "sample.json";

/// One version of a model on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionFolder {
    /// The number that the folder bears.
    pub version: Version,
    /// Where its model file lies.
    pub file: PathBuf,
}

/// The folder of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFolder {
    /// The name that the folder bears.
    pub name: ModelName,
    /// Where it lies.
    pub path: PathBuf,
    /// Versions that have a model file, lowest first.
    pub versions: Vec<VersionFolder>,
    /// Why there is nothing to serve.
    pub problem: Option<String>,
}

/// What a models folder holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Models in the order of their names.
    pub models: Vec<ModelFolder>,
    /// One sentence for each entry that looks like a model or version and is not served.
    pub ignored: Vec<String>,
}

/// Reads the folder of all models.
///
/// # Errors
///
/// The folder itself cannot be read.
pub fn scan(root: &Path) -> io::Result<Scan> {
    let mut scan = Scan::default();
    for entry in folders(root)? {
        let path = root.join(&entry);
        if !looks_like_a_model(&path) {
            continue;
        }
        match entry.parse() {
            Ok(name) => scan.models.push(read_model(name, path, &mut scan.ignored)),
            Err(error) => scan.ignored.push(format!("folder {entry:?} is not served: {error}")),
        }
    }
    scan.models.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(scan)
}

/// Reads the folder of one model; `None` when there is none.
#[must_use]
pub fn find(root: &Path, name: &ModelName) -> Option<(ModelFolder, Vec<String>)> {
    let path = root.join(name.as_str());
    if !looks_like_a_model(&path) {
        return None;
    }
    let mut ignored = Vec::new();
    let folder = read_model(name.clone(), path, &mut ignored);
    Some((folder, ignored))
}

/// Other folders (scripts, documents) may lie among the models without a word.
fn looks_like_a_model(path: &Path) -> bool {
    if path.join(MANIFEST_FILE).exists() || path.join(MODEL_FILE).exists() {
        return true;
    }
    match folders(path) {
        Ok(names) => names.iter().any(|name| is_number(name)),
        // Hiding a folder that cannot be read would be worse than reporting it.
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

fn read_model(name: ModelName, path: PathBuf, ignored: &mut Vec<String>) -> ModelFolder {
    let entries = match folders(&path) {
        Ok(entries) => entries,
        Err(error) => {
            let problem = Some(format!("the folder cannot be read: {error}"));
            return ModelFolder { name, path, versions: Vec::new(), problem };
        }
    };
    let mut versions = Vec::new();
    for entry in entries.iter().filter(|entry| is_number(entry)) {
        let file = path.join(entry).join(MODEL_FILE);
        match entry.parse() {
            Err(_) => ignored.push(format!(
                "folder {name}/{entry} is not served: a version is written without leading zeros and fits 64 bits"
            )),
            // A link that leads nowhere and a folder that may not be entered count as files here:
            // loading reports what is wrong with them.
            Ok(_) if is_absent(&file) => {
                ignored.push(format!("folder {name}/{entry} is not served: it has no {MODEL_FILE}"));
            }
            Ok(version) => versions.push(VersionFolder { version, file }),
        }
    }
    versions.sort_by_key(|folder| folder.version);
    let problem = versions.is_empty().then(|| explain_nothing(&name, &path));
    ModelFolder { name, path, versions, problem }
}

fn explain_nothing(name: &ModelName, path: &Path) -> String {
    if path.join(MODEL_FILE).exists() {
        return format!(
            "{MODEL_FILE} lies in the model's own folder; move it into a version folder: {name}/1/{MODEL_FILE}"
        );
    }
    format!("no version folder holds a {MODEL_FILE}; expected {name}/1/{MODEL_FILE}")
}

fn is_absent(file: &Path) -> bool {
    fs::symlink_metadata(file).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// The names of the folders in a folder. Hidden ones are left out, among them the `..data` that
/// Kubernetes keeps in its volumes.
fn folders(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && entry.path().is_dir() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        root
    }

    #[test]
    fn models_and_versions_are_found_in_order() {
        let root = tree(&["b/2/model.pt", "b/10/model.pt", "a/1/model.pt", "b/model.toml"]);
        let scan = scan(root.path()).unwrap();
        let found: Vec<_> = scan
            .models
            .iter()
            .map(|model| {
                (model.name.as_str(), model.versions.iter().map(|v| v.version.0).collect())
            })
            .collect();
        assert_eq!(found, [("a", vec![1u64]), ("b", vec![2, 10])]);
        assert_eq!(scan.ignored, [""; 0]);
    }

    #[test]
    fn what_is_no_model_is_passed_over_and_what_looks_like_one_is_told() {
        let root = tree(&[
            "README.md",
            "scripts/train.py",
            ".git/1/model.pt",
            "_x/1/model.pt",
            "a/01/model.pt",
            "a/1/model.pt",
            "a/2/weights.bin",
            "a/notes/x",
        ]);
        let scan = scan(root.path()).unwrap();
        assert_eq!(scan.models.len(), 1);
        assert_eq!(scan.models[0].versions.len(), 1);
        let all = scan.ignored.join("\n");
        assert_eq!(scan.ignored.len(), 3, "{all}");
        for part in ["folder \"_x\" is not served: a name", "folder a/01", "folder a/2 is not"] {
            assert!(all.contains(part), "{part:?} is missing in {all}");
        }
    }

    #[test]
    fn a_model_without_a_version_says_what_to_do() {
        let root = tree(&["a/model.pt", "b/model.toml"]);
        let scan = scan(root.path()).unwrap();
        let problem = |index: usize| scan.models[index].problem.clone().unwrap();
        assert!(problem(0).ends_with("move it into a version folder: a/1/model.pt"));
        assert_eq!(problem(1), "no version folder holds a model.pt; expected b/1/model.pt");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_as_kubernetes_mounts_them() {
        let root = tree(&["..2026/a/1/model.pt"]);
        std::os::unix::fs::symlink("..2026", root.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/a", root.path().join("a")).unwrap();
        let scan = scan(root.path()).unwrap();
        assert_eq!(scan.models.len(), 1);
        assert_eq!(scan.models[0].versions.len(), 1);
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        assert!(scan(Path::new("does/not/exist")).is_err());
    }
}
