//! What is known about a model's outputs from runs of different sizes, beside what is declared: which
//! there are, and the contract that all answers keep.

use super::squeezed::Squeezed;
use crate::engine::{EngineError, Fault, Output};
use crate::inference::{AnswerForm, Contract, TensorSpec};
use crate::tensor::{DataType, Dim, Shape, ShapePattern};
use std::sync::Arc;

/// An output without its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObservedOutput {
    /// Where the model gives it one.
    pub(super) name: Option<Arc<str>>,
    pub(super) datatype: DataType,
    pub(super) shape: Shape,
}

/// The outputs of one run, without their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObservedRun {
    pub(super) n_rows: usize,
    pub(super) outputs: Vec<ObservedOutput>,
}

impl ObservedRun {
    pub(super) fn new(n_rows: usize, outputs: &[Output]) -> Self {
        let observed = |output: &Output| ObservedOutput {
            name: output.name.clone(),
            datatype: output.tensor.datatype(),
            shape: output.tensor.shape().clone(),
        };
        Self { n_rows, outputs: outputs.iter().map(observed).collect() }
    }

    /// Whether some output has a row for each row of the input.
    pub(super) fn has_some_row_axis(&self) -> bool {
        self.outputs.iter().any(|given| self.counts_rows(given))
    }

    pub(super) fn counts_rows(&self, output: &ObservedOutput) -> bool {
        output.shape.dims().first() == Some(&self.n_rows)
    }
}

/// Whether each output of each run has a row for each row of the input that can be handed out by
/// itself. Looked at over all runs: an output of two rows may be two rows by chance.
pub(super) fn can_be_cut(runs: &[ObservedRun]) -> bool {
    // Texts have rows of no fixed size.
    let is_cut = |run: &ObservedRun, given: &ObservedOutput| {
        run.counts_rows(given) && given.datatype.byte_size().is_some()
    };
    !matches!(Arrangement::of(runs), Arrangement::List)
        && runs.iter().all(|run| run.outputs.iter().all(|given| is_cut(run, given)))
}

/// How the outputs of different runs are told apart.
enum Arrangement {
    /// There are always as many, in the same places.
    Places(usize),
    /// Some are there in some runs only; the model names them.
    Names(Vec<Arc<str>>),
    /// Their number follows the data.
    List,
}

impl Arrangement {
    fn of(runs: &[ObservedRun]) -> Self {
        let Some(first) = runs.first() else { return Self::Places(0) };
        let names =
            |run: &ObservedRun| run.outputs.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
        if runs.iter().all(|run| names(run) == names(first)) {
            return Self::Places(first.outputs.len());
        }
        let mut known: Vec<Arc<str>> = Vec::new();
        for output in runs.iter().flat_map(|run| &run.outputs) {
            match &output.name {
                Some(name) if known.contains(name) => {}
                Some(name) => known.push(Arc::clone(name)),
                None => return Self::List,
            }
        }
        Self::Names(known)
    }
}

/// What else is known about a model's outputs.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutputFacts<'a> {
    pub(super) declared: Option<&'a [TensorSpec]>,
    /// The return type, in the words of the file's language.
    pub(super) returns: &'a str,
    pub(super) rows_are_fixed: bool,
}

impl OutputFacts<'_> {
    /// Whether the type allows that an output is missing from a run.
    fn may_miss_some(self) -> bool {
        self.returns.contains("Optional[") || self.returns.starts_with("Dict[")
    }

    /// Whether the type has several places for outputs. (A dictionary has the keys that it was seen with.)
    fn has_several(self) -> bool {
        let inner = self.returns.strip_prefix("Optional[").unwrap_or(self.returns);
        inner.starts_with("Tuple[")
            || inner.starts_with("NamedTuple[")
            || inner.starts_with("List[Optional[")
    }

    /// Whether one output is declared for a list of them: then their number may follow the data, whatever
    /// it was in the runs.
    fn is_declared_as_list(self) -> bool {
        let is_list = self.returns.starts_with("List[") && self.returns != "List[str]";
        is_list && self.declared.is_some_and(|declared| declared.len() == 1)
    }
}

