//! Pure steps around a model's run, hung on a loaded version.
//!
//! Tensors in, plain values out: no I/O, no wire format, no state between calls. So far there is one
//! step behind the model: [`Postprocess`] turns scores into labels.

mod postprocess;

pub use postprocess::{Activation, Postprocess, TransformError};
