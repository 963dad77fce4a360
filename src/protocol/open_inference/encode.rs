//! Answers to bodies.

use super::classify::{Ask, classes};
use super::plan::{Plan, Requested, unknown};
use crate::inference::{AnswerForm, InferError, InferResponse, NamedTensor};
use crate::protocol::json::{
    Printer, text_len, write_integer, write_key, write_list, write_member,
};
use crate::protocol::json::{write_string, write_text_member};
use crate::tensor::Tensor;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// The body of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InferBody {
    /// The JSON, and behind it the outputs that are written as plain bytes.
    pub bytes: Vec<u8>,
    /// How many of the bytes are JSON, if an output follows it: what the header
    /// `Inference-Header-Content-Length` says of an answer that is `application/octet-stream`.
    pub json_len: Option<usize>,
}

/// Writes an answer as its request wants it. `labels` name the classes of the model's first output.
///
/// # Errors
///
/// `invalid_input` for an output that the model did not give, and for classes of one that has none.
pub fn encode(
    response: &InferResponse,
    plan: &Plan,
    labels: &[Arc<str>],
) -> Result<InferBody, InferError> {
    let outputs = outputs(response, plan, labels)?;
    let mut out = Vec::with_capacity(expected_len(response, &outputs));
    out.push(b'{');
    if let Some(id) = &plan.id {
        write_key(&mut out, "id");
        write_string(&mut out, id);
        out.push(b',');
    }
    write_key(&mut out, "model_name");
    write_string(&mut out, response.model.as_str());
    write_member(&mut out, "model_version");
    out.push(b'"');
    write_integer(&mut out, response.version.0);
    out.push(b'"');
    write_member(&mut out, "outputs");
    write_list(&mut out, &outputs, write_output);
    out.push(b'}');
    let json_len = out.len();
    let mut binary = outputs.iter().filter(|output| output.binary).peekable();
    let json_len = binary.peek().map(|_| json_len);
    for output in binary {
        out.extend_from_slice(output.tensor.buffer().as_bytes());
    }
    Ok(InferBody { bytes: out, json_len })
}

/// An output as it is to be written.
struct Output<'r> {
    name: &'r str,
    tensor: Tensor,
    binary: bool,
}

/// The outputs that the request asks for, in its order, or all of them.
fn outputs<'r>(
    response: &'r InferResponse,
    plan: &Plan,
    labels: &[Arc<str>],
) -> Result<Vec<Output<'r>>, InferError> {
    let output = |position: usize, binary: Option<bool>, n: Option<NonZeroUsize>| {
        let NamedTensor { name, tensor } = &response.outputs[position];
        let tensor = match n {
            None => tensor.clone(),
            Some(n) => {
                let is_split = response.layout.form == AnswerForm::Rows;
                let has_rows = is_split && tensor.shape().rank() > 0;
                // They are the classes of the model's first output, which may be missing.
                let is_first = position == 0 && response.layout.absent.is_empty();
                let labels = if is_first { labels } else { &[] };
                classes(name, tensor, Ask { n, labels, has_rows })?
            }
        };
        Ok(Output { name, tensor, binary: binary.unwrap_or(plan.binary) })
    };
    if plan.outputs.is_empty() {
        return (0..response.outputs.len()).map(|position| output(position, None, None)).collect();
    }
    // There is no tensor that says that there is none: what a run did not give is left out.
    let is_there = |requested: &&Requested| !response.layout.absent.contains(&requested.name);
    let requested = plan.outputs.iter().filter(is_there).map(|requested| {
        let position = response.outputs.iter().position(|output| output.name == requested.name);
        let names = || response.outputs.iter().map(|output| &*output.name);
        let position = position.ok_or_else(|| unknown(&requested.name, names()))?;
        output(position, requested.binary, requested.classes)
    });
    requested.collect()
}

/// About how long the body will be, so that it is written to one place.
fn expected_len(response: &InferResponse, outputs: &[Output<'_>]) -> usize {
    let values = |output: &Output<'_>| match output.binary {
        true => output.tensor.buffer().len(),
        false => text_len(&output.tensor),
    };
    let outputs = outputs.iter().map(|output| values(output) + output.name.len() + 128);
    outputs.sum::<usize>() + response.model.as_str().len() + 128
}

fn write_output(out: &mut Vec<u8>, output: &Output<'_>) {
    let tensor = &output.tensor;
    out.push(b'{');
    write_key(out, "name");
    write_string(out, output.name);
    write_text_member(out, "datatype", tensor.datatype().name());
    write_member(out, "shape");
    write_list(out, tensor.shape().dims(), |out, &size| write_integer(out, size));
    if output.binary {
        write_member(out, "parameters");
        out.push(b'{');
        write_key(out, "binary_data_size");
        write_integer(out, tensor.buffer().len());
        out.push(b'}');
    } else {
        write_member(out, "data");
        Printer::new(tensor).next(out, &[tensor.shape().elements().unwrap_or_default()]);
    }
    out.push(b'}');
}
