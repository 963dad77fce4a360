//! The step that makes tensors of the columns of a table, as scikit-learn's imputers, encoders and scalers do.
//!
//! Of each value, in this order: what is missing gets its place-holder, a word becomes its position in the list of categories or
//! one number for each of them, a number is standardized.

mod categories;

use super::content::{beside, elements};
use super::desk::Desk;
use super::error::TransformError;
use super::steps::InputStep;
use crate::inference::{Content, InferError, NamedTensor, TensorSpec};
use crate::tensor::{DataType, Dim, Shape, ShapePattern, Tensor};
pub use categories::Categories;
use categories::lacks;
use std::collections::HashMap;
use std::sync::Arc;

const STEP: &str = "preprocess.columns";
/// Values from this many bytes on take longer than a thread that serves connections should be held up.
const QUICK_BYTES: usize = 64 * 1024;

/// One column, and what becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name on the wire.
    pub name: Arc<str>,
    /// The input of the model that it is part of; the only one where none is named.
    pub input: Option<Arc<str>>,
    /// What its values are.
    pub kind: ColumnKind,
}

/// What the values of a column are.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnKind {
    /// Numbers, of which `mean` is taken and which are divided by `std`.
    Number {
        /// What stands for a missing one, before it is standardized; without it none may be missing.
        missing: Option<f64>,
        /// Taken off.
        mean: f64,
        /// Divided by.
        std: f64,
    },
    /// Words of a list.
    Category(Categories),
}

impl ColumnKind {
    /// How many numbers it is in the model's input.
    fn width(&self) -> usize {
        match self {
            Self::Category(categories) if categories.is_one_hot => categories.places.len(),
            Self::Number { .. } | Self::Category(_) => 1,
        }
    }

    fn datatype(&self) -> DataType {
        match self {
            Self::Number { .. } => DataType::Fp64,
            Self::Category(_) => DataType::Bytes,
        }
    }
}

/// Columns of a table to the inputs of a model.
#[derive(Debug, Clone)]
pub struct Tabulate {
    columns: Vec<Column>,
    positions: HashMap<Arc<str>, usize>,
}

/// An input of the model that the step makes.
#[derive(Debug)]
struct Made {
    name: Arc<str>,
    datatype: DataType,
    /// Its columns by their positions, and where each begins.
    columns: Vec<(usize, usize)>,
    width: usize,
}

/// The values of a column in a request.
enum Values<'t> {
    Numbers(Vec<f64>),
    Words(Vec<&'t [u8]>),
    /// All of them are missing.
    None,
}

impl Tabulate {
    /// A step of these columns, whose names differ.
    #[must_use]
    pub fn new(columns: Vec<Column>) -> Self {
        let named = columns.iter().enumerate().map(|(at, column)| (Arc::clone(&column.name), at));
        let positions = named.collect();
        Self { columns, positions }
    }

    /// The inputs of the model, each with its columns.
    fn made(&self, inner: &[TensorSpec]) -> Result<Vec<Made>, TransformError> {
        let mut required = inner.iter().filter(|spec| !spec.optional);
        let sole = required.next().filter(|_| required.next().is_none());
        let mut made: Vec<Made> = Vec::new();
        for (position, column) in self.columns.iter().enumerate() {
            let name = &column.name;
            if inner.iter().any(|spec| spec.name == *name) {
                return Err(fault(format!("column {name:?} is called as an input of the model")));
            }
            let spec = match &column.input {
                Some(wanted) => inner.iter().find(|spec| spec.name == *wanted),
                None => sole,
            };
            let Some(spec) = spec else {
                let known: Vec<_> = inner.iter().map(|spec| &*spec.name).collect();
                let known = known.join(", ");
                return Err(fault(match &column.input {
                    Some(wanted) => format!(
                        "column {name:?} is part of {wanted:?}, but the model's inputs are {known}"
                    ),
                    None => format!(
                        "column {name:?} does not say of which input it is part, and the model has several: {known}"
                    ),
                }));
            };
            let known = made.iter().position(|made| made.name == spec.name);
            let made = match known {
                Some(known) => &mut made[known],
                None => made.push_mut(Made {
                    name: Arc::clone(&spec.name),
                    datatype: if spec.declared { spec.datatype } else { DataType::Fp32 },
                    columns: Vec::new(),
                    width: 0,
                }),
            };
            made.columns.push((position, made.width));
            made.width += column.kind.width();
        }
        for spec in inner.iter().filter(|spec| !spec.optional || spec.declared) {
            match made.iter().find(|made| made.name == spec.name) {
                Some(made) => made.check(spec, &self.columns)?,
                None if spec.optional => {}
                None => {
                    return Err(fault(format!("no column is part of input {:?}", spec.name)));
                }
            }
        }
        Ok(made)
    }

