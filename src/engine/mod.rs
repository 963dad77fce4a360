//! The seam to compute libraries: a loader a format, a model with shared weights, engines that run it.
//!
//! Blocking code on its own threads; no async, no queue, no wire format. Only `torch` names tch.

pub mod fake;
pub mod kind;
pub mod probe;
pub mod remote;
#[cfg(feature = "torch")]
pub mod torch;

pub(crate) mod compare;
mod error;
mod form;

pub use error::{EngineError, Fault};
pub use form::{ModelForm, Precision, Rewrite};

use crate::tensor::{BufferMut, DataType, Tensor};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// The stack of every thread on which a model may be loaded, run or freed: how deep that goes, the file decides. It is
/// address space, and memory only as far as it is used.
pub const STACK_BYTES: usize = 16 << 20;

/// A model file. What it may do is not known before it has been loaded.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// Where it lies.
    pub path: PathBuf,
    /// What the log calls it.
    pub label: String,
    /// The file, where it has been opened already.
    pub file: Option<Arc<File>>,
    /// Whether the server's configuration vouches for it, so that its code may reach what the server's user may.
    pub is_trusted: bool,
}

impl Artifact {
    /// A file that is opened when it is loaded.
    #[must_use]
    pub fn new(path: PathBuf, label: String) -> Self {
        Self { path, label, file: None, is_trusted: false }
    }

    /// The file, open for reading.
    ///
    /// # Errors
    ///
    /// It cannot be opened, or is no file.
    pub fn open(&self) -> Result<Arc<File>, EngineError> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        // Without waiting: a pipe would wait for somebody who writes to it.
        let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&self.path);
        let is_file = |file: &File| file.metadata().is_ok_and(|it| it.is_file());
        match opened {
            Ok(file) if is_file(&file) => Ok(Arc::new(file)),
            Ok(_) => Err(EngineError::new(Fault::InvalidFile, "the model file is not a file")),
            Err(error) => {
                let text = format!("the model file cannot be opened: {error}");
                Err(EngineError::new(Fault::InvalidFile, text))
            }
        }
    }
}

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
    /// are not told and come in a reduced precision become FP32.
    pub outputs: Vec<DataType>,
    /// How long the model may take for everything together, where that can be enforced (see
    /// `remote`): less than what holds otherwise, never more.
    pub within: Option<Duration>,
}

impl LoadOptions {
    /// For the form that the file has.
    #[must_use]
    pub const fn plain(device: Device, intra_op_threads: usize) -> Self {
        let outputs = Vec::new();
        Self { device, intra_op_threads, form: ModelForm::PLAIN, outputs, within: None }
    }
}

/// What kind of value an argument of a model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentKind {
    /// A tensor, whose datatype and shape the file does not tell.
    Tensor,
    /// A list of texts, which travels as a `BYTES` tensor of one dimension.
    Texts,
    /// A plain number, flag or text of this datatype (`INT64`, `FP64`, `BOOL`, `BYTES`).
    Scalar(DataType),
}

/// An argument of a model, as its file declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its name in the model's source.
    pub name: Arc<str>,
    /// What it takes.
    pub kind: ArgumentKind,
    /// Whether the model has a default for it.
    pub optional: bool,
}

/// A parameter or buffer that the file carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its qualified name.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its element type; `None` for types that the protocol has no word for.
    pub datatype: Option<DataType>,
}

/// What can be read from a model file without running it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Signature {
    /// The arguments of `forward`.
    pub arguments: Vec<Argument>,
    /// The return type, in the words of the file's language.
    pub returns: String,
    /// Every method, `forward` among them.
    pub methods: Vec<String>,
    /// Every operator that any method can reach, sorted.
    pub operators: Vec<String>,
    /// Whether a method writes to what the model holds.
    pub mutates_state: bool,
    /// The code of `forward` as data, which `probe::proof` reads; `None` where it cannot be told.
    pub code: Option<Arc<str>>,
    /// Parameters and buffers, in the order of definition.
    pub parameters: Vec<Parameter>,
}

/// An operator's name without its overload.
#[must_use]
pub fn without_overload(operator: &str) -> &str {
    operator.split_once('.').map_or(operator, |(base, _)| base)
}

impl Signature {
    /// Whether it has an operator of that name, in any overload.
    #[must_use]
    pub fn uses(&self, name: &str) -> bool {
        self.operators.iter().any(|it| without_overload(it) == name)
    }

    /// Whether its code asks for gradients, which are computed only where it runs for them.
    #[must_use]
    pub fn takes_gradients(&self) -> bool {
        self.uses("aten::grad") || self.uses("aten::backward")
    }
}

/// Rows of one or more requests, ready to run.
#[derive(Debug)]
pub struct Batch {
    /// Tensors in the order of the model's arguments; `None` leaves one to its default.
    pub inputs: Vec<Option<Tensor>>,
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

/// Loads files of one format.
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

    /// What a plain file is, when it is of another format than this loader's: one sentence that says
    /// what to do too. Nothing of the file is loaded.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    fn other_kind(&self, _file: &Path) -> io::Result<Option<String>> {
        Ok(None)
    }

    /// What is wrong with a file before it is loaded, if anything: it is damaged, or more than there is room for.
    ///
    /// # Errors
    ///
    /// The file cannot be read.
    fn fault(&self, _file: &Path) -> io::Result<Option<String>> {
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
}

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
