//! Runs: a batch on an engine, from what was queued to the answers, and what is learned from it.

mod attempt;
mod engine;
mod failure;
mod halving;
mod outputs;
mod verify;

pub(super) use engine::{Health, run};
pub(super) use halving::run_batch;
pub(super) use verify::{skip, verify};
