//! sconce serves TorchScript models over HTTP.
#![forbid(unsafe_code)]

pub mod app;
pub mod cli;
pub mod config;
pub mod shutdown;
pub mod tensor;
pub mod inference;
pub mod telemetry;
pub mod engine;
pub mod scheduler;
pub mod transform;
pub mod repository;
pub mod pipeline;
pub mod protocol;
pub mod http;
