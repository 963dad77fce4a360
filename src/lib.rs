//! sconce serves TorchScript models over HTTP.
#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod engine;
pub mod inference;
pub mod tensor;
