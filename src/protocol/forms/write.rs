//! Outputs to JSON, in the form in which the request came, where the model's contract has rows; whole
//! otherwise. What the outputs of one answer look like decides nothing.

use super::Form;
use crate::inference::{AnswerForm, InferResponse, NamedTensor};
use crate::protocol::json::{Dialect, Printer, text_len, write_key, write_list, write_object};
use std::sync::Arc;

/// Writes the outputs of an answer. Those who speak the extended dialect leave out the name of a
/// tensor that is the only one.
pub(crate) fn write_outputs(
    out: &mut Vec<u8>,
    response: &InferResponse,
    form: Form,
    dialect: Dialect,
) {
    let layout = &response.layout;
    let form = if layout.form == AnswerForm::Rows { form } else { Form::Named };
    let sole = if layout.is_sole { response.outputs.first() } else { None };
    if layout.is_sole && sole.is_none() && (form, dialect) != (Form::Named, Dialect::Strict) {
        return out.extend_from_slice(b"null");
    }
    match (form, sole) {
        (Form::Named, Some(output)) if dialect == Dialect::Extended => {
            write_tensor(out, output, dialect)
        }
        (Form::Named, _) => write_all(out, response, dialect),
        // One output needs no printer for each: its row, or the list of its rows, is printed whole.
        (Form::One, Some(output)) => {
            printer(output, dialect).next(out, output.tensor.shape().row())
        }
        (Form::Many, Some(output)) if !output.tensor.buffer().is_empty() => {
            write_tensor(out, output, dialect)
        }
        (Form::One, None) => write_row(out, &mut printers(response, dialect), &layout.absent),
        (Form::Many, _) => {
            let mut printers = printers(response, dialect);
            let absent = &layout.absent;
            write_list(out, 0..response.n_rows, |out, _| match &mut printers[..] {
                [only] if layout.is_sole => only.printer.next(out, only.row),
                printers => write_row(out, printers, absent),
            });
        }
    }
}

/// About how long the text of the outputs will be.
pub(crate) fn outputs_len(response: &InferResponse) -> usize {
    let output = |output: &NamedTensor| text_len(&output.tensor) + output.name.len() + 8;
    response.outputs.iter().map(output).sum()
}

/// An output being printed row by row.
struct RowPrinter<'r> {
    name: &'r str,
    row: &'r [usize],
    printer: Printer<'r>,
}

fn printers(response: &InferResponse, dialect: Dialect) -> Vec<RowPrinter<'_>> {
    let printers = response.outputs.iter().map(|output| RowPrinter {
        name: &output.name,
        row: output.tensor.shape().row(),
        printer: printer(output, dialect),
    });
    printers.collect()
}

/// The next row of all outputs, by name.
fn write_row(out: &mut Vec<u8>, outputs: &mut [RowPrinter<'_>], absent: &[Arc<str>]) {
    let outputs = outputs.iter_mut();
    write_members(out, outputs, absent, |out, output| {
        write_key(out, output.name);
        output.printer.next(out, output.row);
    });
}

/// All of the model's output, by name.
fn write_all(out: &mut Vec<u8>, response: &InferResponse, dialect: Dialect) {
    write_members(out, &response.outputs, &response.layout.absent, |out, tensor| {
        write_key(out, &tensor.name);
        write_tensor(out, tensor, dialect);
    });
}

/// Whole tensors by name.
pub(crate) fn write_named(out: &mut Vec<u8>, tensors: &[NamedTensor], dialect: Dialect) {
    write_members(out, tensors, &[], |out, tensor| {
        write_key(out, &tensor.name);
        write_tensor(out, tensor, dialect);
    });
}

/// A member of an object of outputs.
enum Member<'a, T> {
    Given(T),
    Absent(&'a str),
}

/// An object of what there is, and `null` for each output that there is not.
fn write_members<T>(
    out: &mut Vec<u8>,
    given: impl IntoIterator<Item = T>,
    absent: &[Arc<str>],
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    let absent = absent.iter().map(|name| Member::Absent(name));
    let members = given.into_iter().map(Member::Given).chain(absent);
    write_object(out, members, |out, member| match member {
        Member::Given(member) => write(out, member),
        Member::Absent(name) => {
            write_key(out, name);
            out.extend_from_slice(b"null");
        }
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
