//! How a store is mirrored, and what the server tells the mirror.

use super::address::StoreUrl;
use std::path::PathBuf;
use std::time::Duration;

/// How a store is mirrored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorOptions {
    /// Which store.
    pub url: StoreUrl,
    /// The folder for what comes from stores; each has a folder of its own in it.
    pub cache_dir: PathBuf,
    /// Bytes that versions may take there.
    pub cache_bytes: u64,
    /// Largest object that is brought.
    pub max_file_bytes: u64,
    /// How often the store is looked at.
    pub poll: Duration,
}

impl MirrorOptions {
    /// The folder of this store.
    pub(super) fn folder(&self) -> PathBuf {
        self.cache_dir.join(self.url.folder_name())
    }

    /// The models folder that a mirror makes.
    #[must_use]
    pub fn models(&self) -> PathBuf {
        self.folder().join("models")
    }
}

/// Hears what is wrong with the store, and nothing when that is over.
pub type Heard = Box<dyn Fn(Option<&str>) + Send + Sync>;

/// Which versions the server needs, by model and number; `None` while that is not settled.
pub type InUse = Box<dyn Fn() -> Option<Vec<(String, u64)>> + Send>;

/// What came of looking at the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncOutcome {
    /// Nothing new.
    Unchanged,
    /// Something came or went.
    Updated,
    /// The store is away, or something in it cannot be had.
    Failed,
}

impl SyncOutcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Unchanged, Self::Updated, Self::Failed];

    /// As metrics call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Updated => "updated",
            Self::Failed => "failed",
        }
    }
}
