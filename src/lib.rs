//! sconce serves TorchScript models over HTTP.
#![forbid(unsafe_code)]

pub mod engine;
pub mod inference;
pub mod repository;
pub mod telemetry;
pub mod tensor;
