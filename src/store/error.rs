//! What goes wrong with a store. Texts hold no credentials: `scrub` takes them out of what the store said.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why something is not brought from a store.
#[derive(Debug, Error)]
pub enum StoreError {
    /// What was written is no address of a store.
    #[error("this is no address of a store that can be used: {0}")]
    Address(&'static str),
    /// The program cannot speak to stores.
    #[error(
        "this program was built without the feature `stores`, and models can come from a folder only"
    )]
    NotBuilt,
    /// What the environment says about the store cannot be used.
    #[error("the store cannot be set up: {0}")]
    Setup(String),
    /// The store does not answer, or refuses.
    #[error("{0}")]
    Store(String),
    /// The listing has no object of a model, and the mirror has some.
    #[error(
        "the store lists no model at all; what came from it before is kept, and has to be removed by hand if that is meant"
    )]
    Emptied,
    /// There is nothing to serve, and never was.
    #[error("the store lists no model there")]
    Empty,
    /// There is more in the store than is looked at.
    #[error("the store lists more than {0} objects, which is more than is looked at")]
    TooMany(usize),
    /// Another process keeps the same folder.
    #[error("another process keeps the folder {0:?} as the store is; what lies there is used")]
    Shared(PathBuf),
    /// One object, one version: the others are not concerned.
    #[error("{key}: {reason}")]
    Object {
        /// Which one.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The disk.
    #[error("{path:?}: {source}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}