    /// One input of so many rows.
    fn tensor(
        &self,
        made: &Made,
        values: &[Values<'_>],
        n_rows: usize,
        desk: &mut Desk<'_>,
    ) -> Result<Tensor, InferError> {
        let mut numbers = vec![0f64; n_rows * made.width];
        for &(position, start) in &made.columns {
            desk.go_on()?;
            let column = &self.columns[position];
            let places = numbers.iter_mut().skip(start).step_by(made.width);
            match (&column.kind, &values[position]) {
                (ColumnKind::Number { missing, mean, std }, given) => {
                    for (row, place) in places.enumerate() {
                        let value = match given {
                            Values::Numbers(numbers) => Some(numbers[row]),
                            Values::Words(_) | Values::None => None,
                        };
                        let value = value.filter(|it| !it.is_nan()).or(*missing);
                        let value = value.ok_or_else(|| lacks(&column.name, row, "a number"))?;
                        *place = (value - mean) / std;
                        made.check_range(*place, value, column, row)?;
                    }
                }
                (ColumnKind::Category(categories), given) => {
                    for row in 0..n_rows {
                        let word = match given {
                            Values::Words(words) => words[row],
                            Values::Numbers(_) | Values::None => b"",
                        };
                        let place = categories.place(word, &column.name, row)?;
                        let at = row * made.width + start;
                        match place {
                            Some(place) if categories.is_one_hot => numbers[at + place] = 1.0,
                            Some(place) => numbers[at] = place as f64,
                            None if categories.is_one_hot => {}
                            None => numbers[at] = -1.0,
                        }
                    }
                }
            }
        }
        let shape = Shape::from([n_rows, made.width]);
        let tensor = match made.datatype {
            DataType::Fp64 => Tensor::from_vec(shape, numbers),
            DataType::Int64 => {
                Tensor::from_vec::<i64>(shape, numbers.iter().map(|it| *it as i64).collect())
            }
            DataType::Int32 => {
                Tensor::from_vec::<i32>(shape, numbers.iter().map(|it| *it as i32).collect())
            }
            _ => Tensor::from_vec::<f32>(shape, numbers.iter().map(|it| *it as f32).collect()),
        };
        Ok(tensor.expect("each row has the width"))
    }

    /// What came of each column, and how many rows that is; `None` where no column came.
    fn values<'t>(
        &self,
        inputs: &'t [NamedTensor],
    ) -> Result<Option<(Vec<Values<'t>>, usize)>, InferError> {
        let mut values: Vec<_> = self.columns.iter().map(|_| Values::None).collect();
        let mut first: Option<(&str, usize)> = None;
        let mut other = None;
        for NamedTensor { name, tensor } in inputs {
            let Some(&position) = self.positions.get(name) else {
                other = Some(&**name);
                continue;
            };
            if !matches!(values[position], Values::None) {
                let message = format!("input {name:?} is given twice");
                return Err(InferError::invalid_input(&**name, message));
            }
            let n_rows = rows_of(name, tensor)?;
            let (before, expected) = *first.get_or_insert((name, n_rows));
            if n_rows != expected {
                let message =
                    format!("input {name:?} has {n_rows} rows, but {before:?} has {expected}");
                return Err(
                    InferError::invalid_input(&**name, message).with_mismatch(expected, n_rows)
                );
            }
            values[position] = match self.columns[position].kind.datatype() {
                DataType::Bytes => Values::Words(elements(name, tensor)?),
                _ => Values::Numbers(tensor.to_f64().ok_or_else(|| {
                    let message = format!("input {name:?} is texts, expected numbers");
                    InferError::invalid_input(&**name, message)
                })?),
            };
        }
        match (first, other) {
            (None, _) => Ok(None),
            (Some((_, n_rows)), None) => Ok(Some((values, n_rows))),
            (Some((column, _)), Some(other)) => {
                let message =
                    format!("input {column:?} is given beside {other:?}, which is made from it");
                Err(InferError::invalid_input(other, message))
            }
        }
    }
}

