//! `model.toml`: what a model says about itself that its file does not tell.
//!
//! Reading only; the defaults of the server are applied where a version is loaded. Trust, isolation
//! and signatures have no key here: a folder must not vouch for itself.

mod reader;
pub mod unit;
mod value;

pub use reader::{ManifestError, Problem};
pub(super) use value::are_labels;

use super::policy::VersionPolicy;
use crate::engine::{Device, Precision};
use crate::inference::{InputPadding, TensorSpec};
use crate::tensor::{DataType, Dim};
use crate::transform::Activation;
use reader::{Reader, Section};
use std::fmt;
use std::path::{Component, Path};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Every key, in the order of the page that documents them (`docs/models.md`).
pub const KEYS: &[&str] = &[
    "description",
    "required",
    "versions",
    "device",
    "optimize",
    "precision",
    "max_difference",
    "instances",
    "intra_op_threads",
    "labels",
    "labels_file",
    "activation",
    "top",
    "inputs.name",
    "inputs.datatype",
    "inputs.shape",
    "inputs.optional",
    "inputs.pad",
    "outputs.name",
    "outputs.datatype",
    "outputs.shape",
    "batching.enabled",
    "batching.max_difference",
    "batching.max_batch_size",
    "batching.max_queue_delay",
    "batching.queue_capacity",
    "batching.max_queue_wait",
    "batching.pad_buckets",
    "limits.max_rows",
    "limits.max_body_bytes",
    "limits.timeout",
];

/// Keys that people look for here and that only the server's configuration has.
const SERVER_ONLY: &[&str] =
    &["trusted", "trusted_models", "trust", "isolation", "signature", "signatures"];

/// Nothing waits longer, so that clock arithmetic cannot overflow.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Most labels of a model.
const MAX_LABELS: usize = 1 << 20;
/// Longest name of an input or output, in bytes.
const MAX_TENSOR_NAME: usize = 128;

/// Where a model is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum DeviceChoice {
    /// On the device that the library names first: a GPU when there is one.
    #[default]
    Auto,
    /// Here, or not at all.
    Only(Device),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::Only) }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Only(device) => device.fmt(f),
        }
    }
}

/// Whether the fastest form of a model is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Optimize {
    /// The trial tries forms, and the fastest that gives the same answers serves.
    #[default]
    Auto,
    /// The model runs as its file has it.
    Off,
}

impl FromStr for Optimize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            _ => Err(format!("expected \"auto\" or \"off\", got {text:?}")),
        }
    }
}

impl fmt::Display for Optimize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Off => "off",
        })
    }
}

/// How long a request may have to wait for its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum QueueWait {
    /// For as long as its model bears, by how long its runs take.
    #[default]
    Auto,
    /// For so long.
    AtMost(Duration),
}

impl QueueWait {
    /// The bound, where one is set.
    #[must_use]
    pub fn bound(self) -> Option<Duration> {
        match self {
            Self::Auto => None,
            Self::AtMost(bound) => Some(bound),
        }
    }
}

impl FromStr for QueueWait {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected \"auto\" or a duration of at most 24 h, got {text:?}");
        let bound = || unit::duration(text).filter(|it| *it <= DAY).ok_or_else(expected);
        if text == "auto" { Ok(Self::Auto) } else { bound().map(Self::AtMost) }
    }
}

impl fmt::Display for QueueWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::AtMost(bound) => f.write_str(&unit::print_duration(*bound)),
        }
    }
}

/// Where labels come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Labels {
    /// They stand in model.toml.
    Listed(Vec<Arc<str>>),
    /// They stand in this file of the model's folder, one a line.
    File(String),
}

/// Whether requests may share runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Where that is proved or probed.
    On,
    /// Never.
    Off,
    /// Also where it is not proved, as long as no probe finds otherwise.
    Trust,
}

/// What `[batching]` says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BatchingKeys {
    /// Whether requests may share runs.
    pub enabled: Option<Sharing>,
    /// How far a row's answer in a batch may be from its answer alone, relative to the largest.
    pub max_difference: Option<f64>,
    /// Most rows of a batch.
    pub max_batch_size: Option<usize>,
    /// How long an idle instance waits for more rows.
    pub max_queue_delay: Option<Duration>,
    /// Most requests that wait.
    pub queue_capacity: Option<usize>,
    /// How long a request may have to wait for its run.
    pub max_queue_wait: Option<QueueWait>,
    /// Sizes that padded dimensions are padded to, rising.
    pub pad_buckets: Option<Vec<usize>>,
}

