//! What a child gets to load: the model's file as it is, or what was taken out of a package.

use super::protocol::Request;
use crate::engine::package::Package;
use crate::engine::{Artifact, EngineError, LoadOptions, Signature};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// What goes to a child. It is let go when the child has it, which copies weights to where it wants them.
#[derive(Debug)]
pub(super) enum Handover {
    /// The file, open.
    File(Arc<File>),
    /// In memory, where nobody changes it.
    Package(Box<Package>),
}

impl Handover {
    /// Opens the file; a package is taken apart, which may take so many bytes.
    pub(super) fn of(artifact: &Artifact, max_bytes: Option<u64>) -> Result<Self, EngineError> {
        if artifact.format.is_native() {
            let package = Package::open(artifact, max_bytes.unwrap_or(u64::MAX))?;
            return Ok(Self::Package(Box::new(package)));
        }
        artifact.open().map(Self::File)
    }

    /// By which a child loads it.
    pub(super) fn request(&self, artifact: &Artifact, options: &LoadOptions) -> Request {
        let package = match self {
            Self::File(_) => None,
            Self::Package(package) => Some(&**package),
        };
        Request::load(artifact.format, options, package)
    }

    /// The descriptors that go with that.
    pub(super) fn files(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::File(file) => vec![file.as_fd()],
            Self::Package(package) => {
                let weights = package.weights.as_ref().map(AsFd::as_fd);
                [Some(package.library.as_fd()), weights].into_iter().flatten().collect()
            }
        }
    }

    /// What the model declares and the bytes of its weights: as a child says it, but for native code, which says what it likes
    /// there.
    pub(super) fn facts(&self, signature: Signature, memory: u64) -> (Signature, u64) {
        match self {
            Self::File(_) => (signature, memory),
            Self::Package(package) => (package.signature.clone(), package.bytes),
        }
    }
}
