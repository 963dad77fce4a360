//! Models that lie in an object store: a folder on this machine that is kept as the store is.
//!
//! The one thing to know: a [`Mirror`] makes a models folder, and nothing else in the program knows that there is a store.
//! What can be seen in that folder is always whole: files come into a folder beside it, are checked, and are moved in by one
//! step. What lies there serves on when the store is away. `keys` says which objects belong to models, `listing` asks the
//! store for them, `plan` chooses what is kept, `fetch` brings a file, `folders` moves it in, `sync` joins these, and `mirror`
//! does that again and again on a thread of its own.
//!
//! Without the feature `stores` the addresses are understood, so that the error is a clear one, and no mirror can be had.

mod address;
mod error;
mod options;

#[cfg(feature = "stores")]
mod connect;
#[cfg(feature = "stores")]
mod fetch;
#[cfg(feature = "stores")]
mod folders;
#[cfg(feature = "stores")]
mod index;
#[cfg(feature = "stores")]
mod keys;
#[cfg(feature = "stores")]
mod listing;
#[cfg(feature = "stores")]
mod mirror;
#[cfg(feature = "stores")]
mod plan;
#[cfg(feature = "stores")]
mod scrub;
#[cfg(feature = "stores")]
mod stats;
#[cfg(feature = "stores")]
mod sync;

#[cfg(not(feature = "stores"))]
mod absent;

#[cfg(not(feature = "stores"))]
pub use absent::AbsentMirror as Mirror;
pub use address::StoreUrl;
pub use error::StoreError;
#[cfg(feature = "stores")]
pub use mirror::Mirror;
pub use options::{Heard, InUse, MirrorOptions, SyncOutcome};

#[cfg(test)]
#[cfg(feature = "stores")]
mod tests;