/// The specifications that fit all runs, and the contract; dimensions that differed between runs are
/// variable, and so is the first where it counts the rows and the rows are not fixed.
///
/// # Errors
///
/// What is declared does not fit; both are named.
pub(super) fn describe(
    runs: &[ObservedRun],
    squeezed: &Squeezed,
    facts: OutputFacts<'_>,
) -> Result<(Vec<TensorSpec>, Contract), EngineError> {
    let Some(first) = runs.first() else {
        let declared = facts.declared.unwrap_or_default();
        let contract = Contract::of_declared(declared.iter().map(|spec| &spec.shape));
        return Ok((declared.to_vec(), contract));
    };
    let arrangement = match Arrangement::of(runs) {
        _ if facts.is_declared_as_list() => Arrangement::List,
        arrangement => arrangement,
    };
    let names = match arrangement {
        Arrangement::List => return list(runs, facts),
        Arrangement::Names(names) => names,
        Arrangement::Places(n_outputs) => (0..n_outputs).map(|place| name(first, place)).collect(),
    };
    let own = first.outputs.iter().all(|output| output.name.is_some());
    let by_name = own && (facts.may_miss_some() || first.outputs.len() != names.len());
    let places = names.iter().enumerate().map(|(place, name)| match by_name {
        true => runs
            .iter()
            .map(|run| (run, run.outputs.iter().find(|it| it.name.as_ref() == Some(name))))
            .collect(),
        false => runs.iter().map(|run| (run, run.outputs.get(place))).collect::<Vec<_>>(),
    });
    let places: Vec<Vec<(&ObservedRun, Option<&ObservedOutput>)>> = places.collect();
    let found: Vec<_> = names
        .iter()
        .zip(&places)
        .map(|(name, runs)| found(name, runs, facts.rows_are_fixed))
        .collect();
    let has_rows = !found.is_empty()
        && runs.iter().all(|run| run.outputs.iter().all(|given| run.counts_rows(given)));
    let mut contract =
        Contract::of_form(if has_rows { AnswerForm::Rows } else { AnswerForm::Whole });
    contract.squeezed = squeezed.flags();
    if by_name {
        contract.own_names = names;
        contract.may_have_more = facts.has_several();
    }
    let Some(declared) = facts.declared else { return Ok((found, contract)) };
    if by_name && let Some(specs) = with_missing(&found, declared) {
        contract.own_names = specs.iter().map(|spec| Arc::clone(&spec.name)).collect();
        contract.squeezed = Vec::new();
        let unseen = specs.iter().filter(|spec| found.iter().all(|it| it.name != spec.name));
        let claimed = Contract::of_declared(unseen.map(|spec| &spec.shape)).form;
        contract.form = if has_rows { claimed } else { contract.form };
        for (spec, runs) in found.iter().zip(&places) {
            let declared = declared.iter().find(|it| it.name == spec.name);
            declared.map_or(Ok(()), |declared| check(declared, runs))?;
        }
        return Ok((specs, contract));
    }
    Ok((laid_over(declared, &found, &places)?, contract))
}

/// The same for a model whose requests have no rows.
///
/// # Errors
///
/// As for [`describe`].
pub(super) fn describe_whole(
    runs: &[ObservedRun],
    facts: OutputFacts<'_>,
) -> Result<(Vec<TensorSpec>, Contract), EngineError> {
    let (mut outputs, mut contract) = describe(runs, &Squeezed::default(), facts)?;
    if contract.form == AnswerForm::Rows {
        contract.form = AnswerForm::Whole;
    }
    contract.inputs_have_rows = false;
    if facts.declared.is_none() {
        outputs.iter_mut().for_each(open_first);
    }
    Ok((outputs, contract))
}

/// What one run shows of the first dimension is no rule for the next.
fn open_first(output: &mut TensorSpec) {
    if let ShapePattern::Dims(dims) = &mut output.shape
        && let Some(first) = dims.first_mut()
    {
        *first = Dim::Variable;
    }
}

