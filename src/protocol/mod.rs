//! Between the wire and the service: bodies to tensors, answers and errors to bodies.
//!
//! One module a protocol, each with its own `decode`, `encode` and `encode_error`, all given the
//! model's specification, and each a [`Wire`] by which `pipeline` knows it. No HTTP (heads are the edge's), no
//! queue, no clock. `codes` says what a failure is called on each wire. What the JSON protocols share lies in
//! `json` and `forms`, and tensors that come as plain bytes are read by `plain`.

pub mod codes;
pub mod embeddings;
mod forms;
pub mod instances;
pub(crate) mod json;
mod media_type;
pub mod open_inference;
mod parameter;
mod plain;
pub mod predict;
#[cfg(test)]
mod bodies;
#[cfg(test)]
mod testing;
pub mod torchserve;
mod wire;

pub use wire::{Decoded, Encoded, Header, Metadata, Wire};
