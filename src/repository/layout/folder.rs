//! The folder of a model, as it is found, and what the files in it are called.

use crate::engine::Format;
use crate::inference::{ModelName, Version};
use std::io;
use std::path::{Path, PathBuf};

/// The file of a version.
pub const MODEL_FILE: &str = Format::TorchScript.file_name();
/// The same, of a package of AOTInductor. Where both are there, a contest says which serves.
pub const PACKAGE_FILE: &str = Format::AotInductor.file_name();
/// What a model says about itself, beside its versions.
pub const MANIFEST_FILE: &str = "model.toml";
/// The body of an example request, beside the versions.
pub const SAMPLE_FILE: &str = "sample.json";

/// What the files of a version have to be, beside its model file.
pub const SUMS_FILE: &str = "SHA256SUMS";

/// One version of a model on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionFolder {
    /// The number that the folder bears.
    pub version: Version,
    /// Where its model file lies.
    pub file: PathBuf,
}

impl VersionFolder {
    /// The same version with the package that lies beside its file, where one does.
    #[must_use]
    pub fn with_package(&self) -> Option<Self> {
        let file = self.file.with_file_name(PACKAGE_FILE);
        let has_both = self.file.ends_with(MODEL_FILE) && file.exists();
        has_both.then_some(Self { version: self.version, file })
    }
}

/// The folder of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFolder {
    /// The name that the folder bears.
    pub name: ModelName,
    /// Where it lies.
    pub path: PathBuf,
    /// The folder that links must not lead out of: that of all models, or its own when it was named.
    pub within: PathBuf,
    /// Versions that have a model file, lowest first.
    pub versions: Vec<VersionFolder>,
    /// Why there is nothing to serve.
    pub problem: Option<String>,
    /// One sentence for each entry that looks like a version and is not served.
    pub ignored: Vec<String>,
}

impl ModelFolder {
    /// Libraries like to name the file; paths of this machine are not for clients to see.
    #[must_use]
    pub fn without_path(&self, reason: &str) -> String {
        let path = self.path.display().to_string();
        let reason = reason.replace(&format!("{path}/"), &format!("{}/", self.name));
        // What is left is the path of a model that is a file. A relative one could be any word.
        if self.path.is_absolute() { reason.replace(&path, self.name.as_str()) } else { reason }
    }

    /// Refuses a file that a link has lie outside. Whoever writes the folder would get to have read what the server may
    /// read. What is not there is inside.
    ///
    /// # Errors
    ///
    /// Where it leads.
    pub fn stays_within(&self, file: &Path) -> Result<(), String> {
        let real = match file.canonicalize() {
            Ok(real) => real,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let within = self.within.canonicalize().map_err(|error| error.to_string())?;
        if real.starts_with(&within) {
            Ok(())
        } else {
            Err(format!("a link leads out of {} to {}", self.within.display(), real.display()))
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