/// An input whose variable dimension may be padded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pad {
    /// The input's name.
    pub input: Arc<str>,
    /// Where and with what.
    pub padding: InputPadding,
}

/// What `[limits]` says. A folder may tighten the server's limits, never widen them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LimitKeys {
    /// Most rows of one request.
    pub max_rows: Option<usize>,
    /// Most bytes of one body.
    pub max_body_bytes: Option<u64>,
    /// Longest that a request may take.
    pub timeout: Option<Duration>,
}

/// A model.toml, as written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Manifest {
    /// One sentence for people.
    pub description: Option<String>,
    /// Whether the server is ready only with this model; written `true` unless said otherwise.
    pub required: Option<bool>,
    /// Which versions to serve.
    pub versions: VersionPolicy,
    /// Where to run; `None` leaves it to the server.
    pub device: Option<DeviceChoice>,
    /// Whether to look for the fastest form; `None` leaves it to the server.
    pub optimize: Option<Optimize>,
    /// In which numbers to compute.
    pub precision: Precision,
    /// How far answers in a reduced precision may be from those in FP32.
    pub max_difference: Option<f64>,
    /// Instances of each version.
    pub instances: Option<usize>,
    /// Threads that one operator may use.
    pub intra_op_threads: Option<usize>,
    /// Names of the classes.
    pub labels: Option<Labels>,
    /// What to do with the output before reading labels off it.
    pub activation: Activation,
    /// How many labels an answer lists.
    pub top: Option<usize>,
    /// Declared inputs; empty leaves them to the probe.
    pub inputs: Vec<TensorSpec>,
    /// Inputs that may be padded.
    pub pads: Vec<Pad>,
    /// Declared outputs; empty leaves them to the probe.
    pub outputs: Vec<TensorSpec>,
    /// `[batching]`.
    pub batching: BatchingKeys,
    /// `[limits]`.
    pub limits: LimitKeys,
}

impl Manifest {
    /// Reads the text of a model.toml. `file` is how messages call it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once, each with its line and key.
    pub fn parse(file: &str, text: &str) -> Result<Self, ManifestError> {
        let mut reader = Reader::new(file, text);
        let document = reader.document();
        let root = Section::root(document.get_ref());
        let manifest = read(&mut reader, &root);
        reader.finish().map(|()| manifest)
    }
}

fn read<'s>(reader: &mut Reader<'s>, root: &Section<'_, 's>) -> Manifest {
    reader.refuse_unknown(root, KEYS, SERVER_ONLY);
    let labels = read_labels(reader, root);
    let mut pads = Vec::new();
    let inputs = read_tensors(reader, root, "inputs", |reader, section, spec| {
        pads.extend(read_pad(reader, section, spec));
    });
    let outputs = read_tensors(reader, root, "outputs", |_, _, _| {});
    let batching = match reader.section(root, "batching") {
        None => BatchingKeys::default(),
        Some(section) => BatchingKeys {
            enabled: reader.take(&section, "enabled", value::SHARING, value::sharing),
            max_difference: reader.take(&section, "max_difference", value::DIFFERENCE, |found| {
                value::difference(found)
            }),
            max_batch_size: reader.take(&section, "max_batch_size", "1 to 65536", |found| {
                value::integer_in(found, 1..=65_536)
            }),
            max_queue_delay: reader.take(&section, "max_queue_delay", value::DURATION, |found| {
                value::duration(found).filter(|delay| *delay <= Duration::from_secs(10))
            }),
            queue_capacity: reader.take(&section, "queue_capacity", "1 to 1048576", |found| {
                value::integer_in(found, 1..=1 << 20)
            }),
            max_queue_wait: reader.take(&section, "max_queue_wait", value::QUEUE_WAIT, value::word),
            pad_buckets: reader.take(&section, "pad_buckets", value::BUCKETS, value::buckets),
        },
    };
    let limits = match reader.section(root, "limits") {
        None => LimitKeys::default(),
        Some(section) => LimitKeys {
            max_rows: reader.take(&section, "max_rows", value::COUNT, value::count),
            max_body_bytes: reader.take(&section, "max_body_bytes", value::SIZE, |found| {
                value::size(found).filter(|bytes| *bytes > 0)
            }),
            timeout: reader.take(&section, "timeout", value::DURATION, |found| {
                value::duration(found).filter(|timeout| !timeout.is_zero())
            }),
        },
    };
    Manifest {
        description: reader.take(root, "description", "a text", value::text),
        required: reader.take(root, "required", value::FLAG, value::flag),
        versions: reader
            .take(root, "versions", value::VERSIONS, value::versions)
            .unwrap_or_default(),
        device: reader.take(root, "device", value::DEVICE, value::device),
        optimize: reader.take(root, "optimize", value::OPTIMIZE, value::word),
        precision: reader
            .take(root, "precision", value::PRECISION, value::word)
            .unwrap_or_default(),
        max_difference: reader.take(root, "max_difference", value::DIFFERENCE, value::difference),
        instances: reader
            .take(root, "instances", "1 to 1024", |found| value::integer_in(found, 1..=1024)),
        intra_op_threads: reader.take(root, "intra_op_threads", "1 to 1024", |found| {
            value::integer_in(found, 1..=1024)
        }),
        labels,
        activation: reader
            .take(root, "activation", value::ACTIVATION, value::activation)
            .unwrap_or_default(),
        top: reader.take(root, "top", "1 to 100", |found| value::integer_in(found, 1..=100)),
        inputs,
        pads,
        outputs,
        batching,
        limits,
    }
}