/// Declared outputs of which some were never there, when those that were are among them by name.
fn with_missing(found: &[TensorSpec], declared: &[TensorSpec]) -> Option<Vec<TensorSpec>> {
    let is_found = |spec: &TensorSpec| found.iter().find(|it| it.name == spec.name);
    let all = found.iter().all(|spec| declared.iter().any(|it| it.name == spec.name));
    let spec = |spec: &TensorSpec| {
        let optional = is_found(spec).is_none_or(|found| found.optional);
        TensorSpec { optional, ..spec.clone() }
    };
    (all && declared.len() > found.len()).then(|| declared.iter().map(spec).collect())
}

/// Declared outputs in the model's order.
fn laid_over(
    declared: &[TensorSpec],
    found: &[TensorSpec],
    places: &[Vec<(&ObservedRun, Option<&ObservedOutput>)>],
) -> Result<Vec<TensorSpec>, EngineError> {
    if declared.len() != found.len() {
        let message = format!(
            "declared are {} outputs ({}), but the model returns {} ({})",
            declared.len(),
            names(declared),
            found.len(),
            names(found)
        );
        return Err(EngineError::new(Fault::InvalidFile, message));
    }
    let all_by_name = found.iter().all(|spec| declared.iter().any(|it| it.name == spec.name));
    let mut specs = Vec::with_capacity(found.len());
    for (place, (spec, runs)) in found.iter().zip(places).enumerate() {
        let by_name = declared.iter().find(|it| it.name == spec.name);
        let declared = by_name.filter(|_| all_by_name).unwrap_or(&declared[place]);
        check(declared, runs)?;
        specs.push(TensorSpec { optional: spec.optional, ..declared.clone() });
    }
    Ok(specs)
}

/// One specification for all outputs of a list.
fn list(
    runs: &[ObservedRun],
    facts: OutputFacts<'_>,
) -> Result<(Vec<TensorSpec>, Contract), EngineError> {
    let all: Vec<_> =
        runs.iter().flat_map(|run| run.outputs.iter().map(move |it| (run, Some(it)))).collect();
    let contract = Contract::of_form(AnswerForm::List);
    match facts.declared {
        None => {
            let mut element = found(&"output".into(), &all, true);
            open_first(&mut element);
            Ok((vec![element], contract))
        }
        Some([declared]) => check(declared, &all).map(|()| (vec![declared.clone()], contract)),
        Some(declared) => {
            let message = format!(
                "declared are {} outputs ({}), but the model returns a list whose length follows the data: \
                 declare one, which stands for each of them",
                declared.len(),
                names(declared)
            );
            Err(EngineError::new(Fault::InvalidFile, message))
        }
    }
}

fn names(specs: &[TensorSpec]) -> String {
    specs.iter().map(|spec| &*spec.name).collect::<Vec<_>>().join(", ")
}

/// The model's own name for an output if all have one and they differ; else `output`, or `output_0` and so on.
fn name(run: &ObservedRun, place: usize) -> Arc<str> {
    let own: Vec<_> = run.outputs.iter().filter_map(|output| output.name.clone()).collect();
    let differ = own.iter().enumerate().all(|(index, name)| !own[..index].contains(name));
    if own.len() == run.outputs.len() && differ {
        return own[place].clone();
    }
    if run.outputs.len() == 1 { "output".into() } else { format!("output_{place}").into() }
}

fn found(
    name: &Arc<str>,
    runs: &[(&ObservedRun, Option<&ObservedOutput>)],
    rows_are_fixed: bool,
) -> TensorSpec {
    let seen = || runs.iter().filter_map(|(run, given)| Some((*run, (*given)?)));
    let shapes: Vec<_> = seen().map(|(_, output)| &output.shape).collect();
    let datatype = seen().next().map_or(DataType::Fp32, |(_, output)| output.datatype);
    let same_rank = shapes.windows(2).all(|pair| pair[0].rank() == pair[1].rank());
    let counts_rows = seen().all(|(run, given)| run.counts_rows(given));
    let dim = |axis: usize| {
        let size = shapes[0].dims()[axis];
        let varies = shapes.iter().any(|shape| shape.dims()[axis] != size);
        // That there was nothing says nothing of how much there may be.
        if varies || size == 0 || (axis == 0 && counts_rows && !rows_are_fixed) {
            Dim::Variable
        } else {
            Dim::Fixed(size)
        }
    };
    let shape = if same_rank && !shapes.is_empty() {
        ShapePattern::Dims((0..shapes[0].rank()).map(dim).collect())
    } else {
        ShapePattern::Unknown
    };
    let optional = runs.iter().any(|(_, given)| given.is_none());
    TensorSpec { name: Arc::clone(name), datatype, shape, optional, declared: false }
}

