//! The inference requests and answers of the Open Inference Protocol V2, with its extensions for
//! binary tensors and classification, as Triton and its clients speak them.
//!
//! A request is an object with `inputs`, and perhaps `id`, `parameters` and `outputs`. An input has
//! `name`, `datatype`, `shape`, and either `data` (nested like the shape, or one flat list) or the
//! parameter `binary_data_size`: its bytes then follow behind the JSON, in the order of `inputs`, and
//! the request says how long the JSON is. An answer has `id`, `model_name`, `model_version` and
//! `outputs`, whose `data` is flat, or lies behind the JSON.
//!
//! Where the text of the protocol leaves a choice:
//! - Members that the protocol does not have are stepped over, as Triton does: clients send
//!   `model_name` and more. `null` for a member that may be left out is the same as leaving it out.
//! - Parameters are texts, numbers and flags; those that are not known change nothing, `priority` and
//!   what is reserved for Triton among them. Sequences and shared memory are refused as
//!   unsupported, unless the value says that there is none (`"sequence_id": 0`).
//! - Numbers fit a datatype by their value (see `predict`), also FP16 and BF16, which Triton refuses in
//!   JSON. `BOOL` takes `true` and `false` only; `BYTES` takes texts, and `{"b64": "…"}` for what is none.
//! - NaN and the infinities are taken as the words `NaN`, `Infinity` and `-Infinity`, which
//!   `perf_analyzer` writes. In answers they are `null`, so that every reader of JSON can read them; in
//!   classes they are `nan`, `inf` and `-inf`.
//! - A class is written with as many digits as its value needs. The labels belong to the model's
//!   first output. Of several classes with the same value the first comes first, and NaN comes last.
//! - A request whose JSON is empty is the one input's bytes and nothing else, see `raw`.

mod classify;
mod decode;
mod encode;
mod input;
mod plan;
mod raw;
mod wire;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use crate::protocol::predict::encode_error;
pub use decode::{decode, json_len};
pub use encode::{InferBody, encode};
pub use plan::Plan;
pub use wire::V2;
