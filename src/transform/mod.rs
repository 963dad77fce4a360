//! Pure steps around a model's run, and the two specifications that they stand between: what clients
//! send and get (the interface), and what the engine takes and gives.
//!
//! Tensors in, tensors and plain values out: no I/O, no wire format, no state between calls. A new step
//! is a file here that implements [`InputStep`] or [`OutputStep`], and a line in `repository/steps`. So
//! far there is one behind the model: [`Labels`] names what its scores stand for.

mod error;
mod labels;
mod steps;

pub use error::TransformError;
pub use labels::{Activation, Labels};
pub use steps::{ClassScores, InputStep, OutputStep, Outputs, Steps, Transform};
