//! The steps around a run that a model asks for: one line a step.

use super::options::Settings;
use super::source::Source;
use crate::inference::ExtraSpec;
use crate::transform::{Labels, Steps, TransformError};
use std::sync::Arc;

/// What the steps that there are may add to an answer.
pub const ALL_EXTRAS: &[&[ExtraSpec]] = &[Labels::EXTRAS];

/// Reads what model.toml says of them.
///
/// # Errors
///
/// A step can fit no model.
pub(super) fn steps(source: &Source, settings: &Settings) -> Result<Steps, TransformError> {
    let mut steps = Steps::default();
    if let Some(labels) = source.labels.clone() {
        let labels = Labels::new(labels, source.manifest.activation, settings.top)?;
        steps.outputs.push(Arc::new(labels));
    }
    Ok(steps)
}
