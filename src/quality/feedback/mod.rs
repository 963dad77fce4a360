//! Labels that come back: which answer they are about, whether it was right, and what that says of the version.
//!
//! | file | is about |
//! |---|---|
//! | `label` | labels as they come, and what becomes of them |
//! | `token`, `keys` | what an answer was, signed, so that any replica can count its label |
//! | `seen` | tokens that came back, so that none counts twice |
//! | `answers` | what of an answer can be compared with the truth |
//! | `tally`, `report` | what is counted, and the figures that follow |
//! | `sizes` | how large numbers usually are, so that none hides all others |
//! | `known` | a version whose labels are counted, over its files |
//! | `registry` | all of them, and the labels that come for them |
//! | `series` | what is exported |
//!
//! Labels are counted when they arrive: counters cannot go back. Nothing on the path of a prediction waits for any of it but
//! the token of a caller who asked for one.

mod answers;
mod keys;
mod known;
mod label;
mod registry;
mod report;
mod seen;
mod series;
mod sizes;
mod tally;
mod token;

#[cfg(test)]
mod tests;

pub use label::{AnswerRef, Label, LabelOutcome, MAX_LABELS_A_CALL, Receipt};
pub use registry::{Feedback, FeedbackOptions};
pub use report::{
    ClassFigure, ClassificationFigures, NumberFigures, QualityFigures, QualityReport,
};
pub use tally::{ScoreBin, Truth};
pub use token::MAX_ROWS;
