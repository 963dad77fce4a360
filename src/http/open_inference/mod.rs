//! What answers on the routes of the Open Inference Protocol V2, with the extensions that Triton's clients use.
//!
//! Bodies of inference are `protocol::open_inference`'s; here are the documents about the server and
//! its models, in their public form. Sources: the Open Inference Protocol's REST specification and
//! the Triton server's protocol extensions.

pub(super) mod config;
pub(super) mod metadata;
pub(super) mod repository;
pub(super) mod statistics;
pub(super) mod unsupported;
