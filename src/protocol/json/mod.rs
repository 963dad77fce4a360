//! What the JSON protocols share: from text straight to typed buffers, and from buffers to text.
//!
//! The one thing to know: there is no document tree. [`Reader`] walks the body once, numbers go to
//! the buffer as they are met, and nothing is allocated for a number, nor for what a client merely
//! claims. A reader of our own and not serde's, because a number is to be rounded once to the
//! datatype at hand (serde hands on an `f64`) and a refusal is to name the place.

mod array;
mod dialect;
mod document;
mod fault;
mod measure;
mod number;
mod opening;
mod print;
mod reader;
mod tensor;
mod window;

pub(crate) use dialect::Dialect;
pub(crate) use document::{write_key, write_list, write_member, write_object, write_text_member};
pub(crate) use fault::excerpt;
pub(crate) use number::Number;
pub(crate) use opening::{MARK, empty_body, open};
pub(crate) use print::{
    Printer, text_len, write_float, write_float_in, write_integer, write_string,
};
pub(crate) use reader::Reader;
pub(crate) use tensor::{TensorDecoder, too_many_rows};

/// How deep arrays may lie in each other: more than any model's rank, and few enough that walking
/// them by recursion is no risk.
pub(crate) const MAX_DEPTH: usize = 32;
