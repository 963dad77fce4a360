//! The REST protocol of TensorFlow Serving, which KServe calls V1.
//!
//! | a body has exactly one of | which holds | the answer has |
//! |---|---|---|
//! | `instances` | a list of rows; each the one input's, or an object of rows by input name | `predictions` |
//! | `inputs` | whole tensors by input name, or that of the one input | `outputs` |
//!
//! `signature_name` may stand beside it and names the only signature that there is; all other
//! members are KServe's or a client's own, and are stepped over. Answers hold outputs alone: this
//! protocol has no labels, and does not say which version answered. A tensor that is the only one
//! goes without its name in `outputs`.
//!
//! The dialect of JSON is theirs: `NaN`, `Infinity` and `-Infinity` are numbers, and an element of
//! `BYTES` is a text or `{"b64": "…"}`. In answers it is the latter where it is no UTF-8, and for
//! tensors whose name ends in `_bytes`, as TensorFlow Serving has it.
//!
//! Differences that are meant: an input that the model does not have is refused, where TensorFlow
//! Serving ignores it in `inputs`; `1.0` is an integer; FP32 takes integers that it has to round;
//! where a model's outputs have no rows, they come whole in `predictions`, where theirs fail: the one output, or an
//! object of them by name. An output that a run did not give is `null`.

mod decode;
mod encode;
mod wire;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use super::forms::Form;
pub use super::predict::encode_error;
pub use decode::decode;
pub use encode::encode;
pub use wire::V1;

/// The signature that every model has and that requests mean which name none.
pub const SIGNATURE: &str = "serving_default";
