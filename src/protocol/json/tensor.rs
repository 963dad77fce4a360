//! One input tensor of a model, read from JSON by its specification.

use super::array::{Fill, fill};
use super::fault::Fault;
use super::measure::{Measured, measure};
use super::reader::Reader;
use crate::inference::{ErrorCode, InferError, NamedTensor, TensorSpec};
use crate::tensor::{Buffer, DataType, Dim, Shape, ShapePattern, Tensor};

/// Reads one input, at once or row by row, and words what is wrong with it.
pub(crate) struct TensorDecoder<'s> {
    spec: &'s TensorSpec,
    datatype: DataType,
    max_rows: usize,
    /// Whether values may be missing.
    is_column: bool,
    /// Made when the first value is met, which shows how deep the arrays lie.
    fill: Option<Box<dyn Fill>>,
    /// How many leading indices a client does not write.
    hidden: usize,
    /// The shape that a client writes beside the values.
    stated: Option<Shape>,
}

impl<'s> TensorDecoder<'s> {
    /// A decoder of values with all dimensions, or of rows that lie in a list.
    pub(crate) fn new(spec: &'s TensorSpec, max_rows: usize) -> Self {
        let datatype = spec.datatype;
        let is_column = false;
        Self { spec, datatype, max_rows, is_column, fill: None, hidden: 0, stated: None }
    }

    /// The same where values may be missing, as in a column of a table.
    pub(crate) fn with_gaps(self, is_column: bool) -> Self {
        Self { is_column, ..self }
    }

    /// A decoder of one row that stands for itself: messages do not count it.
    pub(crate) fn for_one_row(spec: &'s TensorSpec) -> Self {
        Self { hidden: 1, ..Self::new(spec, 1) }
    }

    /// Reads a tensor whose datatype and shape stand beside its values: these lie nested like it, or all
    /// in one list. Both are such as the model takes.
    pub(crate) fn stated(
        spec: &'s TensorSpec,
        is_column: bool,
        (datatype, shape): (DataType, &Shape),
        reader: &mut Reader<'_>,
    ) -> Result<NamedTensor, InferError> {
        let stated = Some(shape.clone());
        let mut decoder = Self { datatype, stated, is_column, ..Self::new(spec, usize::MAX) };
        let buffer = decoder.values(shape, reader)?;
        decoder.named(shape.clone(), buffer)
    }

    fn values(&mut self, shape: &Shape, reader: &mut Reader<'_>) -> Result<Buffer, InferError> {
        let start = *reader;
        let is_flat = shape.rank() != 1 && start.depth()? == 1;
        let n_elements = [shape.elements().unwrap_or(usize::MAX)];
        let sizes = if is_flat { &n_elements } else { shape.dims() };
        let dims = sizes.iter().map(|&size| Dim::Fixed(size)).collect();
        let mut fill = fill(self.kind(), dims, usize::MAX, reader.remaining());
        fill.whole(reader).map_err(|fault| self.report(fault, start, 0))?;
        Ok(fill.finish().1)
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

    /// Adds a row that is missing.
    pub(crate) fn gap(&mut self) -> Result<(), InferError> {
        self.row(&mut Reader::new(b"null"))
    }

    fn kind(&self) -> (DataType, bool) {
        (self.datatype, self.is_column)
    }

    /// The tensor; at least one value has been read.
    pub(crate) fn finish(mut self) -> Result<NamedTensor, InferError> {
        let (shape, buffer) = match self.fill.take() {
            Some(fill) => fill.finish(),
            None => (Shape::from([0]), Buffer::default()),
        };
        self.named(shape, buffer)
    }

    fn named(&self, shape: Shape, buffer: Buffer) -> Result<NamedTensor, InferError> {
        let name = &self.spec.name;
        let tensor = Tensor::new(self.datatype, shape, buffer);
        let tensor = tensor.map_err(|error| {
            InferError::invalid_input(&**name, format!("input {name:?}: {error}"))
        })?;
        Ok(NamedTensor { name: name.clone(), tensor })
    }

    /// The shape that values must have; that of an input which nobody declared follows from them.
    fn pattern(&self) -> &ShapePattern {
        if self.spec.declared { &self.spec.shape } else { &ShapePattern::Unknown }
    }

    /// The filler, made for values whose first `n_outer` dimensions are not written.
    fn filler(&mut self, reader: &Reader<'_>, n_outer: usize) -> Result<&mut dyn Fill, InferError> {
        let fill = match self.fill.take() {
            Some(fill) => fill,
            None => {
                let dims = match self.pattern() {
                    ShapePattern::Dims(dims) => dims.clone(),
                    ShapePattern::Unknown => vec![Dim::Variable; reader.depth()? + n_outer],
                };
                fill(self.kind(), dims, self.max_rows, reader.remaining())
            }
        };
        Ok(&mut **self.fill.insert(fill))
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
                let is_null = (expected, got) == ("a number", "null");
                let why = if is_null { self.about_null(start) } else { "" };
                let message = format!("{}: expected {expected}, got {got}{why}", at(&index));
                invalid(message).with_mismatch(expected, got)
            }
            Fault::Number { index, text, fault } => {
                let datatype = self.datatype;
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

    /// What is to be said to a client that writes `null` among numbers, as it may have read it in an
    /// answer, or as its own language writes what is missing.
    fn about_null(&self, reader: Reader<'_>) -> &'static str {
        match (self.spec.datatype.is_float(), reader.has_words()) {
            (false, _) => "",
            (true, true) => {
                ", which is no number: write NaN, or what the model takes for a missing value"
            }
            (true, false) => {
                ", which is no number: write what the model takes for a missing value, or send \
                 plain bytes, which can hold NaN"
            }
        }
    }

    fn wrong_shape(&self, got: &Shape, n_outer: usize) -> InferError {
        let name = &*self.spec.name;
        if let Some(stated) = &self.stated {
            return wrong_data(name, stated, got);
        }
        let dims = self.fill.as_ref().map_or(&[][..], |fill| fill.dims());
        // The declared shape says it best; only rows of a variable size are compared with each other.
        let expected = match self.pattern() {
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

/// The report of values that do not make the shape which is stated beside them.
fn wrong_data(name: &str, stated: &Shape, got: &Shape) -> InferError {
    if let ([got], Some(expected)) = (got.dims(), stated.elements()) {
        let message = format!(
            "the data of input {name:?} has {got} elements, expected {expected} for shape {stated}"
        );
        return InferError::invalid_input(name, message).with_mismatch(expected, got);
    }
    let message = format!("the data of input {name:?} has shape {got}, expected {stated}");
    InferError::invalid_input(name, message).with_mismatch(stated, got)
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
