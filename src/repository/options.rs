//! The options of the repository, and the settings of a model: its model.toml over the server's defaults.

use super::isolation::IsolationPolicy;
use super::live::{Defaults, Live};
use super::manifest::{DeviceChoice, Manifest, Optimize, QueueWait};
use super::source::Source;
use crate::engine::probe::FormOptions;
use crate::engine::{Device, Precision};
use crate::inference::{ModelName, Version};
use crate::settings::words;
use crate::transform::Activation;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// How a repository is to be run.
#[derive(Debug, Clone)]
pub struct RepositoryOptions {
    /// The folder of all models.
    pub models: PathBuf,
    /// Where verdicts are kept over restarts; `None` keeps none.
    pub state_dir: Option<PathBuf>,
    /// Whether what is decided is written down: by the server, and not by tools that look at the same folder beside it.
    pub keeps_decisions: bool,
    /// Model files whose operators of concern are accepted.
    pub trusted: Vec<TrustedModel>,
    /// Which models run in a process of their own.
    pub isolation: IsolationPolicy,
    /// Version of libtorch, for the key of verdicts.
    pub libtorch: String,
    /// Digests of the libraries that were loaded for models, for the same key.
    pub libraries: String,
    /// How long the trial of one model may take.
    pub trial_timeout: Duration,
    /// Size of a model file: a larger one is not read.
    pub max_file_bytes: u64,
    /// Says how much memory is left.
    pub free_memory: FreeMemory,
    /// Whether changes of the folders are looked for.
    pub watch: FolderWatch,
    /// What can change while the server runs.
    pub live: Live,
    /// What holds whatever model.toml says.
    pub overrides: Overrides,
}

impl RepositoryOptions {
    /// Options for a folder, with nothing kept over restarts.
    #[must_use]
    pub fn new(models: PathBuf) -> Self {
        Self {
            models,
            state_dir: None,
            keeps_decisions: true,
            trusted: Vec::new(),
            isolation: IsolationPolicy::default(),
            libtorch: "none".to_owned(),
            libraries: String::new(),
            trial_timeout: Duration::from_secs(60),
            max_file_bytes: u64::MAX,
            free_memory: FreeMemory::default(),
            watch: FolderWatch::default(),
            live: Live::default(),
            overrides: Overrides::default(),
        }
    }
}

/// Asks how much memory the process may still take; `None` where that is not known.
#[derive(Clone)]
pub struct FreeMemory(Arc<dyn Fn() -> Option<u64> + Send + Sync>);

impl FreeMemory {
    /// As the function says.
    #[must_use]
    pub fn new(ask: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    /// Bytes.
    pub(super) fn bytes(&self) -> Option<u64> {
        (self.0)()
    }
}

impl Default for FreeMemory {
    fn default() -> Self {
        Self::new(|| None)
    }
}

impl fmt::Debug for FreeMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FreeMemory").field(&self.bytes()).finish()
    }
}

/// Whether changes of the folders are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum FolderWatch {
    /// The folders are looked at every few seconds, whatever they lie on.
    #[default]
    Auto,
    /// Nothing changes but on order.
    Off,
}

words! { FolderWatch, "\"auto\" or \"off\"", Auto = "auto", Off = "off"; }

/// Which versions are loaded and how models are scheduled, whatever model.toml says. What is found out about a
/// model does not depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    /// The version that is loaded of each model and no other, whatever operators decided.
    pub version: Option<Version>,
    /// Instances of each version.
    pub instances: Option<usize>,
    /// Threads that one operator may use, in each instance.
    pub intra_op_threads: Option<usize>,
    /// Maximum rows of a batch; more than the model's own limit has no effect.
    pub max_batch_size: Option<usize>,
    /// How long an idle instance waits for more rows.
    pub max_queue_delay: Option<Duration>,
    /// How long a request may have to wait for its run.
    pub max_queue_wait: Option<Duration>,
}

/// A model file that the server's configuration vouches for, written `name@sha256:digest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrustedModel {
    /// The model.
    pub name: ModelName,
    /// SHA-256 of its model file, 64 lowercase hexadecimal digits.
    pub digest: String,
}

