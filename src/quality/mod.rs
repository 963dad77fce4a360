//! Watches models and not only the server: what their inputs and answers look like today beside a reference.
//!
//! | file | is about |
//! |---|---|
//! | `reference` | `reference.json`: what a version's data looked like when it was made |
//! | `values` | the numbers of a tensor, and what describes a row of too many |
//! | `builder` | makes a reference out of rows |
//! | `bins`, `figures` | pure: where values fall, and how far counts have moved |
//! | `counts` | the counters of a version, which requests add to |
//! | `windows`, `drift` | what an hour and a day say beside the reference, and when that is an alarm |
//! | `feedback` | labels that come back, and what they say of the answers |
//! | `watched` | a version beside its reference: its windows, and what has begun and is over |
//! | `series` | what Prometheus gets of it |
//! | `watch` | all that are watched: an observer at the door, a look each minute |
//!
//! Statistics add up: all that is exported are counts in bins which the reference fixes, so that sums over replicas and over any
//! window are right. Nothing on the path of a request waits, and nothing is kept of a single one.

mod bins;
mod builder;
mod counts;
mod drift;
pub mod feedback;
mod figures;
mod reference;
mod series;
mod values;
mod watch;
mod watched;
mod windows;

#[cfg(test)]
mod tests;

pub use builder::Builder;
pub use drift::{FeatureDrift, Trouble};
pub use reference::{FEW_ROWS, FILE, Feature, MAX_LABELS, MIN_ROWS, OTHER, Of, Reference};
pub use values::Descriptor;
pub use watch::Quality;
pub use watched::{DriftReport, LabelShare, WindowReport};
pub use windows::Window;
