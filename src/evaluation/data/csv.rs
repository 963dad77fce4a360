//! CSV (RFC 4180): a header, then a row a line. One column is the label, the others are inputs.
//!
//! A row becomes a native body, so that what is wrong with it is told by the reader that requests have, too.

use crate::inference::{ModelSpec, TensorSpec};
use crate::tensor::{DataType, Dim};
use std::fmt::Write as _;

/// What a file's header says.
#[derive(Debug)]
pub(super) struct Csv {
    names: Vec<String>,
    label_at: usize,
    columns: Columns,
}

/// Where the cells of a row go.
#[derive(Debug)]
enum Columns {
    /// All to the one input, in order.
    Sole(TensorSpec),
    /// Each to the input of its name, with the column.
    Named(Vec<(usize, TensorSpec)>),
}

impl Csv {
    /// Reads the header. `label` names the column of labels; without it, the last one is.
    pub(super) fn new(line: &[u8], label: Option<&str>, spec: &ModelSpec) -> Result<Self, String> {
        let names = cells(line)?;
        let label_at = match label {
            None => names.len() - 1,
            Some(label) => names.iter().position(|name| name == label).ok_or_else(|| {
                format!("expected a column {label:?} with the labels, got {}", names.join(", "))
            })?,
        };
        if names.len() < 2 {
            let hint = if names[0].contains([';', '\t']) { ", separated by commas" } else { "" };
            return Err(format!(
                "expected a header with inputs and a label{hint}, got one column, {:?}",
                names[0]
            ));
        }
        let inputs = names.iter().enumerate().filter(|(at, _)| *at != label_at);
        let of_inputs = || inputs.clone().map(|(_, name)| name.trim());
        // Some number their columns; what has decimals is a row.
        let are_numbers = of_inputs().all(|name| name.parse::<f64>().is_ok());
        if are_numbers && of_inputs().any(|name| name.parse::<u64>().is_err()) {
            return Err(format!(
                "expected a header with the names of the columns, got numbers: {}",
                of_inputs().take(3).collect::<Vec<_>>().join(", ")
            ));
        }
        let by_name = |(at, name): (usize, &String)| Some((at, spec.input(name)?.clone()));
        let named: Option<Vec<_>> = inputs.clone().map(by_name).collect();
        let columns = match (named, spec.sole_input()) {
            (Some(named), _) if spec.inputs.len() > 1 => Columns::Named(named),
            (_, Some(sole)) => Columns::Sole(sole.clone()),
            (_, None) => {
                let known: Vec<_> = spec.inputs.iter().map(|input| &*input.name).collect();
                let got: Vec<_> = inputs.map(|(_, name)| name.as_str()).collect();
                return Err(format!(
                    "expected columns that bear the names of the model's inputs ({}), got {}",
                    known.join(", "),
                    got.join(", ")
                ));
            }
        };
        let csv = Self { names, label_at, columns };
        csv.check()?;
        Ok(csv)
    }

    /// The names of the columns that go to the one input.
    pub(super) fn input_names(&self) -> Option<Vec<String>> {
        let Columns::Sole(_) = &self.columns else { return None };
        let inputs = self.names.iter().enumerate().filter(|(at, _)| *at != self.label_at);
        Some(inputs.map(|(_, name)| name.clone()).collect())
    }

    /// Whether there are as many columns as the one input takes.
    fn check(&self) -> Result<(), String> {
        let Columns::Sole(input) = &self.columns else { return Ok(()) };
        let Some(sizes) = fixed(input) else { return Ok(()) };
        let (expected, got) = (sizes.iter().product::<usize>(), self.names.len() - 1);
        if expected == got {
            return Ok(());
        }
        Err(format!(
            "expected {expected} columns beside the label for input {:?}, got {got}",
            input.name
        ))
    }

