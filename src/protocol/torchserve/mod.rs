//! TorchServe's inference protocol, for clients of its default handlers.
//!
//! TorchServe hands a body to a handler, which is a program of its own; here a model takes tensors
//! and no program stands before it. So this is what its default handlers and its `json` envelope
//! take, as far as it can be told from a tensor:
//!
//! | a body | is | the answer is |
//! |---|---|---|
//! | JSON that is no object, or what stands under `data` | one row, or the list of rows, by its nesting | a row, or the list of rows |
//! | JSON with `features` | one row | a row |
//! | JSON with `instances` | a list of rows (the `json` envelope) | `{"predictions": …}`, a list of rows |
//! | JSON with `inputs` | whole tensors by name, or that of the one input | whole outputs |
//! | a form (`multipart/form-data`) | a part for each input, or `data` for the one; JSON or raw | a row or the list of rows |
//! | plain bytes | the elements of the one input as they lie in memory; of `BYTES`, one element | a row if there is one, otherwise the list |
//!
//! A row is the output's, or an object of rows by name where there are several; a model whose outputs
//! have no rows gives them whole in place of rows, always. Where the model has
//! labels, a row is the object of the best labels with their scores, as `image_classifier` has it,
//! and `inputs` too is answered with a list of those. The words for NaN and the infinities are taken
//! and written, as Python's `json` does, and so is `{"b64": "…"}`.
//!
//! What a body is says its content type. `curl -T` and most HTTP libraries send none: then a text
//! that begins as JSON's arrays and objects do is JSON, and anything else plain bytes.

mod decode;
mod encode;
mod media;
mod multipart;
mod wire;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use decode::decode;
pub use encode::{encode, encode_error};
pub use media::Media;
pub use wire::TorchServe;

/// What an answer is made of: what the `json` envelope of the request asks for, or its lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope {
    /// One row, alone.
    Row,
    /// The list of rows.
    Rows,
    /// The list of rows in the envelope of `instances`.
    Predictions,
    /// Whole outputs.
    Whole,
}
