//! Models.

pub mod layout;
pub mod manifest;
pub mod policy;