fn check(
    declared: &TensorSpec,
    runs: &[(&ObservedRun, Option<&ObservedOutput>)],
) -> Result<(), EngineError> {
    for (run, given) in runs {
        let Some(ObservedOutput { datatype, shape, .. }) = given else { continue };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(n_rows: usize, outputs: &[(&str, &[usize])]) -> ObservedRun {
        let output = |(name, dims): &(&str, &[usize])| ObservedOutput {
            name: Some((*name).into()),
            datatype: DataType::Fp32,
            shape: Shape::new(dims.to_vec()),
        };
        ObservedRun { n_rows, outputs: outputs.iter().map(output).collect() }
    }

    fn spec(name: &str, shape: &[i64], optional: bool) -> TensorSpec {
        let shape = ShapePattern::from_wire(shape).unwrap();
        TensorSpec { name: name.into(), datatype: DataType::Fp32, shape, optional, declared: true }
    }

    #[track_caller]
    fn check(runs: &[ObservedRun], facts: OutputFacts<'_>, expected: (&str, AnswerForm, &[&str])) {
        let (outputs, contract) = describe(runs, &Squeezed::default(), facts).unwrap();
        let word = |it: &TensorSpec| {
            format!("{}{} {}", it.name, if it.optional { "?" } else { "" }, it.shape)
        };
        let outputs = outputs.iter().map(word).collect::<Vec<_>>().join(", ");
        let own: Vec<_> = contract.own_names.iter().map(|name| &**name).collect();
        assert_eq!((&*outputs, contract.form, &own[..]), expected);
    }

    #[test]
    fn outputs_that_may_be_missing_are_told_apart_by_name() {
        let returns = "Tuple[Tensor, Optional[Tensor]]";
        let facts = OutputFacts { declared: None, returns, rows_are_fixed: false };
        let both = |n| seen(n, &[("output_0", &[n, 2]), ("output_1", &[n])]);
        let one = |n| seen(n, &[("output_1", &[n])]);
        let names: &[&str] = &["output_0", "output_1"];
        let all = "output_0 [-1, 2], output_1 [-1]";
        check(&[both(2), both(1)], facts, (all, AnswerForm::Rows, names));
        let some = "output_1 [-1], output_0? [-1, 2]";
        let order: &[&str] = &["output_1", "output_0"];
        check(&[one(2), both(1)], facts, (some, AnswerForm::Rows, order));
        check(&[one(2), one(1)], facts, ("output_1 [-1]", AnswerForm::Rows, &["output_1"]));
        // What no run gave may be declared by the model's name for it.
        let declared = [spec("output_1", &[-1], false), spec("output_0", &[-1, 2], false)];
        let facts = OutputFacts { declared: Some(&declared), ..facts };
        let specs = "output_1 [-1], output_0? [-1, 2]";
        check(&[one(2), one(1)], facts, (specs, AnswerForm::Rows, order));
        let declared = [spec("output_1", &[-1], false), spec("output_0", &[4, 2], false)];
        let facts = OutputFacts { declared: Some(&declared), ..facts };
        let specs = "output_1 [-1], output_0? [4, 2]";
        check(&[one(2), one(1)], facts, (specs, AnswerForm::Whole, order));
        let plain =
            OutputFacts { declared: None, returns: "Tuple[Tensor, Tensor]", rows_are_fixed: false };
        check(&[both(2), both(1)], plain, (all, AnswerForm::Rows, &[]));
    }
}
