//! Lines of captured requests, read back.

use crate::inference::{NamedTensor, TensorSpec};
use crate::protocol::json::{Reader, TensorDecoder};
use crate::tensor::{Buffer, DataType, Shape, ShapePattern, Tensor};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Bytes of a line; one of the largest record is shorter.
const MAX_LINE: u64 = 64 << 20;

/// What keeps a file of captured requests from being read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("{}: {source}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A line is none.
    #[error("{}:{line}: {problem}", file.display())]
    Line {
        /// Which file.
        file: PathBuf,
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
}

/// A line.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'t> {
    pub(super) time: Cow<'t, str>,
    pub(super) request_id: Cow<'t, str>,
    pub(super) model: Cow<'t, str>,
    pub(super) version: Cow<'t, str>,
    #[serde(default)]
    pub(super) digest: Cow<'t, str>,
    pub(super) outcome: Cow<'t, str>,
    #[serde(borrow)]
    pub(super) inputs: Option<Vec<Written<'t>>>,
    #[serde(borrow)]
    pub(super) outputs: Option<Vec<Written<'t>>>,
    #[serde(default)]
    pub(super) labels: Vec<Option<Cow<'t, str>>>,
}

/// A tensor as it is written.
#[derive(Debug, Deserialize)]
pub(super) struct Written<'t> {
    pub(super) name: Cow<'t, str>,
    pub(super) datatype: Cow<'t, str>,
    pub(super) shape: Vec<usize>,
    #[serde(borrow)]
    pub(super) data: Option<&'t RawValue>,
    base64: Option<Cow<'t, str>>,
    pub(super) left_out: Option<Cow<'t, str>>,
}

/// Why a tensor cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Missing {
    /// The request did not get so far, or its values were left out: redacted, or too large.
    #[error("{0}")]
    LeftOut(String),
    /// The line is faulty.
    #[error("{0}")]
    Faulty(String),
}

impl Line<'_> {
    pub(super) fn read(text: &str) -> Result<Line<'_>, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// What the model was asked.
    pub(super) fn inputs(&self) -> Result<Vec<NamedTensor>, Missing> {
        tensors(self.inputs.as_deref(), "inputs")
    }

    /// What it gave.
    pub(super) fn outputs(&self) -> Result<Vec<NamedTensor>, Missing> {
        tensors(self.outputs.as_deref(), "outputs")
    }
}

fn tensors(written: Option<&[Written<'_>]>, what: &str) -> Result<Vec<NamedTensor>, Missing> {
    let written = written.ok_or_else(|| Missing::LeftOut(format!("no {what}")))?;
    written.iter().map(Written::read).collect()
}

impl Written<'_> {
    /// The tensor.
    pub(super) fn read(&self) -> Result<NamedTensor, Missing> {
        let Self { name, datatype, shape, data, base64, left_out } = self;
        let faulty = |problem: String| Missing::Faulty(format!("tensor {name:?}: {problem}"));
        let known: DataType =
            datatype.parse().map_err(|_| faulty(format!("{datatype:?} is no datatype")))?;
        let shape = Shape::new(shape.clone());
        let elements = shape.elements();
        let elements =
            elements.ok_or_else(|| faulty("its shape has too many elements".to_owned()))?;
        match (left_out, base64, data) {
            (Some(reason), ..) => Err(Missing::LeftOut(format!("{name} is left out: {reason}"))),
            (None, Some(text), None) => {
                let bytes = STANDARD.decode(&**text).map_err(|error| faulty(error.to_string()))?;
                let tensor = Tensor::new(known, shape, Buffer::copy_aligned(&bytes));
                let tensor = tensor.map_err(|error| faulty(error.to_string()))?;
                Ok(NamedTensor { name: (&**name).into(), tensor })
            }
            (None, None, Some(values)) => {
                let spec = TensorSpec {
                    name: (&**name).into(),
                    datatype: known,
                    shape: ShapePattern::Unknown,
                    optional: false,
                    declared: true,
                };
                if elements == 0 {
                    // Of what is nested in nothing nothing can be read.
                    let tensor = Tensor::new(known, shape, Buffer::default());
                    let tensor = tensor.map_err(|error| faulty(error.to_string()))?;
                    return Ok(NamedTensor { name: spec.name, tensor });
                }
                let mut reader = Reader::extended(values.get().as_bytes());
                TensorDecoder::stated(&spec, false, (known, &shape), &mut reader)
                    .map_err(|error| faulty(error.to_string()))
            }
            _ => Err(faulty("expected one of \"data\", \"base64\" and \"left_out\"".to_owned())),
        }
    }
}

