//! The program as a whole: the real binary, real models, real sockets.
//!
//! What belongs here: what a client or an operator can see. What one room does by itself is tested
//! in that room; what libtorch does is in `tests/torch.rs`.

#![expect(clippy::unwrap_used, reason = "a test stops at what it does not expect")]
#![expect(clippy::print_stderr, reason = "a test shows its figures, a failed one the server's log")]

mod api;
mod bad_input;
mod broken;
mod capture;
mod commands;
mod contract;
mod cors;
mod evaluate;
mod examples;
mod folders;
mod forms;
mod harness;
mod inputs;
mod instances;
mod isolation;
mod kinds;
mod libraries;
mod lifecycle;
mod limits;
mod metrics;
mod orders;
mod open_inference;
mod padding;
mod reload;
mod sending;
mod sharing;
mod surroundings;
mod torchserve;
