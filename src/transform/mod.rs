//! Pure steps around a model's run, and the two specifications that they stand between: what clients
//! send and get (the interface), and what the engine takes and gives.
//!
//! Tensors in, tensors and plain values out: no I/O, no wire format, no state between calls. A new step
//! is a file here that implements [`InputStep`] or [`OutputStep`], and a line in `repository/steps`. So
//! far there are three before the model, [`Tokenize`], [`Decode`] and [`Tabulate`], and behind it [`Pool`]
//! and [`Normalize`] for vectors, and [`Labels`], which names what its scores stand for.

mod content;
mod desk;
mod error;
mod image;
mod labels;
mod steps;
mod table;
mod text;
mod vectors;

pub use self::image::{Channels, Decode, Filter, ImageOptions, ImageSize};
pub use desk::Desk;
pub use error::TransformError;
pub use labels::{Activation, Labels};
pub use steps::{ClassScores, InputStep, OutputStep, Outputs, Steps, Transform};
pub use table::{Categories, Column, ColumnKind, Tabulate};
pub use text::{IDS as TOKEN_IDS, TextOptions, Tokenize};
pub use vectors::{Normalize, Pool};
