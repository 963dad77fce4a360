//! Outputs to JSON, in the form in which the request came.

use super::Form;
use crate::inference::{InferResponse, NamedTensor};
use crate::protocol::json::{Dialect, Printer, text_len, write_key, write_list, write_object};

/// Writes the outputs of an answer. Those who speak the extended dialect leave out the name of a
/// tensor that is the only one.
pub(crate) fn write_outputs(
    out: &mut Vec<u8>,
    response: &InferResponse,
    form: Form,
    dialect: Dialect,
) {
    match (form, &response.outputs[..]) {
        (Form::Named, outputs) if dialect == Dialect::Strict => write_named(out, outputs, dialect),
        (Form::Named, outputs) => write_whole(out, outputs, dialect),
        (_, outputs) if !can_be_split(response, form) => write_whole(out, outputs, dialect),
        // One output needs no printer for each: its row, or the list of its rows, is printed whole.
        (Form::One, [output]) => printer(output, dialect).next(out, output.tensor.shape().row()),
        (Form::One, outputs) => write_row(out, &mut printers(outputs, dialect)),
        (Form::Many, [output]) if !output.tensor.buffer().is_empty() => {
            write_tensor(out, output, dialect)
        }
        (Form::Many, outputs) => {
            let mut printers = printers(outputs, dialect);
            write_list(out, 0..response.n_rows, |out, _| write_row(out, &mut printers));
        }
    }
}

/// About how long the text of the outputs will be.
pub(crate) fn outputs_len(response: &InferResponse) -> usize {
    let output = |output: &NamedTensor| text_len(&output.tensor) + output.name.len() + 8;
    response.outputs.iter().map(output).sum()
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

fn printers(outputs: &[NamedTensor], dialect: Dialect) -> Vec<RowPrinter<'_>> {
    let printers = outputs.iter().map(|output| RowPrinter {
        name: &output.name,
        row: output.tensor.shape().row(),
        printer: printer(output, dialect),
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
fn write_whole(out: &mut Vec<u8>, outputs: &[NamedTensor], dialect: Dialect) {
    match outputs {
        [output] => write_tensor(out, output, dialect),
        outputs => write_named(out, outputs, dialect),
    }
}

/// Whole tensors by name.
pub(crate) fn write_named(out: &mut Vec<u8>, tensors: &[NamedTensor], dialect: Dialect) {
    write_object(out, tensors.iter(), |out, tensor| {
        write_key(out, &tensor.name);
        write_tensor(out, tensor, dialect);
    });
}

fn write_tensor(out: &mut Vec<u8>, output: &NamedTensor, dialect: Dialect) {
    printer(output, dialect).next(out, output.tensor.shape().dims());
}

fn printer(output: &NamedTensor, dialect: Dialect) -> Printer<'_> {
    let printer = Printer::new(&output.tensor).in_dialect(dialect);
    // TensorFlow Serving's own convention: that a tensor holds bytes and no text is in its name.
    if output.name.ends_with("_bytes") { printer.with_base64() } else { printer }
}
