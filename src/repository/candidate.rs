//! One version on its way from a file to service: what it is called, which bytes it has, and its settings.

use super::beside::Beside;
use super::failure::{FailureCode, ModelFailure};
use super::fingerprint::Fingerprint;
use super::isolation::Isolation;
use super::layout::{ModelFolder, VersionFolder};
use super::live::Defaults;
use super::options::{RepositoryOptions, Settings};
use super::source::Source;
use super::steps::steps;
use super::sums;
use crate::engine::probe::Findings;
use crate::engine::{Artifact, Device, Format, LoadOptions};
use crate::inference::ModelName;
use crate::transform::Steps;
use std::sync::Arc;

pub(super) struct Candidate<'a> {
    pub(super) name: &'a ModelName,
    pub(super) file: &'a VersionFolder,
    /// How the file is written, by its name.
    pub(super) format: Format,
    pub(super) source: &'a Source,
    /// What holds where its model.toml says nothing.
    pub(super) defaults: Defaults,
    /// What its model.toml says, inside the server's limits.
    pub(super) settings: Settings,
    pub(super) steps: Steps,
    pub(super) fingerprint: Fingerprint,
    /// What lies beside the file.
    pub(super) beside: Beside,
    /// Whether the server's configuration vouches for the file.
    pub(super) is_trusted: bool,
    /// Whether it wants a process of its own for it.
    pub(super) isolation: Isolation,
}

impl<'a> Candidate<'a> {
    /// Reads the model file once, for its digest.
    pub(super) fn read(
        folder: &'a ModelFolder,
        source: &'a Source,
        file: &'a VersionFolder,
        options: &RepositoryOptions,
        devices: &[Device],
    ) -> Result<Self, ModelFailure> {
        let defaults = options.live.now().defaults.clone();
        let format = Format::of(&file.file);
        // What is compiled runs where it was compiled for.
        let devices = if format.is_native() { &[Device::Cpu][..] } else { devices };
        let settings = Settings::resolve(&defaults, &source.manifest, devices)
            .map_err(|reason| ModelFailure::new(FailureCode::Settings, reason))?;
        let steps = steps(source, &settings).map_err(|error| error.to_string())?;
        folder
            .stays_within(&file.file)
            .map_err(|reason| ModelFailure::new(FailureCode::Outside, reason))?;
        // Taken before anything is read: what changes meanwhile is a change.
        let beside = Beside::of(file, folder);
        let fingerprint = Fingerprint::take_up_to(&file.file, options.max_file_bytes);
        let fingerprint =
            fingerprint.map_err(|error| format!("the model file cannot be read: {error}"))?;
        let own_folder = file.file.parent().unwrap_or(&folder.path);
        sums::check(own_folder, &file.file, &fingerprint.digest, options.max_file_bytes)
            .map_err(|reason| ModelFailure::new(FailureCode::Digest, reason))?;
        let name = &folder.name;
        let is_trusted = options
            .trusted
            .iter()
            .any(|trusted| trusted.name == *name && trusted.digest == fingerprint.digest);
        let isolation = options.isolation.of(name);
        Ok(Self {
            name,
            file,
            format,
            source,
            defaults,
            settings,
            steps,
            fingerprint,
            beside,
            is_trusted,
            isolation,
        })
    }

    /// Whether the file is still the one whose digest was taken; `what` was done with it meanwhile.
    pub(super) fn check_unchanged(&self, what: &str) -> Result<(), ModelFailure> {
        if self.fingerprint.still_holds(&self.file.file) {
            return Ok(());
        }
        Err(format!("the model file changed while it was {what}").into())
    }

    pub(super) fn artifact(&self) -> Artifact {
        let digest = Some(Arc::from(&*self.fingerprint.digest));
        let artifact = Artifact::new(self.format, self.file.file.clone(), self.label());
        Artifact { digest, ..artifact }
    }

    /// Why it serves in a process of its own, if it does.
    pub(super) fn isolated_since(&self, findings: &Findings) -> Option<String> {
        match self.isolation {
            // Native code is not admitted there.
            Isolation::None => None,
            Isolation::Auto if self.format.is_native() => Some("it is native code".to_owned()),
            Isolation::Auto => findings.risk.clone(),
            Isolation::Process => Some("the configuration wants it".to_owned()),
        }
    }

    /// What the log calls it.
    pub(super) fn label(&self) -> String {
        format!("{}/{}", self.name, self.file.version)
    }

    /// For the form that the file has.
    pub(super) fn plain(&self) -> LoadOptions {
        LoadOptions::plain(self.settings.device, self.settings.intra_op_threads)
    }
}
