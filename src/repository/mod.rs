//! The models on disk and the versions of them that serve.
//!
//! A folder becomes a model in steps: `layout` finds it, `manifest` reads what it says about
//! itself, `policy` chooses among its versions. `bring_up` has those come up, and `load` loads each: `verdicts` may know the verdict on
//! it, otherwise `trial` has it tried in a child process; `plan` decides how it is to be served, `start` starts that, and
//! `served` is what requests get. `catalog` holds the states, as a snapshot that requests resolve against.
//!
//! The one thing to know: a version is let go by taking the catalog's handle away. Whoever resolved
//! it finishes on it, and the last handle unloads it on a thread of its own.
//!
//! Loading blocks, on plain threads. No wire format, no status code, no configuration file here.

mod batch_size;
mod beside;
mod bring_up;
mod busy;
mod candidate;
mod catalog;
mod changeover;
mod contest;
mod decisions;
mod entry;
mod error;
mod failure;
mod fingerprint;
mod found;
mod intents;
mod isolation;
mod hold;
pub mod layout;
mod lifecycle;
mod live;
mod load;
mod manage;
pub mod manifest;
mod models;
mod native;
mod options;
mod orders;
mod parts;
mod plan;
pub mod policy;
mod problem;
mod reconfigure;
mod record;
mod rollouts;
mod routing;
mod sample;
mod seal;
mod served;
mod shared;
mod single;
mod source;
mod standing;
mod start;
mod state_file;
mod status;
mod steps;
mod sums;
mod text_file;
mod threads;
mod transition;
mod trial;
mod verdict;
mod verdicts;
mod verifier;
mod warmup;
mod watch;

#[cfg(test)]
mod tests;

pub use crate::engine::probe::{Curve, FormFacts, FormFindings, RunTimes, TimedRun, TriedForm};
pub use batch_size::BatchSize;
pub use decisions::UNKEPT;
pub use error::RepositoryError;
pub use failure::ModelFailure;
pub use fingerprint::file_digest;
pub use isolation::{Isolation, IsolationPolicy, NamePattern};
pub use layout::NamedFolder;
pub use lifecycle::VersionState;
pub use live::{Defaults, Live, LiveOptions};
pub use models::Repository;
pub use options::{FolderWatch, FreeMemory, Overrides, RepositoryOptions, TrustedModel};
pub use parts::RepositoryParts;
pub use rollouts::Rollout;
pub use routing::Pin;
pub use sample::SampleDecoder;
pub use served::{Facts, ModelHandle, ModelLimits};
pub use single::{FileTrial, try_file};
pub use status::{
    LoadedStatus, ModelStatus, Readiness, RejectedVersion, RolloutStatus, VersionStatus,
};
pub use steps::ALL_EXTRAS;
pub use text_file::read_plain;
pub use verifier::Verifier;
