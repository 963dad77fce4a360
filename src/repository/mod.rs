//! Models.

mod error;
pub mod layout;
pub mod manifest;
mod options;
pub mod policy;
mod source;

pub use error::RepositoryError;
pub use options::{Defaults, Options, TrustedModel};
