//! sconce serves TorchScript models over HTTP.
#![forbid(unsafe_code)]

pub mod config;
pub mod engine;
pub mod inference;
pub mod tensor;
