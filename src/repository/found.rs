//! A model's folder as it lies there now.

use super::layout::{self, ModelFolder};
use super::policy::VersionPolicy;
use super::shared::Shared;
use super::source::Source;
use crate::inference::ModelName;

/// A model's folder, read whole.
pub(super) struct Found {
    pub(super) folder: ModelFolder,
    pub(super) source: Source,
}

pub(super) fn find(shared: &Shared, name: &ModelName) -> Option<ModelFolder> {
    let options = shared.options();
    layout::find(&options.models, &options.live.now().named, name)
}

pub(super) fn read(shared: &Shared, name: &ModelName) -> Result<Found, String> {
    let folder = find(shared, name).ok_or(layout::FOLDER_IS_GONE)?;
    for sentence in &folder.ignored {
        tracing::warn!("{sentence}");
    }
    if let Some(problem) = folder.problem {
        return Err(problem);
    }
    let mut source = Source::read(&folder)?;
    if let Some(only) = shared.options().overrides.version {
        source.manifest.versions = VersionPolicy::Specific(vec![only]);
    }
    Ok(Found { folder, source })
}