    /// The body and the label of a line.
    pub(super) fn row(&self, line: &[u8]) -> Result<(Vec<u8>, String), String> {
        let mut cells = cells(line)?;
        if cells.len() != self.names.len() {
            return Err(format!("expected {} cells, got {}", self.names.len(), cells.len()));
        }
        let label = std::mem::take(&mut cells[self.label_at]).trim().to_owned();
        if label.is_empty() {
            return Err(format!(
                "expected a label in column {:?}, got none",
                self.names[self.label_at]
            ));
        }
        let value = |at: usize, input: &TensorSpec| self.value(at, &cells[at], input.datatype);
        let body = match &self.columns {
            Columns::Sole(input) => {
                let columns = (0..cells.len()).filter(|at| *at != self.label_at);
                let values: Result<Vec<_>, _> = columns.map(|at| value(at, input)).collect();
                let sizes = fixed(input).unwrap_or_else(|| vec![cells.len() - 1]);
                format!("{{\"features\":{}}}", nested(&values?, &sizes))
            }
            Columns::Named(columns) => {
                let mut members = Vec::with_capacity(columns.len());
                for (at, input) in columns {
                    let rank = input.shape.dims().map_or(1, <[Dim]>::len);
                    let value = value(*at, input)?;
                    let (open, close) = ("[".repeat(rank), "]".repeat(rank));
                    members.push(format!("{:?}:{open}{value}{close}", input.name));
                }
                format!("{{\"inputs\":{{{}}}}}", members.join(","))
            }
        };
        Ok((body.into_bytes(), label))
    }

    /// A cell as JSON has it.
    fn value(&self, at: usize, cell: &str, datatype: DataType) -> Result<String, String> {
        let text = cell.trim();
        let value = match datatype {
            DataType::Bytes => serde_json::to_string(cell).ok(),
            DataType::Bool => match text.to_ascii_lowercase().as_str() {
                "true" | "1" => Some("true".to_owned()),
                "false" | "0" => Some("false".to_owned()),
                _ => None,
            },
            // What is missing, as pandas and NumPy write it.
            _ if datatype.is_float() && (text.is_empty() || text.eq_ignore_ascii_case("nan")) => {
                Some("NaN".to_owned())
            }
            // What JSON writes alike goes on as it is, so that it is rounded once.
            _ if serde_json::from_str::<f64>(text).is_ok() => Some(text.to_owned()),
            _ => text.parse::<f64>().ok().filter(|it| it.is_finite()).map(|it| format!("{it:?}")),
        };
        let kind = if datatype == DataType::Bool { "true or false" } else { "a number" };
        let got = if text.is_empty() { "nothing".to_owned() } else { format!("{text:?}") };
        value.ok_or_else(|| format!("column {:?}: expected {kind}, got {got}", self.names[at]))
    }
}

/// The sizes of one row, where all of them are known.
fn fixed(input: &TensorSpec) -> Option<Vec<usize>> {
    let size = |dim: &Dim| if let Dim::Fixed(size) = dim { Some(*size) } else { None };
    input.shape.dims()?.get(1..)?.iter().map(size).collect()
}

/// Values in brackets, as deep as there are sizes.
fn nested(values: &[String], sizes: &[usize]) -> String {
    let Some((&size, inner)) = sizes.split_first() else { return values.join(",") };
    let step = (values.len() / size.max(1)).max(1);
    let mut text = String::new();
    for (place, part) in values.chunks(step).enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{}{}", if place > 0 { "," } else { "" }, nested(part, inner));
    }
    format!("[{text}]")
}

/// The cells of a line. A quoted one ends on it.
fn cells(line: &[u8]) -> Result<Vec<String>, String> {
    let mut rest = std::str::from_utf8(line).map_err(|_| "expected UTF-8, got other bytes")?;
    let mut cells = Vec::new();
    loop {
        let (cell, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_cell(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        cells.push(cell);
        match behind.strip_prefix(',') {
            Some(next) => rest = next,
            None if behind.is_empty() => return Ok(cells),
            None => {
                let place = cells.len();
                return Err(format!("cell {place}: expected a comma behind the closing quote"));
            }
        }
    }
}

/// A cell behind its opening quote, and what follows the closing one.
fn quoted_cell(text: &str) -> Result<(String, &str), String> {
    let (mut cell, mut rest) = (String::new(), text);
    loop {
        let end = rest.find('"').ok_or("expected a closing quote on the same line, got none")?;
        cell.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(behind) => {
                cell.push('"');
                rest = behind;
            }
            None => return Ok((cell, rest)),
        }
    }
}