fn read_labels<'s>(reader: &mut Reader<'s>, root: &Section<'_, 's>) -> Option<Labels> {
    let listed = reader.take(root, "labels", "a list of two or more different texts", |found| {
        value::labels(found, MAX_LABELS)
    });
    let file = reader.take(root, "labels_file", "a path inside the model's folder", |found| {
        value::text(found).filter(|path| stays_inside(path))
    });
    match (listed, file) {
        (Some(_), Some(_)) => {
            reader.report(root, "labels_file", "labels are listed already, expected one of both");
            None
        }
        (Some(labels), None) => Some(Labels::Listed(labels)),
        (None, file) => file.map(Labels::File),
    }
}

fn stays_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    !path.contains('\0')
        && !path.is_empty()
        && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// What an input is padded with, if it says so.
fn read_pad<'s>(
    reader: &mut Reader<'s>,
    section: &Section<'_, 's>,
    spec: &TensorSpec,
) -> Option<Pad> {
    let element = reader.take(section, "pad", value::PAD, |found| {
        value::element(found, spec.datatype).or((spec.datatype == DataType::Bytes).then(Vec::new))
    })?;
    if spec.datatype == DataType::Bytes {
        reader.report(section, "pad", "texts cannot be padded");
        return None;
    }
    let dims = spec.shape.dims().unwrap_or_default();
    let is_variable = |axis: &usize| dims[*axis] == Dim::Variable;
    let mut variable = (1..dims.len()).filter(is_variable);
    let (Some(axis), None) = (variable.next(), variable.next()) else {
        let shape = &spec.shape;
        let message = format!("expected a shape with one -1 behind the rows, got {shape}");
        reader.report(section, "pad", &message);
        return None;
    };
    Some(Pad {
        input: Arc::clone(&spec.name),
        padding: InputPadding { axis, element: element.into() },
    })
}

fn read_tensors<'s>(
    reader: &mut Reader<'s>,
    root: &Section<'_, 's>,
    key: &'static str,
    mut each: impl FnMut(&mut Reader<'s>, &Section<'_, 's>, &TensorSpec),
) -> Vec<TensorSpec> {
    let mut tensors: Vec<TensorSpec> = Vec::new();
    for section in reader.sections(root, key) {
        let name = reader.require(&section, "name", "1 to 128 visible ASCII characters", |found| {
            value::text(found).filter(|name| is_tensor_name(name))
        });
        let datatype = reader.require(&section, "datatype", value::DATATYPE, value::datatype);
        let shape = reader.require(&section, "shape", value::SHAPE, value::shape);
        let optional = key == "inputs"
            && reader.take(&section, "optional", value::FLAG, value::flag).unwrap_or(false);
        let (Some(name), Some(datatype), Some(shape)) = (name, datatype, shape) else {
            continue;
        };
        if tensors.iter().any(|tensor| *tensor.name == *name) {
            reader.report(&section, "name", &format!("{name:?} is there already"));
        }
        let spec = TensorSpec { name: name.into(), datatype, shape, optional, declared: true };
        each(reader, &section, &spec);
        tensors.push(spec);
    }
    tensors
}

fn is_tensor_name(name: &str) -> bool {
    (1..=MAX_TENSOR_NAME).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
