//! The seam to compute libraries: a loader a format, a model with shared weights, engines that run it.
//!
//! Blocking code on its own threads; no async, no queue, no wire format. Only `torch` names tch.

pub mod fake;
pub mod kind;
pub mod package;
pub mod probe;
pub mod remote;
#[cfg(feature = "torch")]
pub mod torch;

mod artifact;
pub(crate) mod compare;
mod error;
mod form;
mod loaders;
mod messages;
mod plain_file;
mod signature;

pub use artifact::{Artifact, Format};
pub use error::{Death, EngineError, Fault};
pub use form::{ModelForm, Precision, Rewrite};
pub use loaders::Loaders;
pub use plain_file::open_plain;
pub use signature::{
    Argument, ArgumentKind, Interface, Parameter, Reach, Signature, TensorType, without_overload,
};

use crate::tensor::{BufferMut, DataType, Tensor};
use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The stack of every thread on which a model may be loaded, run or freed: how deep that goes, the file decides. It is
/// address space, and memory only as far as it is used.
pub const STACK_BYTES: usize = 16 << 20;

/// Bytes of all outputs of a run at most, and of all inputs of one in a process of its own.
pub const MAX_RUN_BYTES: usize = 1 << 30;

/// Where a model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Device {
    /// The processor.
    Cpu,
    /// The CUDA device of this index.
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let index = |text: &str| text.strip_prefix("cuda:")?.parse().ok();
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => index(text)
                .map(Self::Cuda)
                .ok_or_else(|| format!("unknown device {text:?}, expected \"cpu\" or \"cuda:N\"")),
        }
    }
}

/// How a model is to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// Where it is to run.
    pub device: Device,
    /// Threads that one operator may use, for each instance.
    pub intra_op_threads: usize,
    /// In which form.
    pub form: ModelForm,
    /// The datatypes of its outputs in the plain form, to which floating-point outputs are brought back; those that
    /// are not listed and come in a reduced precision become FP32.
    pub outputs: Vec<DataType>,
    /// How many runs of it may be under way at once, for a model that has to be told.
    pub runs: usize,
    /// How long the model may take for everything together, where that can be enforced (see
    /// `remote`): less than what holds otherwise, never more.
    pub within: Option<Duration>,
}

impl LoadOptions {
    /// For the form that the file has.
    #[must_use]
    pub const fn plain(device: Device, intra_op_threads: usize) -> Self {
        let outputs = Vec::new();
        Self { device, intra_op_threads, form: ModelForm::PLAIN, outputs, runs: 1, within: None }
    }
}

/// Rows of one or more requests, ready to run.
#[derive(Debug)]
pub struct Batch {
    /// Tensors in the order of the model's arguments; `None` leaves one to its default.
    pub inputs: Vec<Option<Tensor>>,
    /// From when on nobody waits for its outputs: the latest deadline of its requests. An engine may give the run up
    /// then. `None` where it runs for no request: in a trial, to warm up, to verify.
    pub deadline: Option<Instant>,
    /// When the run has had its time and counts as stuck: an engine that can end one does so then, whatever that costs.
    /// `None` where its own bounds hold.
    pub until: Option<Instant>,
}

impl Batch {
    /// Inputs that are run for no request.
    #[must_use]
    pub const fn without_deadline(inputs: Vec<Option<Tensor>>) -> Self {
        Self { inputs, deadline: None, until: None }
    }
}

/// How long the parts of a run took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases {
    /// Handing the inputs to the device.
    pub input: Duration,
    /// The model itself.
    pub compute: Duration,
    /// Getting the outputs back.
    pub output: Duration,
}

impl Phases {
    /// All of them together.
    #[must_use]
    pub fn total(self) -> Duration {
        self.input + self.compute + self.output
    }
}

/// One output of a run.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its name, where the model gives one (a dictionary's key, a named tuple's field).
    pub name: Option<Arc<str>>,
    /// Its values, in host memory.
    pub tensor: Tensor,
}

/// What a run gave.
#[derive(Debug)]
pub struct RunOutcome {
    /// The outputs in the order in which the model returns them.
    pub outputs: Vec<Output>,
    /// Where the time went.
    pub phases: Phases,
    /// What the run cost the processor, where that was measured: unlike its duration, the same whatever
    /// else the machine does. Of one thread only, so `None` where operators have several or run on a GPU.
    pub processor_time: Option<Duration>,
}

/// Loads files of one format; [`Loaders`] those of several.
pub trait Loader: Send + Sync {
    /// Reads a file. Risky with a file that has not been tried: see `remote`.
    ///
    /// # Errors
    ///
    /// The file is not of the format, cannot be read, or does not fit the device.
    fn load(
        &self,
        artifact: &Artifact,
        options: &LoadOptions,
    ) -> Result<Box<dyn Model>, EngineError>;

    /// What a plain file is, when it is not of the format that it is taken for: one sentence that says
    /// what to do too. Nothing of the file is loaded.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    fn other_kind(&self, _artifact: &Artifact) -> io::Result<Option<String>> {
        Ok(None)
    }

    /// What is wrong with a file before it is loaded, if anything: it is damaged, or more than there is room for. A sentence.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    fn damage(&self, _artifact: &Artifact) -> io::Result<Option<String>> {
        Ok(None)
    }

    /// The devices that can be asked for, the preferred one first; never empty.
    fn devices(&self) -> Vec<Device>;
}

/// A loaded model; its weights are shared by its instances.
pub trait Model: Send + Sync {
    /// What the file declares.
    fn signature(&self) -> &Signature;

    /// Bytes that the weights take.
    fn memory(&self) -> u64;

    /// A new engine over the same weights, to be used by one thread. A model that keeps state
    /// between calls gets a copy of its own.
    ///
    /// # Errors
    ///
    /// The device has no room, or the copy cannot be made.
    fn instance(&self) -> Result<Box<dyn Engine>, EngineError>;

    /// Whether it runs in a process of its own, which may end and is then followed by another: what was being run fails with
    /// [`Fault::Died`], or [`Fault::TimedOut`], and a new instance runs again.
    fn is_isolated(&self) -> bool {
        false
    }

    /// Notices a process that has ended by itself while nothing ran. Asked now and then; it neither waits nor starts another.
    fn notice_ends(&self) {}

    /// Has the end of each such process told, once. Only the first watcher counts.
    fn watch_deaths(&self, _watcher: DeathWatcher) {}
}

/// Hears why a process has ended that ran a model.
pub type DeathWatcher = Box<dyn Fn(&EngineError) + Send + Sync>;

/// Runs a model, one batch at a time, on the thread that owns it.
pub trait Engine: Send {
    /// Runs a batch; blocks until the outputs are in host memory.
    ///
    /// # Errors
    ///
    /// The model raised, or the device failed.
    fn run(&mut self, batch: Batch) -> Result<RunOutcome, EngineError>;

    /// Memory to put a batch together in, of a kind that the device reads fast.
    fn buffer(&mut self, bytes: usize) -> BufferMut {
        BufferMut::zeroed(bytes)
    }
}
