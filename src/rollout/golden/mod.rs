//! `golden.jsonl`: what a version must answer before it gets traffic.
//!
//! | a line has | and means |
//! |---|---|
//! | `request`, `expected`, perhaps `tolerance` | the answer's `prediction`, `predictions` or `outputs` must be this |
//! | `request`, `label` or `labels` | so must the label of the row, or of each; a part of all labels may be wrong |
//! | `min_accuracy`, `tolerance` | on the first line: for all that follow |
//!
//! `file` reads lines, `ask` has a version answer, `values` compares what clients would see, `verify` and `write` are
//! the two things that are done with that.

mod ask;
mod file;
mod values;
mod verify;
mod write;

#[cfg(test)]
mod tests;

pub use file::{FILE, MAX_BYTES, read};
pub use verify::{GoldenReport, Goldens, Miss, verify};
pub use write::write;