impl FromStr for TrustedModel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected \"name@sha256:<64 hexadecimal digits>\", got {text:?}");
        let (name, digest) = text.split_once("@sha256:").ok_or_else(wrong)?;
        let digest = digest.to_ascii_lowercase();
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        let name = name.parse().map_err(|_| wrong())?;
        if is_digest { Ok(Self { name, digest }) } else { Err(wrong()) }
    }
}

impl fmt::Display for TrustedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@sha256:{}", self.name, self.digest)
    }
}

/// What one model gets: its model.toml over the defaults, inside the server's limits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settings {
    pub(super) device: Device,
    pub(super) optimize: bool,
    pub(super) precision: Precision,
    pub(super) max_difference: f64,
    pub(super) instances: Option<usize>,
    pub(super) intra_op_threads: usize,
    pub(super) max_batch_size: usize,
    /// Whether somebody chose that for this model: then no run is kept shorter by itself.
    pub(super) batch_size_is_chosen: bool,
    pub(super) max_queue_delay: Duration,
    pub(super) queue_capacity: usize,
    pub(super) max_queue_wait: Option<Duration>,
    pub(super) max_rows: usize,
    pub(super) max_body_bytes: u64,
    pub(super) timeout: Duration,
    pub(super) top: usize,
}

impl Settings {
    /// How far answers in a reduced precision may be from those in FP32, unless model.toml says it.
    const MAX_DIFFERENCE: f64 = 1e-2;

    /// The same, less what is overridden.
    pub(super) fn overridden(&self, overrides: &Overrides) -> Self {
        Self {
            instances: overrides.instances.or(self.instances),
            intra_op_threads: overrides.intra_op_threads.unwrap_or(self.intra_op_threads),
            max_batch_size: overrides
                .max_batch_size
                .map_or(self.max_batch_size, |rows| rows.min(self.max_batch_size)),
            batch_size_is_chosen: self.batch_size_is_chosen || overrides.max_batch_size.is_some(),
            max_queue_delay: overrides.max_queue_delay.unwrap_or(self.max_queue_delay),
            max_queue_wait: overrides.max_queue_wait.or(self.max_queue_wait),
            ..*self
        }
    }

    /// Applies a model.toml. `devices` are those that there are, the preferred one first.
    pub(super) fn resolve(
        defaults: &Defaults,
        manifest: &Manifest,
        devices: &[Device],
    ) -> Result<Self, String> {
        let Manifest { batching, limits, .. } = manifest;
        let lower = |wanted: Option<usize>, limit: usize| wanted.map_or(limit, |it| it.min(limit));
        let device = pick_device(manifest.device.unwrap_or(defaults.device), devices)?;
        if manifest.precision == Precision::Fp16 && device == Device::Cpu {
            return Err("precision \"fp16\" needs a GPU, and the model runs on cpu".into());
        }
        Ok(Self {
            device,
            optimize: manifest.optimize.unwrap_or(defaults.optimize) == Optimize::Auto,
            precision: manifest.precision,
            max_difference: manifest.max_difference.unwrap_or(Self::MAX_DIFFERENCE),
            instances: manifest.instances,
            intra_op_threads: manifest.intra_op_threads.unwrap_or(defaults.intra_op_threads),
            max_batch_size: batching.max_batch_size.unwrap_or(defaults.max_batch_size),
            batch_size_is_chosen: batching.max_batch_size.is_some(),
            max_queue_delay: batching.max_queue_delay.unwrap_or(defaults.max_queue_delay),
            queue_capacity: lower(batching.queue_capacity, defaults.queue_capacity),
            max_queue_wait: batching
                .max_queue_wait
                .map_or(defaults.max_queue_wait, QueueWait::bound),
            max_rows: lower(limits.max_rows, defaults.max_rows),
            max_body_bytes: limits
                .max_body_bytes
                .map_or(defaults.max_body_bytes, |it| it.0.min(defaults.max_body_bytes)),
            timeout: defaults.timeout.min(limits.timeout.unwrap_or(Duration::MAX)),
            top: manifest.top.unwrap_or(defaults.top),
        })
    }
}

