//! The outputs of a run as the model's contract has them: named, with their rows, in the form that was
//! settled at load. Pure.

use super::failure::Failure;
use crate::engine::Output;
use crate::inference::{AnswerForm, ModelSpec};
use crate::tensor::Tensor;
use std::sync::Arc;

/// Names the outputs as clients know them and puts back the dimension of the rows where the model drops
/// it; every output then has its name.
///
/// # Errors
///
/// They break the contract. That is never another form of the answer: whoever reads it relies on one.
pub(super) fn settle(
    spec: &ModelSpec,
    outputs: Vec<Output>,
    n_rows: usize,
) -> Result<Vec<Output>, Failure> {
    let contract = &spec.contract;
    let (n_given, n_known) = (outputs.len(), spec.outputs.len());
    let is_counted = contract.form != AnswerForm::List && contract.own_names.is_empty();
    if is_counted && n_known != 0 && n_given != n_known {
        let message = format!("the model returned {n_given} outputs, expected {n_known}");
        return Err(Failure::broken(message));
    }
    let settle = |(position, output): (usize, Output)| {
        let (place, name) = identity(spec, position, &output, n_given);
        let has_rows = |tensor: &Tensor| tensor.shape().dims().first() == Some(&n_rows);
        let is_extra = place.is_none() && n_known != 0 && contract.form != AnswerForm::List;
        let fits = contract.form != AnswerForm::Rows || has_rows(&output.tensor);
        if is_extra && !(contract.may_have_more && fits) {
            // Nobody was promised it, it cannot be written beside the others, and it must not get lost.
            let message =
                format!("output {name:?} was never seen in the trial, declare it in model.toml");
            return Some(Err(Failure::broken(message)));
        }
        let tensor = match place {
            Some(place) => spec.with_row_axis(place, output.tensor, n_rows),
            None => output.tensor,
        };
        if contract.form == AnswerForm::Rows && !has_rows(&tensor) {
            let shape = tensor.shape();
            let message = format!(
                "output {name:?} has shape {shape}, expected a row for each of the {n_rows} of the input"
            );
            return Some(Err(Failure::broken(message)));
        }
        Some(Ok(Output { name: Some(name), tensor }))
    };
    outputs.into_iter().enumerate().filter_map(settle).collect()
}

