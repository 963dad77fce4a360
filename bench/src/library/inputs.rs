//! The rows that a model is run with, read from rows.json and the binary files that it names.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use tch::Kind;
use torch_shim::{IValue, tensor_from_owner};

use crate::Error;

/// rows.json.
#[derive(Debug, Deserialize)]
struct Description {
    inputs: Vec<Described>,
    rows: usize,
}

#[derive(Debug, Deserialize)]
struct Described {
    datatype: String,
    /// Of one row; -1 for the one that differs from row to row.
    shape: Vec<i64>,
    /// Little-endian elements, row after row.
    file: String,
}

/// Rows of every input of a model.
#[derive(Debug)]
pub(crate) struct Inputs {
    inputs: Vec<Input>,
    /// The variable size of each row; empty when all rows have one shape.
    lengths: Vec<i64>,
    rows: usize,
}

#[derive(Debug)]
struct Input {
    kind: Kind,
    shape: Vec<i64>,
    rows: Vec<Vec<u8>>,
}

#[derive(Debug, Deserialize)]
struct Lengths {
    #[serde(default)]
    lengths: Vec<i64>,
}

impl Inputs {
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let wrong = |what: &str| -> Error { format!("{}: {what}", path.display()).into() };
        let text = fs::read_to_string(path).map_err(|error| wrong(&error.to_string()))?;
        let description: Description = serde_json::from_str(&text)?;
        let Lengths { lengths } = serde_json::from_str(&text)?;
        if description.rows == 0 || !(lengths.is_empty() || lengths.len() == description.rows) {
            return Err(wrong("rows and lengths do not fit"));
        }
        let folder = path.parent().ok_or_else(|| wrong("has no folder"))?;
        let mut inputs = Vec::new();
        for described in description.inputs {
            let (kind, size) = match described.datatype.as_str() {
                "FP32" => (Kind::Float, 4),
                "INT64" => (Kind::Int64, 8),
                other => return Err(wrong(&format!("datatype {other} is not known here"))),
            };
            let bytes = fs::read(folder.join(&described.file))?;
            let mut rest = bytes.as_slice();
            let mut rows = Vec::with_capacity(description.rows);
            for row in 0..description.rows {
                let length = lengths.get(row).copied().unwrap_or(1);
                let elements: i64 = described
                    .shape
                    .iter()
                    .map(|size| if *size < 0 { length } else { *size })
                    .product();
                let (row, after) = usize::try_from(elements)
                    .ok()
                    .and_then(|elements| rest.split_at_checked(elements * size))
                    .ok_or_else(|| wrong(&format!("{} is too short", described.file)))?;
                rows.push(row.to_vec());
                rest = after;
            }
            if !rest.is_empty() {
                return Err(wrong(&format!("{} is too long", described.file)));
            }
            inputs.push(Input { kind, shape: described.shape, rows });
        }
        Ok(Self { inputs, lengths, rows: description.rows })
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Keeps the first rows only.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.rows = self.rows.min(rows.max(1));
    }

    /// Rows of equal length, by length; one group when all are equal.
    pub(crate) fn groups(&self) -> Vec<Vec<usize>> {
        let mut groups = std::collections::BTreeMap::<i64, Vec<usize>>::new();
        for row in 0..self.rows {
            groups.entry(self.lengths.get(row).copied().unwrap_or(0)).or_default().push(row);
        }
        groups.into_values().collect()
    }

    /// A batch of these rows, which must be of one shape: the arguments of a call.
    pub(crate) fn batch(&self, rows: &[usize]) -> Result<Vec<IValue>, Error> {
        let length = rows.first().and_then(|row| self.lengths.get(*row)).copied().unwrap_or(1);
        self.inputs
            .iter()
            .map(|input| {
                let mut shape = vec![i64::try_from(rows.len())?];
                shape.extend(input.shape.iter().map(|size| if *size < 0 { length } else { *size }));
                let bytes: Vec<u8> =
                    rows.iter().flat_map(|row| input.rows[*row].iter().copied()).collect();
                let tensor = tensor_from_owner(bytes, &shape, input.kind)?;
                // Into libtorch's own aligned memory, as the server's batches are.
                let mut own = tensor.f_empty_like()?;
                own.f_copy_(&tensor)?;
                Ok(IValue::Tensor(own))
            })
            .collect()
    }

    /// The rows of batches of `size` that take turns, so that no call sees the rows of the one before.
    pub(crate) fn batches(&self, size: usize) -> Vec<Vec<usize>> {
        let count = (self.rows / size).clamp(1, 8);
        (0..count).map(|k| (0..size).map(|j| (k * size + j) % self.rows).collect()).collect()
    }
}
