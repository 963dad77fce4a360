//! What is known about a model's outputs from runs of different sizes, beside what is declared.

use crate::engine::{EngineError, Fault, Output};
use crate::inference::TensorSpec;
use crate::tensor::{DataType, Dim, Shape, ShapePattern};
use std::sync::Arc;

/// The outputs of one run, without their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) n_rows: usize,
    outputs: Vec<(Option<Arc<str>>, DataType, Shape)>,
}

impl Seen {
    pub(super) fn new(n_rows: usize, outputs: &[Output]) -> Self {
        let seen = |output: &Output| {
            (output.name.clone(), output.tensor.datatype(), output.tensor.shape().clone())
        };
        Self { n_rows, outputs: outputs.iter().map(seen).collect() }
    }

    /// Whether each output has a row for each row of the input.
    pub(super) fn has_row_axis(&self) -> bool {
        let n_rows = self.n_rows;
        // Texts have rows of no fixed size, which cannot be handed out.
        let is_rows = |datatype: DataType, shape: &Shape| {
            shape.dims().first() == Some(&n_rows) && datatype.byte_size().is_some()
        };
        self.outputs.iter().all(|(_, datatype, shape)| is_rows(*datatype, shape))
    }

    /// Whether some output has a row for each row of the input.
    pub(super) fn has_some_row_axis(&self) -> bool {
        self.outputs.iter().any(|(_, _, shape)| shape.dims().first() == Some(&self.n_rows))
    }
}

/// The specifications that fit all runs; dimensions that differed between them are variable, and so is
/// the first where it counts the rows and the rows are not fixed.
///
/// # Errors
///
/// What is declared does not fit; both are named.
pub(super) fn describe(
    runs: &[Seen],
    declared: Option<&[TensorSpec]>,
    rows_are_fixed: bool,
) -> Result<Vec<TensorSpec>, EngineError> {
    let Some(first) = runs.first() else { return Ok(declared.unwrap_or_default().to_vec()) };
    let found: Vec<_> = (0..first.outputs.len())
        .map(|place| found(runs, place, name(first, place), rows_are_fixed))
        .collect();
    let Some(declared) = declared else { return Ok(found) };
    if declared.len() != found.len() {
        let message = format!(
            "declared are {} outputs ({}), but the model returns {} ({})",
            declared.len(),
            names(declared),
            found.len(),
            names(&found)
        );
        return Err(EngineError::new(Fault::InvalidFile, message));
    }
    let mut specs = Vec::with_capacity(found.len());
    for (place, spec) in found.iter().enumerate() {
        let by_name = declared.iter().find(|it| it.name == spec.name);
        let all_by_name = found.iter().all(|spec| declared.iter().any(|it| it.name == spec.name));
        let declared = by_name.filter(|_| all_by_name).unwrap_or(&declared[place]);
        check(declared, runs, place)?;
        specs.push(declared.clone());
    }
    Ok(specs)
}

fn names(specs: &[TensorSpec]) -> String {
    specs.iter().map(|spec| &*spec.name).collect::<Vec<_>>().join(", ")
}

/// The model's own name for an output if all have one and they differ; else `output`, or `output_0` and so on.
fn name(run: &Seen, place: usize) -> Arc<str> {
    let own: Vec<_> = run.outputs.iter().filter_map(|(name, ..)| name.clone()).collect();
    let differ = own.iter().enumerate().all(|(index, name)| !own[..index].contains(name));
    if own.len() == run.outputs.len() && differ {
        return own[place].clone();
    }
    if run.outputs.len() == 1 { "output".into() } else { format!("output_{place}").into() }
}

fn found(runs: &[Seen], place: usize, name: Arc<str>, rows_are_fixed: bool) -> TensorSpec {
    let seen = || runs.iter().filter_map(|run| Some((run.n_rows, run.outputs.get(place)?)));
    let shapes: Vec<_> = seen().map(|(_, (_, _, shape))| shape).collect();
    let datatype = seen().next().map_or(DataType::Fp32, |(_, (_, datatype, _))| *datatype);
    let same_rank = shapes.windows(2).all(|pair| pair[0].rank() == pair[1].rank());
    let counts_rows = seen().all(|(n_rows, (_, _, shape))| shape.dims().first() == Some(&n_rows));
    let dim = |axis: usize| {
        let size = shapes[0].dims()[axis];
        let varies = shapes.iter().any(|shape| shape.dims()[axis] != size);
        if varies || (axis == 0 && counts_rows && !rows_are_fixed) {
            Dim::Variable
        } else {
            Dim::Fixed(size)
        }
    };
    let shape = if same_rank {
        ShapePattern::Dims((0..shapes[0].rank()).map(dim).collect())
    } else {
        ShapePattern::Unknown
    };
    TensorSpec { name, datatype, shape, optional: false }
}

fn check(declared: &TensorSpec, runs: &[Seen], place: usize) -> Result<(), EngineError> {
    for run in runs {
        let Some((_, datatype, shape)) = run.outputs.get(place) else { continue };
        if *datatype != declared.datatype || !declared.shape.accepts(shape) {
            let TensorSpec { name, datatype: wanted, shape: pattern, .. } = declared;
            let message = format!(
                "output {name:?} is declared as {wanted} {pattern}, but the model returned {datatype} {shape} for {} rows",
                run.n_rows
            );
            return Err(EngineError::new(Fault::InvalidFile, message));
        }
    }
    Ok(())
}
