//! Labelled rows of a file, one after the other: JSON lines or CSV, told by the first character.
//!
//! What comes out of either is a body of the native protocol with one row, and the text of its label. Nothing here
//! knows what labels mean, and no more than one line is held.

mod csv;
mod json_lines;
mod lines;

use super::error::EvaluationError;
use crate::inference::ModelSpec;
use csv::Csv;
use lines::Lines;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

/// The member of a line that holds its label, unless another one is named.
const LABEL: &str = "label";
/// What names the standard input.
const STDIN: &str = "-";

/// A row and what it should be answered with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Example {
    /// Its line, from 1.
    pub(super) line: u64,
    /// A body of the native protocol.
    pub(super) body: Vec<u8>,
    /// A class or a number, as it is written.
    pub(super) label: String,
}

/// A file of labelled rows.
pub struct DataSet {
    file: String,
    lines: Lines<Box<dyn BufRead>>,
    form: Form,
}

enum Form {
    JsonLines { label: String },
    Csv(Csv),
}

impl std::fmt::Debug for DataSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataSet").field("file", &self.file).finish_non_exhaustive()
    }
}

impl DataSet {
    /// Opens a file, or the standard input for `-`, for a model that takes what `spec` says. `label` names the column
    /// or the member with the labels.
    ///
    /// # Errors
    ///
    /// It cannot be read, or its header does not suit the model.
    pub fn open(
        path: &Path,
        label: Option<&str>,
        spec: &ModelSpec,
    ) -> Result<Self, EvaluationError> {
        let file = path.display().to_string();
        let opened: io::Result<Box<dyn BufRead>> = if file == STDIN {
            Ok(Box::new(BufReader::new(io::stdin())))
        } else {
            File::open(path).map(|file| Box::new(BufReader::new(file)) as _)
        };
        let failed = |source| EvaluationError::File { file: file.clone(), source };
        Self::read(file.clone(), opened.map_err(failed)?, label, spec)
    }

    fn read(
        file: String,
        reader: Box<dyn BufRead>,
        label: Option<&str>,
        spec: &ModelSpec,
    ) -> Result<Self, EvaluationError> {
        let mut lines = Lines::new(reader);
        let failed = |source| EvaluationError::File { file: file.clone(), source };
        let form = if lines.begins_with_object().map_err(failed)? {
            Form::JsonLines { label: label.unwrap_or(LABEL).to_owned() }
        } else {
            let header = lines.read().map_err(failed)?;
            let header = header.map(|line| Csv::new(line, label, spec));
            let empty = || Err("the file is empty, expected labelled rows".to_owned());
            let at_header = |message| EvaluationError::Row { file: file.clone(), line: 1, message };
            Form::Csv(header.unwrap_or_else(empty).map_err(at_header)?)
        };
        Ok(Self { file, lines, form })
    }

    /// What messages call it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What the columns are called that hold the numbers of the one input, in their order; `None` where they are not columns.
    #[must_use]
    pub fn column_names(&self) -> Option<Vec<String>> {
        match &self.form {
            Form::JsonLines { .. } => None,
            Form::Csv(csv) => csv.input_names(),
        }
    }

    /// A complaint about a line.
    pub(super) fn row_error(&self, line: u64, message: String) -> EvaluationError {
        EvaluationError::Row { file: self.file.clone(), line, message }
    }

    /// The next row. Empty lines are none.
    pub(super) fn next_row(&mut self) -> Result<Option<Example>, EvaluationError> {
        loop {
            let read = self.lines.read();
            let bytes = match read {
                Ok(None) => return Ok(None),
                Ok(Some(bytes)) => bytes,
                Err(error) => {
                    let (line, message) = (self.lines.number(), error.to_string());
                    return Err(self.row_error(line, message));
                }
            };
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let row = match &self.form {
                Form::JsonLines { label } => json_lines::row(bytes, label),
                Form::Csv(csv) => csv.row(bytes),
            };
            let line = self.lines.number();
            let (body, label) = row.map_err(|message| self.row_error(line, message))?;
            return Ok(Some(Example { line, body, label }));
        }
    }
}

#[cfg(test)]
mod tests;