/// The rows of a column: a list, or one of lists of one as data frames have it.
fn rows_of(name: &str, tensor: &Tensor) -> Result<usize, InferError> {
    match tensor.shape().dims() {
        [n_rows] | [n_rows, 1] if *n_rows > 0 => Ok(*n_rows),
        _ => {
            let got = tensor.shape();
            let message = format!("input {name:?} has shape {got}, expected [-1] or [-1, 1]");
            Err(InferError::invalid_input(name, message).with_mismatch("[-1] or [-1, 1]", got))
        }
    }
}

impl Made {
    /// Whether the model's input is such as the columns make.
    fn check(&self, spec: &TensorSpec, columns: &[Column]) -> Result<(), TransformError> {
        if !spec.declared {
            return Ok(());
        }
        let (name, width) = (&spec.name, self.width);
        let are_whole = |(position, _): &(usize, usize)| {
            matches!(columns[*position].kind, ColumnKind::Category(_))
        };
        match self.datatype {
            DataType::Fp32 | DataType::Fp64 => {}
            DataType::Int32 | DataType::Int64 if self.columns.iter().all(are_whole) => {}
            datatype => {
                return Err(fault(format!(
                    "input {name:?} is of {datatype}, expected FP32 or FP64, or INT32 or INT64 where all columns are categories"
                )));
            }
        }
        let fits = |dim: &Dim| matches!(dim, Dim::Variable) || *dim == Dim::Fixed(width);
        match spec.shape.dims() {
            Some([Dim::Variable, size]) if fits(size) => Ok(()),
            None => Ok(()),
            Some(_) => Err(fault(format!(
                "input {name:?} has shape {}, expected [-1, {width}], which its columns make",
                spec.shape
            ))),
        }
    }

    /// Refuses numbers that are none in the model's input.
    fn check_range(
        &self,
        number: f64,
        given: f64,
        column: &Column,
        row: usize,
    ) -> Result<(), InferError> {
        let is_held = match self.datatype {
            DataType::Fp32 => number.is_nan() || (number as f32).is_finite(),
            _ => number.is_nan() || number.is_finite(),
        };
        if is_held {
            return Ok(());
        }
        let (name, datatype) = (&column.name, self.datatype);
        let message =
            format!("{name:?} of row {row} is {given}, which is not finite as {datatype}");
        Err(InferError::invalid_input(&**name, message).with_mismatch("a finite number", given))
    }
}

impl InputStep for Tabulate {
    fn content(&self) -> Option<Content> {
        Some(Content::Row)
    }

    fn specs(&self, inner: &[TensorSpec]) -> Result<Vec<TensorSpec>, TransformError> {
        self.made(inner)?;
        let shape = ShapePattern::Dims(vec![Dim::Variable]);
        let column = |column: &Column| TensorSpec {
            name: Arc::clone(&column.name),
            datatype: column.kind.datatype(),
            shape: shape.clone(),
            optional: false,
            declared: true,
        };
        Ok(beside(self.columns.iter().map(column).collect(), inner))
    }

    fn is_quick(&self, inputs: &[NamedTensor]) -> bool {
        let n_bytes: usize = inputs.iter().map(|input| input.tensor.buffer().len()).sum();
        let n_rows = inputs.first().map_or(1, |input| input.tensor.n_rows());
        let width: usize = self.columns.iter().map(|column| column.kind.width()).sum();
        n_bytes.max(n_rows.saturating_mul(width)) < QUICK_BYTES
    }

    fn apply(
        &self,
        inner: &[TensorSpec],
        inputs: Vec<NamedTensor>,
        desk: &mut Desk<'_>,
    ) -> Result<Vec<NamedTensor>, InferError> {
        let given = inputs.iter().map(|input| input.tensor.n_rows()).max().unwrap_or(0);
        // A number of each column, or where its word lies.
        desk.book(given.saturating_mul(self.columns.len() * size_of::<&[u8]>()))?;
        let Some((values, n_rows)) = self.values(&inputs)? else { return Ok(inputs) };
        let made = self.made(inner).map_err(|error| error.at_run())?;
        let width: usize = made.iter().map(|made| made.width).sum();
        // Numbers, and the tensors that are made of them.
        desk.book(n_rows.saturating_mul(width).saturating_mul(2 * size_of::<f64>()))?;
        let tensor = |made: &Made| {
            let tensor = self.tensor(made, &values, n_rows, desk)?;
            Ok(NamedTensor { name: Arc::clone(&made.name), tensor })
        };
        made.iter().map(tensor).collect()
    }
}

fn fault(reason: String) -> TransformError {
    TransformError::Step { step: STEP, reason }
}

#[cfg(test)]
mod tests;
