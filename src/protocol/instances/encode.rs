//! Answers to bodies.

use super::Form;
use crate::inference::InferResponse;
use crate::protocol::forms::{outputs_len, write_outputs};
use crate::protocol::json::{Dialect, write_key};

/// Writes an answer in the form of its request.
#[must_use]
pub fn encode(response: &InferResponse, form: Form) -> Vec<u8> {
    let mut out = Vec::with_capacity(outputs_len(response) + 32);
    out.push(b'{');
    write_key(&mut out, form.response_key());
    write_outputs(&mut out, response, form, Dialect::Extended);
    out.push(b'}');
    out
}