/// Which output of the specification it is, if it is one, and its name on the wire.
fn identity(
    spec: &ModelSpec,
    position: usize,
    output: &Output,
    n_given: usize,
) -> (Option<usize>, Arc<str>) {
    let contract = &spec.contract;
    if contract.form == AnswerForm::List {
        let name = spec.outputs.first().map_or("output", |output| &output.name);
        return (None, format!("{name}_{position}").into());
    }
    if let Some(own) = output.name.as_ref().filter(|_| !contract.own_names.is_empty()) {
        let place = contract.own_names.iter().position(|name| name == own);
        let known = place.and_then(|place| spec.outputs.get(place));
        return (place, Arc::clone(known.map_or(own, |output| &output.name)));
    }
    if let Some(known) = spec.outputs.get(position) {
        return (Some(position), Arc::clone(&known.name));
    }
    let name = match &output.name {
        Some(own) => Arc::clone(own),
        None if n_given == 1 => "output".into(),
        None => format!("output_{position}").into(),
    };
    (None, name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::{Contract, TensorSpec};
    use crate::scheduler::testing::spec;
    use crate::tensor::{DataType, Shape, ShapePattern};

    fn output(name: Option<&str>, dims: &[usize]) -> Output {
        let shape = Shape::new(dims.to_vec());
        let values = vec![0f32; shape.elements().unwrap()];
        let tensor = Tensor::from_vec(shape, values).unwrap();
        Output { name: name.map(Into::into), tensor }
    }

    fn model(outputs: &[(&str, &[i64])], contract: Contract) -> ModelSpec {
        let output = |(name, dims): &(&str, &[i64])| TensorSpec {
            name: (*name).into(),
            datatype: DataType::Fp32,
            shape: ShapePattern::from_wire(dims).unwrap(),
            optional: false,
            declared: true,
        };
        ModelSpec { outputs: outputs.iter().map(output).collect(), contract, ..spec() }
    }

    #[track_caller]
    fn check(spec: &ModelSpec, given: Vec<Output>, n_rows: usize, expected: Result<&str, &str>) {
        let word = |it: &Output| format!("{} {}", it.name.as_deref().unwrap(), it.tensor.shape());
        let settled = settle(spec, given, n_rows);
        let settled = settled.map(|it| it.iter().map(word).collect::<Vec<_>>().join(", "));
        let settled = settled.map_err(|failure| failure.to_string());
        assert_eq!(settled.as_deref().map_err(|text| &**text), expected);
    }

    #[test]
    fn outputs_with_rows_have_them_or_the_run_has_failed() {
        let rows = model(&[("a", &[-1, 2]), ("b", &[-1])], Contract::default());
        let given = |a, b| vec![output(None, &[a, 2]), output(None, &[b])];
        check(&rows, given(3, 3), 3, Ok("a [3, 2], b [3]"));
        let text = "output \"b\" has shape [2], expected a row for each of the 3 of the input";
        check(&rows, given(3, 2), 3, Err(text));
        check(
            &rows,
            vec![output(None, &[3, 2])],
            3,
            Err("the model returned 1 outputs, expected 2"),
        );
        let whole = model(&[("a", &[-1, 2]), ("b", &[-1])], Contract::of_form(AnswerForm::Whole));
        check(&whole, given(3, 2), 3, Ok("a [3, 2], b [2]"));
    }

    #[test]
    fn the_axis_of_a_single_row_is_put_back() {
        let contract = Contract { squeezed: vec![true, false], ..Contract::default() };
        let squeezed = model(&[("a", &[-1, 2]), ("b", &[-1])], contract);
        let given = |a: &[usize]| vec![output(None, a), output(None, &[1])];
        check(&squeezed, given(&[2]), 1, Ok("a [1, 2], b [1]"));
        check(&squeezed, given(&[1, 2]), 1, Ok("a [1, 2], b [1]"));
        let text = "output \"a\" has shape [2], expected a row for each of the 3 of the input";
        check(&squeezed, given(&[2]), 3, Err(text));
    }

    #[test]
    fn a_list_is_named_by_position_whatever_its_length() {
        let list = model(&[("boxes", &[-1, 4])], Contract::of_form(AnswerForm::List));
        check(&list, vec![], 2, Ok(""));
        check(&list, vec![output(None, &[7, 4])], 2, Ok("boxes_0 [7, 4]"));
        let two = vec![output(None, &[0, 4]), output(None, &[2, 4])];
        check(&list, two, 2, Ok("boxes_0 [0, 4], boxes_1 [2, 4]"));
    }

    #[test]
    fn outputs_that_may_be_missing_are_known_by_the_models_names() {
        let own_names = vec!["output_0".into(), "output_2".into()];
        let contract = Contract { own_names, may_have_more: true, ..Contract::default() };
        let some = model(&[("a", &[-1]), ("c", &[-1, 2])], contract);
        let given = |names: &[&str]| names.iter().map(|it| output(Some(it), &[2, 2])).collect();
        check(&some, given(&["output_0", "output_2"]), 2, Ok("a [2, 2], c [2, 2]"));
        check(&some, given(&["output_2"]), 2, Ok("c [2, 2]"));
        check(&some, given(&["output_1", "output_2"]), 2, Ok("output_1 [2, 2], c [2, 2]"));
        let unlike = vec![output(Some("output_1"), &[7]), output(Some("output_2"), &[2])];
        let text = "output \"output_1\" was never seen in the trial, declare it in model.toml";
        check(&some, unlike, 2, Err(text));
        assert_eq!(*some.layout(["c"].into_iter()).absent, ["a".into()]);
    }
}