impl Settings {
    /// What is wanted of the form of a model, when its trial may take that long.
    pub(super) fn form_options(&self, source: &Source, trial_timeout: Duration) -> FormOptions {
        // A single score is a probability, or what becomes one of a half at zero.
        let threshold = match source.manifest.activation {
            Activation::Sigmoid => 0.0,
            Activation::None | Activation::Softmax => 0.5,
        };
        FormOptions {
            optimize: self.optimize,
            precision: self.precision,
            max_difference: self.max_difference,
            classes: source.labels.is_some().then_some(threshold),
            // The plain form comes first, and shall not be hurried.
            budget: FormOptions::default().budget.min(trial_timeout / 3),
        }
    }
}

fn pick_device(choice: DeviceChoice, devices: &[Device]) -> Result<Device, String> {
    match choice {
        DeviceChoice::Auto => Ok(devices.first().copied().unwrap_or(Device::Cpu)),
        DeviceChoice::Only(device) if devices.contains(&device) => Ok(device),
        DeviceChoice::Only(device) => {
            let there: Vec<_> = devices.iter().map(Device::to_string).collect();
            Err(format!("device {device} is not there, this machine has {}", there.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(text: &str) -> Manifest {
        Manifest::parse("m/model.toml", text).unwrap()
    }

    #[test]
    fn a_folder_tightens_limits_and_never_widens_them() {
        let resolve = |text: &str| {
            Settings::resolve(&Defaults::default(), &manifest(text), &[Device::Cpu]).unwrap()
        };
        let wide = resolve(
            "[limits]\nmax_rows = 9999\nmax_body_bytes = \"1GiB\"\ntimeout = \"1h\"\n[batching]\nqueue_capacity = 9999",
        );
        assert_eq!(wide, resolve(""), "a model must not widen the server's limits");
        let tight = resolve("[limits]\nmax_rows = 3\nmax_body_bytes = 10\ntimeout = \"1s\"");
        assert_eq!((tight.max_rows, tight.max_body_bytes), (3, 10));
        assert_eq!(tight.timeout, Duration::from_secs(1));
    }

    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        let resolve = |text: &str, devices: &[Device]| {
            Settings::resolve(&Defaults::default(), &manifest(text), devices)
                .map(|settings| settings.device)
        };
        let both = [Device::Cuda(0), Device::Cpu];
        assert_eq!(resolve("", &both), Ok(Device::Cuda(0)));
        assert_eq!(resolve("device = \"cpu\"", &both), Ok(Device::Cpu));
        assert_eq!(
            resolve("device = \"cuda:1\"", &both),
            Err("device cuda:1 is not there, this machine has cuda:0, cpu".into())
        );
    }

    #[test]
    fn a_reduced_precision_fits_the_device_and_has_a_limit() {
        let resolve = |text: &str, device| {
            Settings::resolve(&Defaults::default(), &manifest(text), &[device])
        };
        let bf16 = resolve("precision = \"bf16\"\noptimize = \"off\"", Device::Cpu).unwrap();
        assert_eq!((bf16.precision, bf16.optimize), (Precision::Bf16, false));
        assert_eq!(bf16.max_difference, 1e-2);
        assert!(resolve("", Device::Cpu).unwrap().optimize);
        let error = resolve("precision = \"fp16\"", Device::Cpu).unwrap_err();
        assert!(error.contains("needs a GPU"), "{error}");
        assert!(resolve("precision = \"fp16\"", Device::Cuda(0)).is_ok());
    }

    #[test]
    fn trust_names_a_model_and_a_digest() {
        let digest = "AB".repeat(32);
        let trusted: TrustedModel = format!("m@sha256:{digest}").parse().unwrap();
        assert_eq!((trusted.name.as_str(), trusted.digest.len()), ("m", 64));
        assert_eq!(trusted.digest, digest.to_lowercase());
        for bad in ["m", "m@sha256:12", "@sha256:", "a/b@sha256:00"] {
            assert!(bad.parse::<TrustedModel>().is_err(), "{bad:?} must be refused");
        }
    }
}
