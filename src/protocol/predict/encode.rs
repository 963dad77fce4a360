//! Answers and errors to bodies.

use crate::inference::{
    AnswerForm, Content, Extra, ExtraValues, InferError, InferResponse, ModelSpec, NamedTensor,
    Ranking,
};
use crate::protocol::forms::{Form, outputs_len, write_named, write_outputs};
use crate::protocol::json::{Dialect, Printer, write_float, write_integer, write_string};
use crate::protocol::json::{write_key, write_list, write_member, write_text_member};
use crate::tensor::{DataType, Tensor};

/// Most elements that [`example`] prints.
const MAX_EXAMPLE: usize = 4096;

/// A PNG file of one gray pixel, which every model takes that takes images.
const GRAY_PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==";

/// Writes an answer in the form of its request, or as `outputs` where the model's answers have no rows.
#[must_use]
pub fn encode(response: &InferResponse, form: Form) -> Vec<u8> {
    let form = if response.layout.form == AnswerForm::Rows { form } else { Form::Named };
    let mut out = Vec::with_capacity(expected_len(response));
    out.push(b'{');
    write_key(&mut out, form.response_key());
    write_outputs(&mut out, response, form, Dialect::Strict);
    for extra in &response.extras {
        write_extra(&mut out, extra, form);
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
    let ranking = |row: &Ranking| row.iter().map(|(label, _)| label.len() + 40).sum::<usize>();
    let extra = |extra: &Extra| match &extra.values {
        ExtraValues::Texts(texts) => texts.iter().flatten().map(|text| text.len() + 32).sum(),
        ExtraValues::Numbers(numbers) => numbers.len() * 32,
        ExtraValues::Rankings(rankings) => rankings.rows.iter().map(ranking).sum::<usize>(),
    };
    let extras: usize = response.extras.iter().map(extra).sum();
    let names = response.model.as_str().len() + response.request_id.len();
    outputs_len(response) + extras + names + 96
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

/// A body of zeros, or a short text or image, that a model of this specification takes, in its simplest form; `None` when the
/// shape of an input is unknown, or too large to show.
#[must_use]
pub fn example(spec: &ModelSpec) -> Option<Vec<u8>> {
    let tensor = |shape: crate::tensor::Shape, datatype: DataType| {
        // An empty text is its length alone.
        let size = datatype.byte_size().unwrap_or(size_of::<u32>());
        let n_bytes = shape.elements().filter(|&n| n <= MAX_EXAMPLE)? * size;
        Tensor::new(datatype, shape, vec![0u8; n_bytes].into()).ok()
    };
    let mut out = b"{".to_vec();
    if let Some(content) = spec.contract.content {
        write_key(&mut out, content.name());
        match content {
            Content::Text => write_string(&mut out, "some text"),
            Content::Image => write_string(&mut out, GRAY_PIXEL),
            Content::Row => write_row(&mut out, spec)?,
        }
        out.push(b'}');
        return Some(out);
    }
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
            write_named(&mut out, &zeros?, Dialect::Strict);
        }
    }
    out.push(b'}');
    Some(out)
}

/// A row of zeros; `None` where a column wants words, of which only its model knows.
fn write_row(out: &mut Vec<u8>, spec: &ModelSpec) -> Option<()> {
    let columns: Vec<_> = spec.inputs.iter().filter(|input| spec.is_column(input)).collect();
    if columns.iter().any(|input| input.datatype == DataType::Bytes) {
        return None;
    }
    out.push(b'{');
    for (at, column) in columns.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_key(out, &column.name);
        out.push(b'0');
    }
    out.push(b'}');
    Some(())
}

/// What a step has added: the value of the one row, or the list of the rows' values.
fn write_extra(out: &mut Vec<u8>, extra: &Extra, form: Form) {
    let values = &extra.values;
    match form {
        Form::One if values.n_rows() == 0 => {}
        Form::One => {
            write_member(out, extra.name);
            write_extra_value(out, values, 0);
        }
        Form::Many | Form::Named => {
            write_member(out, extra.plural);
            write_list(out, 0..values.n_rows(), |out, row| write_extra_value(out, values, row));
        }
    }
}

fn write_extra_value(out: &mut Vec<u8>, values: &ExtraValues, row: usize) {
    match values {
        ExtraValues::Texts(texts) => match &texts[row] {
            Some(text) => write_string(out, text),
            None => out.extend_from_slice(b"null"),
        },
        ExtraValues::Numbers(numbers) => write_float(out, numbers[row]),
        ExtraValues::Rankings(rankings) => {
            write_list(out, rankings.told(row), |out, (label, score)| {
                out.push(b'{');
                write_key(out, "label");
                write_string(out, label);
                write_member(out, "score");
                write_float(out, *score);
                out.push(b'}');
            });
        }
    }
}
