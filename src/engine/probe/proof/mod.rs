//! A proof that rows keep apart: what stands at a row of every output hangs on that row of the inputs alone, for all
//! values and any number of rows.
//!
//! Pure: code as data in, a proof or the reason why there is none out. An abstract interpretation: each value carries
//! which of its dimensions holds the rows (`value::State`), each operator has its rule (`rules`), and whatever is not
//! known promises nothing. Control flow may hang on shapes and on what the module holds, not on the number of rows
//! and not on values, but for what only decides whether to raise: a batch that raises runs again request by request.

mod graph;
mod heap;
mod number;
mod reason;
mod rules;
mod size;
mod value;
mod walk;

#[cfg(test)]
mod tests;

pub(super) use graph::BY_VALUES;
pub use reason::{Doubt, Reason};
pub(in crate::engine) use rules::RANDOM;

use crate::inference::TensorSpec;
use crate::tensor::{DataType, Dim};
use graph::Graph;
use number::Number;
use size::Size;
use value::{Axis, Elements, Kind, State, Tensor, Value};
use walk::Walk;

/// What a request gives for an argument, as far as the proof is to hold.
#[derive(Debug, Clone)]
pub struct ProofInput<'a> {
    /// The argument's name in the code.
    pub name: &'a str,
    /// What it is given; `None` where it is left to its default.
    pub spec: Option<&'a TensorSpec>,
}

/// Where the rows of an output lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputRows {
    /// In this dimension.
    Axis(usize),
    /// In this dimension, which is missing where there is one row.
    Dropping(usize),
    /// Nowhere: it is the same for every batch.
    None,
}

/// What was proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// For each output, in the order in which the model returns them.
    pub outputs: Vec<OutputRows>,
}

impl Proof {
    /// Whether each output has one row for each row of the inputs, in its first dimension.
    #[must_use]
    pub fn has_row_axis(&self) -> bool {
        let is_first =
            |rows: &OutputRows| matches!(rows, OutputRows::Axis(0) | OutputRows::Dropping(0));
        self.outputs.iter().all(is_first)
    }
}

