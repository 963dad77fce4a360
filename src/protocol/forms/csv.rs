//! Rows of a table as CSV (RFC 4180, UTF-8): the names of the columns in the first line, then a line for each row. The answer is
//! that to `instances`.

use super::Form;
use crate::inference::{Content, ErrorCode, InferError, ModelSpec, NamedTensor, TensorSpec};
use crate::protocol::Decoded;
use crate::protocol::json::{MARK, empty_body, excerpt, too_many_rows};
use crate::protocol::media_type::{CSV, MediaType};
use crate::tensor::{BufferVec, DataType, Shape, Tensor};
use csv_core::ReadFieldResult;

/// Longest value, in bytes.
const MAX_VALUE: usize = 64 * 1024;

/// Reads a body for a model that takes rows of a table. An empty value is a missing one.
///
/// # Errors
///
/// `invalid_body` for lines that do not have the columns of the first, or what is no line of names; `invalid_input` for a column
/// that the model does not have, and for a value that is no number where one is expected.
pub(crate) fn decode_csv(body: &[u8], spec: &ModelSpec) -> Result<Decoded<Form>, InferError> {
    if spec.contract.content != Some(Content::Row) {
        return Err(MediaType::unsupported(CSV, spec.contract.content));
    }
    let mut values = Values::new(body.strip_prefix(MARK).unwrap_or(body));
    let mut columns = names(&mut values, spec)?;
    let mut n_rows = 0;
    while let Some(mut is_last) = values.next()? {
        if n_rows == spec.max_rows {
            return Err(too_many_rows(spec.max_rows));
        }
        let n_columns = columns.len();
        for (at, column) in columns.iter_mut().enumerate() {
            column.push(&values.value, n_rows)?;
            if is_last != (at + 1 == n_columns) {
                return Err(uneven(n_rows, n_columns));
            }
            if !is_last {
                is_last = values.next()?.ok_or_else(|| uneven(n_rows, n_columns))?;
            }
        }
        n_rows += 1;
    }
    if n_rows == 0 {
        let message = "the body has no rows behind the names of its columns, expected at least one";
        return Err(InferError::new(ErrorCode::InvalidInput, message)
            .with_mismatch("at least one row", "none"));
    }
    let inputs = columns.into_iter().map(|column| column.finish(n_rows));
    Ok(Decoded::new(inputs.collect(), Form::Many))
}

/// The columns, by the first line.
fn names<'s>(values: &mut Values<'_>, spec: &'s ModelSpec) -> Result<Vec<Column<'s>>, InferError> {
    let mut columns: Vec<Column<'s>> = Vec::new();
    loop {
        let Some(is_last) = values.next()? else {
            return Err(empty_body("CSV with the names of columns in its first line"));
        };
        let name = String::from_utf8_lossy(&values.value);
        let input = spec.input(&name).filter(|input| spec.is_column(input));
        let input = input.ok_or_else(|| unknown(&name, spec))?;
        if columns.iter().any(|column| std::ptr::eq(column.input, input)) {
            let message = format!("column {name:?} is given twice");
            return Err(InferError::new(ErrorCode::InvalidBody, message));
        }
        columns.push(Column { input, numbers: Vec::new(), texts: BufferVec::with_capacity(0) });
        if is_last {
            return Ok(columns);
        }
    }
}

fn unknown(name: &str, spec: &ModelSpec) -> InferError {
    let known = spec.inputs.iter().filter(|input| spec.is_column(input));
    let known = known.map(|input| &*input.name).collect::<Vec<_>>().join(", ");
    let got = excerpt(name);
    let message = format!("the table has no column {got:?}, its columns are {known}");
    InferError::invalid_input(&got, message).with_mismatch(known, &got)
}

fn uneven(row: usize, n_columns: usize) -> InferError {
    let message = format!(
        "row {row} has not as many values as the first line has names, expected {n_columns}"
    );
    InferError::new(ErrorCode::InvalidBody, message)
}

/// One column as it grows.
struct Column<'s> {
    input: &'s TensorSpec,
    numbers: Vec<f64>,
    texts: BufferVec<u8>,
}

impl Column<'_> {
    fn push(&mut self, value: &[u8], row: usize) -> Result<(), InferError> {
        if self.input.datatype == DataType::Bytes {
            // At most `MAX_VALUE`.
            self.texts.extend_from_slice(&(value.len() as u32).to_le_bytes());
            self.texts.extend_from_slice(value);
            return Ok(());
        }
        self.numbers.push(number(value).ok_or_else(|| {
            let (name, got) = (&*self.input.name, excerpt(&String::from_utf8_lossy(value)));
            let message = format!("column {name:?} of row {row} is {got:?}, expected a number");
            InferError::invalid_input(name, message).with_mismatch("a number", got)
        })?);
        Ok(())
    }

    fn finish(self, n_rows: usize) -> NamedTensor {
        let shape = Shape::from([n_rows]);
        let tensor = match self.input.datatype {
            DataType::Bytes => Tensor::new(DataType::Bytes, shape, self.texts.freeze()),
            _ => Tensor::from_vec(shape, self.numbers),
        };
        let name = self.input.name.clone();
        NamedTensor { name, tensor: tensor.expect("a value was added for each row") }
    }
}

