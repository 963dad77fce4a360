//! The trial of a single file, for people who want to know what the server would find out about it.

use super::batch_size::BatchSize;
use super::fingerprint::Fingerprint;
use super::layout::{self, MODEL_FILE, ModelFolder, PACKAGE_FILE};
use super::live::Defaults;
use super::options::Settings;
use super::sample::{Sample, SampleDecoder};
use super::source::Source;
use super::steps::steps;
use super::trial::{Subject, Trial};
use crate::engine::probe::Findings;
use crate::engine::{Artifact, Device, Format, LoadOptions, Loader};
use crate::inference::{ModelName, Version};
use std::path::Path;
use std::time::Duration;

/// What messages call a model without a folder.
const NO_NAME: &str = "model";

/// What the trial of a single file came to.
#[derive(Debug)]
pub struct FileTrial {
    /// What was found.
    pub findings: Findings,
    /// How many rows its runs would have.
    pub batch_size: BatchSize,
}

/// Tries a file on the CPU, with the texts of its model's folder if it lies in one. Nothing is
/// remembered.
///
/// # Errors
///
/// Why the model would not be served.
pub fn try_file(
    loader: &dyn Loader,
    decode_sample: &SampleDecoder,
    file: &Path,
    timeout: Duration,
) -> Result<FileTrial, String> {
    let folder = folder_of(file);
    let source = folder.as_ref().map_or_else(|| Ok(Source::default()), Source::read)?;
    let name = folder.map_or_else(|| NO_NAME.parse().map_err(|_| "no name"), |it| Ok(it.name))?;
    let settings = Settings::resolve(&Defaults::default(), &source.manifest, &[Device::Cpu])?;
    let steps = steps(&source, &settings).map_err(|error| error.to_string())?;
    let fingerprint = Fingerprint::take(file).map_err(|error| error.to_string())?;
    let artifact = Artifact::new(Format::of(file), file.to_owned(), name.to_string());
    let damage = loader.damage(&artifact).map_err(|error| error.to_string())?;
    if let Some(damage) = damage {
        return Err(damage);
    }
    let sample = source.sample.as_deref();
    let subject = Subject {
        name: &name,
        artifact,
        options: LoadOptions::plain(settings.device, settings.intra_op_threads),
        digest: &fingerprint.digest,
        trusted: false,
        may_be_isolated: true,
        manifest: &source.manifest,
        sample: sample.map(|text| Sample { text, decode: decode_sample, steps: &steps }),
        max_batch_size: settings.max_batch_size,
        batch_size_is_chosen: settings.batch_size_is_chosen,
        form: settings.form_options(&source, timeout),
        timeout,
    };
    let trial = Trial::run(loader, &subject);
    let findings = trial.verdict.into_findings().map_err(|failure| failure.details().to_owned())?;
    let batch_size = BatchSize::of(&findings, &settings);
    Ok(FileTrial { findings, batch_size })
}

/// The model's folder that a file lies in as a version, if it does.
fn folder_of(file: &Path) -> Option<ModelFolder> {
    let file = std::path::absolute(file).ok()?;
    let version = file.parent()?;
    let model = version.parent()?;
    version.file_name()?.to_str()?.parse::<Version>().ok()?;
    let name: ModelName = model.file_name()?.to_str()?.parse().ok()?;
    let is_version = [MODEL_FILE, PACKAGE_FILE].iter().any(|name| file.ends_with(name));
    is_version.then(|| layout::find(model.parent()?, &[], &name)).flatten()
}
