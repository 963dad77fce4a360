//! sconce serves TorchScript models over HTTP.
#![forbid(unsafe_code)]

pub mod engine;
pub mod inference;
pub mod protocol;
pub mod tensor;
pub mod transform;
