//! Labelled rows against a version of a model: figures, their intervals, and what another version does otherwise.
//!
//! A row is a request: it is decoded, checked, queued, run and labelled by what serves requests (`pipeline`), so that
//! what is measured is what clients would get. The figures themselves are pure, by scikit-learn's definitions. Nothing
//! here loads a model, and nothing that serves names this room.

mod answers;
mod bounds;
mod collect;
mod compare;
mod data;
mod error;
mod figures;
mod inputs;
mod report;
mod summary;

pub use bounds::BoundCheck;
pub use collect::{Collected, collect};
pub use data::DataSet;
pub use error::EvaluationError;
pub use inputs::read_inputs;
pub use report::{Page, html, json, table};
pub use summary::{Evaluation, evaluate};
