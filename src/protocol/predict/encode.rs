//! Answers and errors to bodies.

use super::Form;
use crate::inference::{InferError, InferResponse, ModelSpec, NamedTensor, RowLabel};
use crate::protocol::json::write_text_member;
use crate::protocol::json::{Printer, text_len, write_float, write_integer, write_key, write_list};
use crate::protocol::json::{write_member, write_object, write_string, write_tensor};
use crate::tensor::{DataType, Tensor};

/// Most elements that [`example`] prints.
const MAX_EXAMPLE: usize = 4096;

/// Writes an answer in the form of its request.
#[must_use]
pub fn encode(response: &InferResponse, form: Form) -> Vec<u8> {
    let mut out = Vec::with_capacity(expected_len(response));
    out.push(b'{');
    write_key(&mut out, form.response_key());
    match (form, &response.outputs[..]) {
        (Form::Named, outputs) => write_named(&mut out, outputs),
        (_, outputs) if !can_be_split(response, form) => write_whole(&mut out, outputs),
        // One output needs no printer for each: its row, or the list of its rows, is printed whole.
        (Form::One, [NamedTensor { tensor, .. }]) => {
            Printer::new(tensor).next(&mut out, tensor.shape().row());
        }
        (Form::One, outputs) => write_row(&mut out, &mut printers(outputs)),
        (Form::Many, [output]) if !output.tensor.buffer().is_empty() => {
            write_tensor(&mut out, &output.tensor)
        }
        (Form::Many, outputs) => {
            let mut printers = printers(outputs);
            write_list(&mut out, 0..response.n_rows, |out, _| write_row(out, &mut printers));
        }
    }
    match (&response.labels, form) {
        (None, _) => {}
        (Some(labels), Form::One) => {
            labels.first().into_iter().for_each(|row| write_label(&mut out, row))
        }
        (Some(labels), Form::Many | Form::Named) => write_labels(&mut out, labels),
    }
    write_text_member(&mut out, "model", response.model.as_str());
    write_member(&mut out, "version");
    out.push(b'"');
    write_integer(&mut out, response.version.0);
    out.push(b'"');
    write_text_member(&mut out, "request_id", &response.request_id);
    out.push(b'}');
    out
}

/// About how long the text will be, so that it is written to one place: rather too long, for bodies
/// live shortly and a move costs more than room.
fn expected_len(response: &InferResponse) -> usize {
    let output = |output: &NamedTensor| text_len(&output.tensor) + output.name.len() + 8;
    // A label and its score stand there twice, with their keys.
    let label = |label: &RowLabel| {
        let top = label.top.iter().map(|(label, _)| label.len() + 40);
        label.label.len() + 64 + top.sum::<usize>()
    };
    let outputs: usize = response.outputs.iter().map(output).sum();
    let labels: usize = response.labels.iter().flatten().map(label).sum();
    let names = response.model.as_str().len() + response.request_id.len();
    outputs + labels + names + 96
}

/// Writes the report of a failure.
#[must_use]
pub fn encode_error(error: &InferError, request_id: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.push(b'{');
    write_key(&mut out, "error");
    write_string(&mut out, &error.message);
    write_text_member(&mut out, "code", error.code.as_str());
    write_text_member(&mut out, "request_id", request_id);
    let details = &error.details;
    for (key, value) in [
        ("model", &details.model),
        ("input", &details.input),
        ("expected", &details.expected),
        ("got", &details.got),
    ] {
        if let Some(value) = value {
            write_text_member(&mut out, key, value);
        }
    }
    out.push(b'}');
    out
}

/// A body of zeros that a model of this specification takes, in its simplest form; `None` when the
/// shape of an input is unknown, or too large to show.
#[must_use]
pub fn example(spec: &ModelSpec) -> Option<Vec<u8>> {
    let tensor = |shape: crate::tensor::Shape, datatype: DataType| {
        let n_bytes = shape.elements().filter(|&n| n <= MAX_EXAMPLE)? * datatype.byte_size()?;
        Tensor::new(datatype, shape, vec![0u8; n_bytes].into()).ok()
    };
    let mut out = b"{".to_vec();
    match spec.sole_input() {
        Some(input) => {
            let zeros = tensor(input.shape.example(1, 1)?, input.datatype)?;
            write_key(&mut out, Form::One.request_key());
            Printer::new(&zeros).next(&mut out, zeros.shape().row());
        }
        None => {
            let required = spec.inputs.iter().filter(|input| !input.optional);
            let zeros: Option<Vec<NamedTensor>> = required
                .map(|input| {
                    let tensor = tensor(input.shape.example(1, 1)?, input.datatype)?;
                    Some(NamedTensor { name: input.name.clone(), tensor })
                })
                .collect();
            write_key(&mut out, Form::Named.request_key());
            write_named(&mut out, &zeros?);
        }
    }
    out.push(b'}');
    Some(out)
}

/// Whether every output has a row for each row of the request.
fn can_be_split(response: &InferResponse, form: Form) -> bool {
    response.outputs.iter().all(|NamedTensor { tensor, .. }| match tensor.shape().dims() {
        // What has no axis of rows is already the answer to a single row.
        [] => form == Form::One,
        [n_rows, ..] => *n_rows == response.n_rows && (form == Form::Many || *n_rows == 1),
    })
}

/// An output being printed row by row.
struct RowPrinter<'r> {
    name: &'r str,
    row: &'r [usize],
    printer: Printer<'r>,
}

fn printers(outputs: &[NamedTensor]) -> Vec<RowPrinter<'_>> {
    let printers = outputs.iter().map(|NamedTensor { name, tensor }| RowPrinter {
        name,
        row: tensor.shape().row(),
        printer: Printer::new(tensor),
    });
    printers.collect()
}

/// The next row of all outputs.
fn write_row(out: &mut Vec<u8>, outputs: &mut [RowPrinter<'_>]) {
    if let [output] = outputs {
        return output.printer.next(out, output.row);
    }
    write_object(out, outputs.iter_mut(), |out, output| {
        write_key(out, output.name);
        output.printer.next(out, output.row);
    });
}

/// All of the model's output.
fn write_whole(out: &mut Vec<u8>, outputs: &[NamedTensor]) {
    match outputs {
        [output] => write_tensor(out, &output.tensor),
        outputs => write_named(out, outputs),
    }
}

fn write_named(out: &mut Vec<u8>, tensors: &[NamedTensor]) {
    write_object(out, tensors.iter(), |out, NamedTensor { name, tensor }| {
        write_key(out, name);
        write_tensor(out, tensor);
    });
}

fn write_label(out: &mut Vec<u8>, row: &RowLabel) {
    write_text_member(out, "label", &row.label);
    write_member(out, "score");
    write_float(out, row.score);
    write_member(out, "top");
    write_top(out, row);
}

fn write_labels(out: &mut Vec<u8>, rows: &[RowLabel]) {
    write_member(out, "labels");
    write_list(out, rows, |out, row| write_string(out, &row.label));
    write_member(out, "scores");
    write_list(out, rows, |out, row| write_float(out, row.score));
    write_member(out, "top");
    write_list(out, rows, write_top);
}

fn write_top(out: &mut Vec<u8>, row: &RowLabel) {
    write_list(out, &row.top, |out, (label, score)| {
        out.push(b'{');
        write_key(out, "label");
        write_string(out, label);
        write_member(out, "score");
        write_float(out, *score);
        out.push(b'}');
    });
}
