//! The steps around a run that a model asks for: one line a step.

use super::manifest::{ImageKeys, Manifest, Numbers, PostprocessKeys, Sides, TooLong};
use super::options::Settings;
use super::source::Source;
use crate::inference::{ExtraSpec, InputPadding};
use crate::transform::{
    Decode, ImageOptions, Labels, Normalize, Steps, TOKEN_IDS, Tabulate, TextOptions, Tokenize,
    TransformError,
};
use std::sync::Arc;

/// Bytes of a text, unless model.toml says otherwise.
const MAX_TEXT_BYTES: u64 = 256 << 10;
/// Pixels of the images of a request, unless model.toml says otherwise.
const MAX_PIXELS: usize = 25_000_000;
/// What is divided by it lies between 0 and 1.
const WHITE: f64 = 255.0;

/// What the steps that there are may add to an answer.
pub const ALL_EXTRAS: &[&[ExtraSpec]] = &[Labels::EXTRAS];

/// Reads what model.toml says of them.
///
/// # Errors
///
/// A step can fit no model.
pub(super) fn steps(source: &Source, settings: &Settings) -> Result<Steps, TransformError> {
    let mut steps = Steps::default();
    if let Some(tokenizer) = &source.tokenizer {
        steps.inputs.push(Arc::new(Tokenize::new(tokenizer, text_options(&source.manifest))?));
    }
    if let Some(options) = image_options(&source.manifest.image) {
        steps.inputs.push(Arc::new(Decode::new(options)?));
    }
    if !source.manifest.columns.is_empty() {
        steps.inputs.push(Arc::new(Tabulate::new(source.manifest.columns.clone())));
    }
    let PostprocessKeys { pool, normalize } = source.manifest.postprocess;
    if let Some(pool) = pool {
        steps.outputs.push(Arc::new(pool));
    }
    if normalize {
        steps.outputs.push(Arc::new(Normalize));
    }
    if let Some(labels) = source.labels.clone() {
        let labels = Labels::new(labels, source.manifest.activation, settings.top)?;
        steps.outputs.push(Arc::new(labels.with_threshold(source.manifest.threshold)));
    }
    Ok(steps)
}

fn text_options(manifest: &Manifest) -> TextOptions {
    let keys = &manifest.text;
    let pad = manifest.pads.iter().find(|pad| &*pad.input == TOKEN_IDS);
    TextOptions {
        // Reading model.toml has seen to it that it is there.
        max_tokens: keys.max_tokens.unwrap_or(1),
        truncate: keys.too_long == TooLong::Truncate,
        max_bytes: keys.max_bytes.map_or(MAX_TEXT_BYTES, |bytes| bytes.0) as usize,
        pairs: keys.pairs,
        pad: pad.and_then(|pad| whole_number(&pad.padding)),
    }
}

/// What an input of whole numbers is padded with; `None` for another size of number.
fn whole_number(padding: &InputPadding) -> Option<i64> {
    match *padding.element {
        [a, b, c, d] => Some(i32::from_le_bytes([a, b, c, d]).into()),
        [a, b, c, d, e, f, g, h] => Some(i64::from_le_bytes([a, b, c, d, e, f, g, h])),
        _ => None,
    }
}

fn image_options(keys: &ImageKeys) -> Option<ImageOptions> {
    let numbers = |numbers: &Option<Numbers>| numbers.as_ref().map(|it| it.0.clone());
    Some(ImageOptions {
        resize: keys.resize?,
        filter: keys.filter,
        crop: keys.crop.map(|Sides(sides)| sides),
        channels: keys.channels,
        divide_by: keys.divide_by.unwrap_or(WHITE),
        mean: numbers(&keys.mean),
        std: numbers(&keys.std),
        max_pixels: keys.max_pixels.unwrap_or(MAX_PIXELS),
    })
}
