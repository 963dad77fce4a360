//! Runs: a batch on an engine, from what was queued to the answers, and what is learned from it.

mod attempt;
mod engine;
mod failure;
mod halving;
mod outputs;
mod refusal;
mod verify;

pub(super) use engine::{Health, run};
pub(super) use halving::{Died, Ended, run_batch};
pub(super) use refusal::{refuse, refuse_killer, refuse_suspect};
pub(super) use verify::{skip, verify};
