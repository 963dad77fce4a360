//! The folder of a model, as it is found, and what the files in it are called.

use crate::inference::{ModelName, Version};
use std::path::PathBuf;

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
    /// One sentence for each entry that looks like a version and is not served.
    pub ignored: Vec<String>,
}