/// The lines of files, one after the other. One that a crash cut short at the end of a file is passed over.
#[derive(Debug)]
pub struct Lines {
    rest: std::vec::IntoIter<PathBuf>,
    file: Option<(PathBuf, BufReader<File>)>,
    line: u64,
    text: String,
}

impl Lines {
    /// Those of these files; of a folder, all that were captured to it, oldest first.
    ///
    /// # Errors
    ///
    /// A folder cannot be read.
    pub fn of(paths: &[PathBuf]) -> Result<Self, ReadError> {
        let mut files = Vec::new();
        for path in paths {
            let error = |source| ReadError::File { file: path.clone(), source };
            if path.is_dir() {
                let mut captured = super::files::captured(path).map_err(error)?;
                captured.sort();
                files.extend(captured);
            } else {
                files.push(path.clone());
            }
        }
        let text = String::new();
        Ok(Self { rest: files.into_iter(), file: None, line: 0, text })
    }

    /// The next line; `None` behind the last.
    ///
    /// # Errors
    ///
    /// A file cannot be read.
    pub(super) fn next_line(&mut self) -> Result<Option<&str>, ReadError> {
        loop {
            let Some((path, reader)) = &mut self.file else {
                let Some(path) = self.rest.next() else { return Ok(None) };
                let opened = File::open(&path);
                let opened =
                    opened.map_err(|source| ReadError::File { file: path.clone(), source })?;
                (self.file, self.line) = (Some((path, BufReader::new(opened))), 0);
                continue;
            };
            self.text.clear();
            let mut bytes = std::mem::take(&mut self.text).into_bytes();
            let read = reader.take(MAX_LINE).read_until(b'\n', &mut bytes);
            read.map_err(|source| ReadError::File { file: path.clone(), source })?;
            self.line += 1;
            let is_cut = bytes.last() != Some(&b'\n') && (bytes.len() as u64) < MAX_LINE;
            match String::from_utf8(bytes) {
                Ok(text) => self.text = text,
                // Cut short within a letter.
                Err(_) if is_cut => {
                    self.file = None;
                    continue;
                }
                Err(_) => return Err(self.fault("it is no UTF-8".to_owned())),
            }
            if !self.text.ends_with('\n') {
                if self.text.len() as u64 == MAX_LINE {
                    return Err(self.fault(format!("it has more than {MAX_LINE} bytes")));
                }
                // Its end was never written; where only the line break is missing, it is whole.
                let is_whole = serde_json::from_str::<IgnoredAny>(&self.text).is_ok();
                if !is_whole {
                    self.file = None;
                    continue;
                }
            }
            if !self.text.trim().is_empty() {
                // The borrow of what is returned would last beyond the loop otherwise.
                return Ok(Some(self.text.trim_end()));
            }
        }
    }

    /// What is wrong with the line that was read last.
    pub(super) fn fault(&self, problem: String) -> ReadError {
        let file = self.file.as_ref().map(|(path, _)| path.clone()).unwrap_or_default();
        ReadError::Line { file, line: self.line, problem }
    }

    /// Where that line stands.
    pub(super) fn place(&self) -> (&Path, u64) {
        let path = self.file.as_ref().map_or(Path::new(""), |(path, _)| path.as_path());
        (path, self.line)
    }
}
