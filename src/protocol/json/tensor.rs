//! One input tensor of a model, read from JSON by its specification.

use super::array::{Fill, fill};
use super::fault::Fault;
use super::measure::{Measured, measure};
use super::reader::Reader;
use crate::inference::{ErrorCode, InferError, NamedTensor, TensorSpec};
use crate::tensor::{Dim, Shape, ShapePattern, Tensor};

/// Reads one input, at once or row by row, and words what is wrong with it.
pub(crate) struct TensorDecoder<'s> {
    spec: &'s TensorSpec,
    max_rows: usize,
    /// Made when the first value is met, which shows how deep the arrays lie.
    fill: Option<Box<dyn Fill>>,
    /// How many leading indices a client does not write.
    hidden: usize,
}

impl<'s> TensorDecoder<'s> {
    /// A decoder of values with all dimensions, or of rows that lie in a list.
    pub(crate) fn new(spec: &'s TensorSpec, max_rows: usize) -> Self {
        Self { spec, max_rows, fill: None, hidden: 0 }
    }

    /// A decoder of one row that stands for itself: messages do not count it.
    pub(crate) fn for_one_row(spec: &'s TensorSpec) -> Self {
        Self { spec, max_rows: 1, fill: None, hidden: 1 }
    }

    /// Rows read so far by [`Self::row`].
    pub(crate) fn n_rows(&self) -> usize {
        self.fill.as_ref().map_or(0, |fill| fill.n_rows())
    }

    /// Reads the tensor as a value of all its dimensions.
    pub(crate) fn whole(&mut self, reader: &mut Reader<'_>) -> Result<(), InferError> {
        let start = *reader;
        let outcome = self.filler(reader, 0)?.whole(reader);
        outcome.map_err(|fault| self.report(fault, start, 0))
    }

    /// Reads one more row of the tensor.
    pub(crate) fn row(&mut self, reader: &mut Reader<'_>) -> Result<(), InferError> {
        let start = *reader;
        let outcome = self.filler(reader, 1)?.row(reader);
        outcome.map_err(|fault| self.report(fault, start, 1))
    }

    /// The tensor; at least one value has been read.
    pub(crate) fn finish(self) -> Result<NamedTensor, InferError> {
        let name = &self.spec.name;
        let (shape, buffer) = match self.fill {
            Some(fill) => fill.finish(),
            None => (Shape::from([0]), crate::tensor::Buffer::default()),
        };
        let tensor = Tensor::new(self.spec.datatype, shape, buffer).map_err(|error| {
            InferError::invalid_input(&**name, format!("input {name:?}: {error}"))
        })?;
        Ok(NamedTensor { name: name.clone(), tensor })
    }

    /// The filler, made for values whose first `n_outer` dimensions are not written.
    fn filler(
        &mut self,
        reader: &Reader<'_>,
        n_outer: usize,
    ) -> Result<&mut Box<dyn Fill>, InferError> {
        let name = &*self.spec.name;
        if self.fill.is_none() {
            let dims = match &self.spec.shape {
                ShapePattern::Dims(dims) => dims.clone(),
                ShapePattern::Unknown => vec![Dim::Variable; reader.depth()? + n_outer],
            };
            self.fill = fill(self.spec.datatype, dims, self.max_rows, reader.remaining());
        }
        self.fill.as_mut().ok_or_else(|| {
            let message = format!(
                "input {name:?} is of {}, which JSON input does not support",
                self.spec.datatype
            );
            let mut error = InferError::new(ErrorCode::Unsupported, message);
            error.details.input = Some(name.to_owned());
            error
        })
    }

    /// Words a fault in the value at `start`, whose first `n_outer` dimensions are not written.
    fn report(&self, fault: Fault, start: Reader<'_>, n_outer: usize) -> InferError {
        let name = &*self.spec.name;
        let at = |index: &[usize]| match index.get(self.hidden..).unwrap_or_default() {
            [] => format!("input {name:?}"),
            index => format!("input {name:?} at {index:?}"),
        };
        let invalid = |message: String| InferError::invalid_input(name, message);
        match fault {
            Fault::Syntax(error) => error.into(),
            Fault::Kind { index, expected, got } => {
                let message = format!("{}: expected {expected}, got {got}", at(&index));
                invalid(message).with_mismatch(expected, got)
            }
            Fault::Number { index, text, fault } => {
                let datatype = self.spec.datatype;
                let message = format!("{}: {}", at(&index), fault.message(&text, datatype));
                invalid(message).with_mismatch(datatype, text)
            }
            Fault::TooManyRows => too_many_rows(self.max_rows),
            Fault::Shape => match measure(start) {
                Err(error) => error.into(),
                Ok(Measured::Ragged { index, expected, got }) => {
                    let index = [&[self.n_rows()][..n_outer], &index].concat();
                    let place = at(&index);
                    let message = format!("{place} is ragged: expected {expected}, got {got}");
                    invalid(message).with_mismatch(expected, got)
                }
                Ok(Measured::Shape(got)) => self.wrong_shape(&got, n_outer),
            },
        }
    }

    fn wrong_shape(&self, got: &Shape, n_outer: usize) -> InferError {
        let name = &*self.spec.name;
        let dims = self.fill.as_ref().map_or(&[][..], |fill| fill.dims());
        // The declared shape says it best; only rows of a variable size are compared with each other.
        let expected = match &self.spec.shape {
            pattern @ ShapePattern::Dims(_) if n_outer == 0 => pattern.clone(),
            _ => ShapePattern::Dims(dims.get(n_outer..).unwrap_or_default().to_vec()),
        };
        let what = match (n_outer, self.hidden) {
            (0, _) => format!("input {name:?} has shape {got}"),
            (_, 0) => format!("input {name:?} has shape {got} in row {}", self.n_rows()),
            _ => format!("input {name:?} has shape {got} in its one row"),
        };
        let message = format!("{what}, expected {expected}");
        InferError::invalid_input(name, message).with_mismatch(expected, got)
    }
}

/// The report of a request that was cut short at the row limit.
pub(crate) fn too_many_rows(max_rows: usize) -> InferError {
    let message =
        format!("the request has more than {max_rows} rows, at most {max_rows} are allowed");
    InferError::new(ErrorCode::InvalidInput, message).with_mismatch(
        format_args!("at most {max_rows} rows"),
        format_args!("more than {max_rows}"),
    )
}
