//! The native JSON protocol.
//!
//! | a body has exactly one of | which holds | the answer has |
//! |---|---|---|
//! | `features` | one row of the model's one input, without the axis of rows | `prediction` |
//! | `instances` | a list of rows; each the one input's, or an object of rows by input name | `predictions` |
//! | `inputs` | an object of whole tensors by input name; plain values for inputs of rank 0 | `outputs` |
//!
//! Nothing else may stand beside it. `prediction` is one row of the model's output without the axis
//! of rows, or an object of such rows by name where the model has several outputs; `predictions` is
//! a list of the same; `outputs` is an object of whole tensors. A model whose outputs do not all have
//! one row for each row of the request answers with `outputs` whatever it was asked with: that is
//! settled when it is loaded, and never by one answer. An output that a run did not give is `null`. Labels stand beside: `label`, `score` and `top` for one row, the lists `labels`, `scores`
//! and `top` otherwise. Every answer ends with `model`, `version` (a string: a number of 64 bits is
//! more than many JSON readers hold) and `request_id`.
//!
//! Numbers: a number fits a datatype by its value, so `1.0` is an integer and `1.5` is not; integers
//! are exact or refused; floats round to the nearest value and are refused where that is infinite.
//! `BOOL` takes `true` and `false` only, `BYTES` takes texts. In answers `null` stands for NaN and the infinities.
//!
//! A body may also be the elements of the one input and nothing else: see `raw`.

mod decode;
mod encode;
mod member;
mod wire;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use super::forms::{Form, decode_raw};
pub use decode::{decode, decode_filed};
pub use encode::{encode, encode_error, example};
pub use member::take_member;
pub use wire::Native;