/// Families of operators that have a rule, with their names.
#[must_use]
pub fn operators() -> Vec<(&'static str, &'static [&'static str])> {
    rules::table()
}

/// Proves that rows keep apart in this code, for requests that give these arguments. `accepts_scales`: one scale over
/// all rows, as dynamic quantization takes it, is accepted.
///
/// # Errors
///
/// Why not: the first thing that lets rows meet, or that is not known well enough.
pub fn prove(code: &str, given: &[ProofInput<'_>], accepts_scales: bool) -> Result<Proof, Reason> {
    let graph = Graph::parse(code).map_err(Reason::unknown)?;
    let mut walk = Walk::new(accepts_scales);
    let arguments: Vec<Value> =
        graph.inputs.iter().map(|input| argument(&mut walk, input, given)).collect();
    let result = walk.run(&graph, arguments);
    let was_stopped = result.is_err();
    let outcome = result.and_then(|value| {
        let values = flattened(&walk, value)?;
        let outputs = values
            .iter()
            .filter(|it| **it != Value::None)
            .map(rows_of)
            .collect::<Result<_, _>>()?;
        Ok(Proof { outputs })
    });
    // Rows that meet and values that decide something weigh more than what is merely not known, wherever in the code:
    // samples cannot settle them. What comes behind the place where the walk stopped has not been seen.
    outcome.map_err(|reason| match (reason.doubt, walk.values_seen.take()) {
        (Doubt::Unknown, values) if walk.meeting_seen.is_some() || values.is_some() => {
            values.or(walk.meeting_seen.take()).unwrap_or(reason)
        }
        (Doubt::Unknown, _) if was_stopped && graph.may_hang_on_values() => Reason {
            doubt: Doubt::Values,
            text: format!("{}, and values may decide a shape or a branch", reason.text).into(),
        },
        _ => reason,
    })
}

/// What the code is given for an argument.
fn argument(walk: &mut Walk, input: &graph::Argument, given: &[ProofInput<'_>]) -> Value {
    let spec = given.iter().find(|it| it.name == input.name).and_then(|it| it.spec);
    let is_plain = matches!(input.ty.as_str(), "int" | "float" | "bool" | "number");
    match spec {
        // A request may give a plain value or leave it out: it holds for the whole batch.
        _ if is_plain => Value::Number(Number::unknown()),
        _ if input.ty == "str" => Value::Text(None),
        _ if input.ty.starts_with("Optional[")
            && is_plain_type(&input.ty[9..input.ty.len() - 1]) =>
        {
            Value::Thing
        }
        None => match &input.default {
            Some(literal) => {
                Value::literal(literal, &mut |object| walk.heap.make(input.id, object))
            }
            None => Value::None,
        },
        Some(spec) if spec.datatype == DataType::Bytes => {
            Value::Mixed(Reason::unknown("texts have no rows that could share a run"))
        }
        Some(spec) => Value::Tensor(tensor(walk, spec)),
    }
}

fn is_plain_type(ty: &str) -> bool {
    matches!(ty, "int" | "float" | "bool" | "number" | "str")
}

/// A tensor with rows in its first dimension; sizes that requests may choose are symbols.
fn tensor(walk: &mut Walk, spec: &TensorSpec) -> Tensor {
    let kind = match spec.datatype {
        DataType::Bool => Kind::Truth,
        DataType::UInt8 => Kind::Unknown,
        datatype if datatype.is_float() => Kind::Float,
        _ => Kind::Whole,
    };
    let Some(dims) = spec.shape.dims() else {
        return Tensor::mixed(Reason::unknown(format!(
            "the shape of input {:?} is not known",
            spec.name
        )));
    };
    let mut sizes = vec![Size::rows()];
    for dim in dims.iter().skip(1) {
        sizes.push(match dim {
            Dim::Fixed(size) => Size::of(i64::try_from(*size).unwrap_or(i64::MAX)),
            Dim::Variable => walk.symbols.input(),
        });
    }
    Tensor { state: State::Rows(Axis::plain(0)), dims: Some(sizes), kind, is_expanded: false }
}

/// The outputs, as the engine takes them apart: the elements of a tuple, a list or a dictionary, or one value.
fn flattened(walk: &Walk, value: Value) -> Result<Vec<Value>, Reason> {
    Ok(match value {
        Value::Tuple(values) => {
            let all = values.into_iter().map(|it| flattened(walk, it));
            all.collect::<Result<Vec<_>, _>>()?.concat()
        }
        Value::List(place) => match walk.heap.list(place)? {
            Elements::Known(values) => values.clone(),
            Elements::Any(_) => return Err(Reason::unknown("the number of outputs is not known")),
        },
        Value::Dict(place) => {
            walk.heap.dict(place)?.iter().map(|(_, value)| value.clone()).collect()
        }
        value => vec![value],
    })
}

fn rows_of(value: &Value) -> Result<OutputRows, Reason> {
    if let Some(reason) = value.mixed() {
        return Err(reason.clone());
    }
    match value {
        Value::Tensor(tensor) => match &tensor.state {
            State::Rows(axis) if axis.is_plain() => Ok(match axis.drops {
                true => OutputRows::Dropping(axis.at),
                false => OutputRows::Axis(axis.at),
            }),
            State::Rows(_) => {
                Err(Reason::unknown("an output holds several parts of each row in one dimension"))
            }
            State::Places(_) => {
                Err(Reason::coupled("an output holds the places of rows in the batch"))
            }
            State::Mixed(reason) => Err(reason.clone()),
            State::Free => Ok(OutputRows::None),
            State::Number(number) => number.hangs().map_or(Ok(OutputRows::None), Err),
        },
        Value::Number(number) => number.hangs().map_or(Ok(OutputRows::None), Err),
        Value::None | Value::Text(_) => Ok(OutputRows::None),
        _ => Err(Reason::unknown("an output has parts of its own")),
    }
}
