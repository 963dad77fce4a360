//! A model file: where it lies, of which format it is, and whether it is vouched for.

use super::package::Package;
use super::{EngineError, Fault};
use std::fmt;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

/// How a model file is written, which decides what loads it: see [`super::Loaders`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// An archive of `torch.jit.save`.
    TorchScript,
    /// A package of AOTInductor: native code.
    AotInductor,
}

impl Format {
    /// Every format.
    pub const ALL: &'static [Self] = &[Self::TorchScript, Self::AotInductor];

    /// Its name in messages, and between the server and its child process.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TorchScript => "torchscript",
            Self::AotInductor => "aot_inductor",
        }
    }

    /// Its word in the Open Inference Protocol, as Triton writes it.
    #[must_use]
    pub const fn platform(self) -> &'static str {
        match self {
            Self::TorchScript => "pytorch_torchscript",
            Self::AotInductor => "torch_aoti",
        }
    }

    /// What a file of it is called in the folder of a version.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::TorchScript => "model.pt",
            Self::AotInductor => "model.pt2",
        }
    }

    /// The format that the name of a file says.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let is_package = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("pt2"));
        if is_package { Self::AotInductor } else { Self::TorchScript }
    }

    /// Whether a file of it is code for the processor itself, which does whatever its process may: it is loaded where somebody
    /// vouches for it alone, and in a confined process of its own alone.
    #[must_use]
    pub const fn is_native(self) -> bool {
        match self {
            Self::TorchScript => false,
            Self::AotInductor => true,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|format| format.as_str() == text);
        known.copied().ok_or_else(|| format!("unknown format {text:?}"))
    }
}

/// A model file. What it may do is not known before it has been loaded.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// How it is written.
    pub format: Format,
    /// Where it lies.
    pub path: PathBuf,
    /// What the log calls it.
    pub label: String,
    /// The file, where it has been opened already.
    pub file: Option<Arc<File>>,
    /// Whether the server's configuration vouches for it, so that its code may reach what the server's user may.
    pub is_trusted: bool,
    /// The SHA-256 of the file, where it was taken: by it somebody vouches for it.
    pub digest: Option<Arc<str>>,
    /// What is in it, where it is native code and has been taken apart.
    pub package: Option<Arc<Package>>,
}

impl Artifact {
    /// A file that is opened when it is loaded.
    #[must_use]
    pub fn new(format: Format, path: PathBuf, label: String) -> Self {
        Self { format, path, label, file: None, is_trusted: false, digest: None, package: None }
    }

    /// Whether its process may do what the server's user may.
    #[must_use]
    pub const fn is_unconfined(&self) -> bool {
        self.is_trusted && !self.format.is_native()
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
