//! Versions that change without anybody noticing: golden requests before traffic, canary and shadow with it.
//!
//! `policy` decides what a roll-out does next, by `rules` over what was counted (`figures`, `compare`), which
//! are tests that may be looked at as often as one likes (`sequential`); `power` says what so many requests
//! cannot show. All of that is pure. What counts hangs on the door: `meter` for each version that serves,
//! `shadow` for one that answers copies. `golden` asks a version what it must answer before it gets anything.
//!
//! `controller` puts them together, once a second, and has `repository` move the versions.

mod compare;
mod controller;
mod figures;
pub mod golden;
mod meter;
mod policy;
mod power;
mod rules;
mod sequential;
mod shadow;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod testing;

pub use compare::{Agreement, Comparison, compare};
pub use controller::{Report, Rollouts, describe, error_rate};
pub use figures::{Figures, Latencies};
pub use meter::{Meter, MeterOf, Metering};
pub use policy::{Judged, Move, Progress, RolloutDecision, Stage, WaitReason, decide};
pub use power::{Sample, Smallest, smallest};
pub use rules::{Evidence, LabelCounts, RollbackReason};
pub use sequential::{FALSE_ALARM_RATE, Share};
pub use shadow::{Shadow, ShadowOf, ShadowTarget, Tally};
