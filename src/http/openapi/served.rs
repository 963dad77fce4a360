//! What the document says most of: a model that serves.

use crate::inference::Version;
use crate::repository::{LoadedStatus, ModelStatus};

/// A model that answers by default, and the version that does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Served<'a> {
    pub(super) name: &'a str,
    pub(super) version: Version,
    pub(super) loaded: &'a LoadedStatus,
}

impl<'a> Served<'a> {
    pub(super) fn new(model: &'a ModelStatus) -> Option<Self> {
        let version = model.serving?;
        let status = model.versions.iter().find(|status| status.version == version)?;
        Some(Self { name: model.name.as_str(), version, loaded: status.loaded.as_ref()? })
    }
}