/// What a value says: nothing is NaN, flags are 1 and 0, as in JSON.
fn number(value: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(value).ok()?.trim();
    match text {
        "" => Some(f64::NAN),
        "true" | "True" | "TRUE" => Some(1.0),
        "false" | "False" | "FALSE" => Some(0.0),
        _ => text.parse().ok(),
    }
}

/// The values of a body, one after the other: what is read of it does not depend on how many there are in a line.
struct Values<'a> {
    reader: csv_core::Reader,
    rest: &'a [u8],
    /// The value that was read last.
    value: Vec<u8>,
}

impl<'a> Values<'a> {
    fn new(body: &'a [u8]) -> Self {
        Self { reader: csv_core::Reader::new(), rest: body, value: Vec::new() }
    }

    /// Reads the next value, and says whether it is the last of its line.
    fn next(&mut self) -> Result<Option<bool>, InferError> {
        self.value.clear();
        let mut place = [0; 256];
        loop {
            let (result, n_read, n_written) = self.reader.read_field(self.rest, &mut place);
            self.rest = &self.rest[n_read..];
            self.value.extend_from_slice(&place[..n_written]);
            if self.value.len() > MAX_VALUE {
                let message = format!("the CSV has a value of more than {MAX_VALUE} bytes");
                return Err(InferError::new(ErrorCode::InvalidBody, message));
            }
            match result {
                // At the end of the body once more, which ends the last value.
                ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
                ReadFieldResult::Field { record_end } => return Ok(Some(record_end)),
                ReadFieldResult::End => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::testing::table;

    fn decoded(body: &str) -> Result<Vec<(String, Vec<String>)>, String> {
        let decoded = decode_csv(body.as_bytes(), &table()).map_err(|error| error.to_string())?;
        let text = |it: &[u8]| String::from_utf8(it.to_vec()).unwrap();
        let column = |it: &NamedTensor| {
            let texts = it.tensor.byte_elements();
            let texts = texts.map(|them| them.into_iter().map(text).collect());
            let numbers = || it.tensor.to_f64().unwrap().iter().map(f64::to_string).collect();
            (it.name.to_string(), texts.unwrap_or_else(numbers))
        };
        Ok(decoded.inputs.iter().map(column).collect())
    }

    #[track_caller]
    fn check_good(body: &str, ages: &[&str], cities: &[&str]) {
        let columns = decoded(body).unwrap();
        let of = |name: &str| columns.iter().find(|it| it.0 == name).unwrap().1.clone();
        assert_eq!(of("age"), ages, "{body:?}");
        assert_eq!(of("city"), cities, "{body:?}");
    }

    #[test]
    fn lines_are_rows_in_the_order_of_their_names() {
        check_good("age,city\n34,Paris\n", &["34"], &["Paris"]);
        check_good(
            "\u{feff}city,age\r\nParis,1e2\r\n\"a, \"\"b\"\"\nc\",-3.5",
            &["100", "-3.5"],
            &["Paris", "a, \"b\"\nc"],
        );
        check_good("age,city\n,\n True ,x\n", &["NaN", "1"], &["", "x"]);
        check_good("age,city\n1,Zürich\n\n2,東京", &["1", "2"], &["Zürich", "東京"]);
        assert_eq!(decoded("age\n7\n").unwrap(), [("age".to_owned(), vec!["7".to_owned()])]);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let bad = |body: &str| decoded(body).unwrap_err();
        let empty = "the body is empty, expected CSV with the names of columns in its first line";
        assert_eq!(bad("\n"), empty);
        assert_eq!(
            bad("age,city\n"),
            "the body has no rows behind the names of its columns, expected at least one"
        );
        assert_eq!(bad("age,x\n1,2"), "the table has no column \"x\", its columns are age, city");
        assert_eq!(bad("age,age\n1,2"), "column \"age\" is given twice");
        let uneven = "row 1 has not as many values as the first line has names, expected 2";
        assert_eq!(bad("age,city\n1,a\n2"), uneven);
        assert_eq!(bad("age,city\n1,a\n2,b,c"), uneven);
        assert_eq!(bad("age\n1\ntwo"), "column \"age\" of row 1 is \"two\", expected a number");
        assert_eq!(
            bad("age\n1\n2\n3\n4"),
            "the request has more than 3 rows, at most 3 are allowed"
        );
        let wide = ",".repeat(1_000_000);
        assert_eq!(bad(&wide), "the table has no column \"\", its columns are age, city");
        let long = format!("city\n{}", "a".repeat(MAX_VALUE + 1));
        assert_eq!(bad(&long), "the CSV has a value of more than 65536 bytes");
    }
}
