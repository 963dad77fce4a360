mod padding;

use super::*;
use crate::engine::fake::FakeModel;
use crate::engine::{Argument, ArgumentKind, Batch, Death, Fault, Parameter, Reach, Signature};
use crate::inference::BatchingScope;
use crate::tensor::{DataType, Shape, ShapePattern};
use std::sync::atomic::{AtomicU32, Ordering};

fn raised(text: &str) -> EngineError {
    EngineError::new(Fault::Raised, text)
}

fn first(batch: &Batch) -> &Tensor {
    batch.inputs[0].as_ref().unwrap()
}

fn tensor(dims: &[usize], values: Vec<f32>) -> Tensor {
    Tensor::from_vec(Shape::new(dims.to_vec()), values).unwrap()
}

/// The rows of an FP32 input.
fn rows(input: &Tensor) -> Vec<&[f32]> {
    let width = input.shape().row().iter().product::<usize>().max(1);
    input.as_slice::<f32>().unwrap().chunks(width).collect()
}

fn sums(input: &Tensor) -> Vec<f32> {
    rows(input).into_iter().map(|row| row.iter().sum()).collect()
}

fn spec(name: &str, datatype: DataType, shape: &[i64]) -> TensorSpec {
    let shape = ShapePattern::from_wire(shape).unwrap();
    TensorSpec { name: name.into(), datatype, shape, optional: false, declared: true }
}

fn declared(shape: &[i64]) -> Hints {
    Hints { inputs: Some(vec![spec("x", DataType::Fp32, shape)]), ..Hints::default() }
}

/// A model that gives, for each row, the sum of its values, changed by `change(sums)`.
fn summing(change: impl Fn(Vec<f32>) -> Vec<f32> + Send + Sync + 'static) -> FakeModel {
    FakeModel::new(move |batch| {
        let sums = change(sums(first(&batch)));
        Ok(vec![tensor(&[sums.len(), 1], sums)])
    })
}

#[track_caller]
fn judged(model: &FakeModel, hints: &Hints, expected: Batching) -> Findings {
    let findings = probe(model, hints).unwrap();
    assert_eq!(findings.batching, expected, "{findings:?}");
    assert_eq!(model.seen().live(), 0, "a trial must leave no engine behind");
    findings
}

#[test]
fn independent_rows_are_safe_and_the_largest_batch_is_tried() {
    let model = summing(|sums| sums);
    let findings = judged(&model, &declared(&[-1, 3]), Batching::Probed);
    let output = TensorSpec { declared: false, ..spec("output", DataType::Fp32, &[-1, 1]) };
    assert_eq!(findings.outputs, [output]);
    let batching_scope = BatchingScope { given: vec![true], any_sizes: false };
    assert_eq!(findings.contract, Contract { batching_scope, ..Contract::default() });
    assert_eq!((findings.shape_source, findings.notes.len()), (ShapeSource::Declared, 0));
    let times = findings.times.unwrap();
    assert_eq!((times.min_rows.n_rows, times.max_rows.n_rows), (1, 32));
    assert!(model.seen().rows().contains(&2));

    let off = Hints { batching_wanted: false, ..declared(&[-1, 3]) };
    judged(&summing(|sums| sums), &off, Batching::Off);
}

#[test]
fn rounding_is_not_coupling() {
    let rounding = |sums: Vec<f32>| {
        let factor = 1.0 + 1e-7 * sums.len() as f32;
        sums.into_iter().map(|sum| sum * factor).collect()
    };
    judged(&summing(rounding), &declared(&[-1, 3]), Batching::Probed);
}

#[test]
fn rows_that_see_each_other_are_coupled() {
    let centered = |sums: Vec<f32>| {
        let mean = sums.iter().sum::<f32>() / sums.len() as f32;
        sums.into_iter().map(|sum| sum - mean).collect()
    };
    judged(&summing(centered), &declared(&[-1, 3]), Batching::Coupled);
    // The batch axis taken for time, forwards and backwards.
    let forwards = |sums: Vec<f32>| {
        let step = |state: &mut f32, sum| {
            *state = 0.5 * *state + sum;
            Some(*state)
        };
        sums.into_iter().scan(0.0, step).collect::<Vec<f32>>()
    };
    let backwards = move |mut sums: Vec<f32>| {
        sums.reverse();
        let mut states = forwards(sums);
        states.reverse();
        states
    };
    judged(&summing(forwards), &declared(&[-1, 3]), Batching::Coupled);
    judged(&summing(backwards), &declared(&[-1, 3]), Batching::Coupled);
    // Only large batches go wrong.
    let large = |sums: Vec<f32>| match sums.len() {
        ..8 => sums,
        _ => sums.into_iter().rev().collect(),
    };
    judged(&summing(large), &declared(&[-1, 3]), Batching::Coupled);
}

#[test]
fn state_is_found_by_asking_twice_or_in_the_graph() {
    let calls = AtomicU32::new(0);
    let counting = summing(move |sums| {
        let call = calls.fetch_add(1, Ordering::SeqCst) as f32;
        sums.into_iter().map(|sum| sum + call).collect()
    });
    let findings = judged(&counting, &declared(&[-1, 3]), Batching::Stateful);
    assert_eq!(findings.outputs[0].shape.to_string(), "[-1, 1]");

    // What lasts shows only after other rows have been seen.
    let largest = std::sync::Mutex::new(f32::MIN);
    let remembering = summing(move |sums| {
        let mut largest = largest.lock().unwrap();
        *largest = sums.iter().copied().fold(*largest, f32::max);
        vec![*largest; sums.len()]
    });
    let findings = probe(&remembering, &declared(&[-1, 3])).unwrap();
    assert!(!findings.batching.is_allowed(), "{findings:?}");

    let silent = summing(|sums| sums);
    let signature = Signature { mutates_state: true, ..silent_signature() };
    let findings =
        judged(&silent.with_signature(signature), &declared(&[-1, 3]), Batching::Stateful);
    assert_eq!(findings.outputs.len(), 1, "a stateful model's outputs must be known all the same");
}

fn silent_signature() -> Signature {
    crate::engine::Model::signature(&FakeModel::echo()).clone()
}

fn only(n_rows: usize) -> FakeModel {
    FakeModel::new(move |batch| match first(&batch).n_rows() {
        it if it == n_rows => Ok(vec![tensor(&[n_rows, 1], sums(first(&batch)))]),
        it => Err(raised(&format!("{it} rows do not fit {n_rows}"))),
    })
}

#[test]
fn a_batch_size_baked_in_is_found_and_told() {
    let findings = judged(&only(1), &declared(&[-1, 3]), Batching::FixedRows);
    assert_eq!(findings.inputs[0].shape.to_string(), "[1, 3]");
    assert_eq!(findings.outputs[0].shape.to_string(), "[1, 1]");
    let findings = judged(&only(4), &declared(&[4, 3]), Batching::FixedRows);
    assert_eq!(findings.inputs[0].shape.to_string(), "[4, 3]");
    let sample = Some(vec![Some(tensor(&[5, 1], vec![1.0, 2.0, 3.0, 4.0, 5.0]))]);
    let hints = Hints { sample, ..Hints::default() };
    let findings = judged(&only(5), &hints, Batching::FixedRows);
    assert_eq!(findings.inputs[0].shape.to_string(), "[5, 1]");
}

#[test]
fn outputs_without_a_row_for_each_row_are_not_batched() {
    let mean =
        FakeModel::new(|batch| Ok(vec![tensor(&[], vec![sums(first(&batch)).iter().sum()])]));
    judged(&mean, &declared(&[-1, 3]), Batching::NoRowAxis);
    let two = FakeModel::new(|batch| {
        let sums = sums(first(&batch));
        Ok(vec![tensor(&[sums.len()], sums), tensor(&[2, 1], vec![1.0, 2.0])])
    });
    let findings = judged(&two, &declared(&[-1, 3]), Batching::NoRowAxis);
    assert_eq!(findings.outputs[1].shape.to_string(), "[2, 1]");
}

/// The sums of the rows, and what `squeeze()` makes of them.
fn squeezing() -> FakeModel {
    FakeModel::new(|batch| {
        let sums = sums(first(&batch));
        let dims = if sums.len() == 1 { vec![] } else { vec![sums.len()] };
        let pairs = sums.iter().flat_map(|sum| [*sum, 1.0]).collect();
        let pair_dims = if sums.len() == 1 { vec![2] } else { vec![sums.len(), 2] };
        let whole = tensor(&[sums.len(), 1], sums.clone());
        Ok(vec![tensor(&dims, sums), tensor(&pair_dims, pairs), whole])
    })
}

#[test]
fn an_axis_of_rows_that_is_dropped_for_one_row_is_put_back() {
    let findings = judged(&squeezing(), &declared(&[-1, 3]), Batching::Probed);
    let shapes: Vec<_> = findings.outputs.iter().map(|it| it.shape.to_string()).collect();
    assert_eq!(shapes, ["[-1]", "[-1, 2]", "[-1, 1]"]);
    let batching_scope = BatchingScope { given: vec![true], any_sizes: false };
    let squeezed = vec![true, true, false];
    let contract = Contract { squeezed, batching_scope, ..Contract::default() };
    assert_eq!((findings.contract, findings.notes.len()), (contract, 1));

    // One row in the sample: what comes first is the run of one row.
    let sample = Some(vec![Some(tensor(&[1, 3], vec![1.0, 2.0, 5.0]))]);
    let sampled = Hints { sample, ..Hints::default() };
    let findings = judged(&squeezing(), &sampled, Batching::Probed);
    assert_eq!(findings.outputs[0].shape.to_string(), "[-1]");
    let outputs = ["a", "b", "c"].map(|name| match name {
        "a" => spec(name, DataType::Fp32, &[-1]),
        "b" => spec(name, DataType::Fp32, &[-1, 2]),
        _ => spec(name, DataType::Fp32, &[-1, 1]),
    });
    let hints = Hints { outputs: Some(outputs.to_vec()), ..declared(&[-1, 3]) };
    assert_eq!(judged(&squeezing(), &hints, Batching::Probed).outputs, outputs);
}

#[test]
fn the_form_of_answers_is_settled_by_all_runs() {
    let form = |model: &FakeModel| probe(model, &declared(&[-1, 3])).unwrap().contract.form;
    assert_eq!(form(&summing(|sums| sums)), AnswerForm::Rows);
    let sum = FakeModel::new(|batch| Ok(vec![tensor(&[], vec![sums(first(&batch)).iter().sum()])]));
    assert_eq!(form(&sum), AnswerForm::Whole);
    // As boxes are kept by their scores: all of two rows, fewer of more.
    let kept = FakeModel::new(|batch| {
        let sums = sums(first(&batch));
        let kept: Vec<f32> = sums.into_iter().take(2).collect();
        Ok(vec![tensor(&[kept.len()], kept.clone()), tensor(&[kept.len(), 1], kept)])
    });
    assert_eq!(form(&kept), AnswerForm::Whole);
    let refusing = || FakeModel::new(|_| Err(raised("only Tuesdays")));
    assert_eq!(form(&refusing()), AnswerForm::Whole, "nothing is known");
    let declare = |shape: &[i64]| {
        let outputs = Some(vec![spec("y", DataType::Fp32, shape)]);
        probe(&refusing(), &Hints { outputs, ..declared(&[-1, 3]) }).unwrap().contract.form
    };
    assert_eq!(declare(&[-1, 2]), AnswerForm::Rows, "a first dimension of -1 claims rows");
    assert_eq!(declare(&[7, 2]), AnswerForm::Whole);
    assert_eq!(declare(&[]), AnswerForm::Whole);
}

#[test]
fn a_list_whose_length_follows_the_data_is_told_and_may_be_named() {
    let list = || {
        let signature = Signature { returns: "List[Tensor]".into(), ..silent_signature() };
        FakeModel::new(|batch| {
            let rows = rows(first(&batch));
            Ok(rows.iter().map(|row| tensor(&[2, 3], [*row, *row].concat())).collect())
        })
        .with_signature(signature)
    };
    let findings = judged(&list(), &declared(&[-1, 3]), Batching::NoRowAxis);
    assert_eq!(findings.contract.form, AnswerForm::List);
    assert_eq!(findings.outputs.len(), 1);
    assert_eq!(
        (&*findings.outputs[0].name, &*findings.outputs[0].shape.to_string()),
        ("output", "[-1, 3]")
    );
    let boxes = vec![spec("boxes", DataType::Fp32, &[-1, 3])];
    let hints = Hints { outputs: Some(boxes.clone()), ..declared(&[-1, 3]) };
    assert_eq!(judged(&list(), &hints, Batching::NoRowAxis).outputs, boxes);
    let two = vec![boxes[0].clone(), spec("b", DataType::Fp32, &[-1, 3])];
    let error = probe(&list(), &Hints { outputs: Some(two), ..declared(&[-1, 3]) }).unwrap_err();
    assert!(error.message.contains("declare one"), "{error}");
    // As many in every run, as the levels of a pyramid: those are outputs like any others.
    let levels = FakeModel::new(|batch| Ok(vec![first(&batch).clone(); 3]));
    let findings = judged(&levels, &declared(&[-1, 3]), Batching::Probed);
    assert_eq!((findings.contract.form, findings.outputs.len()), (AnswerForm::Rows, 3));
}

#[test]
fn nan_is_the_same_as_nan_and_is_noted() {
    let model = summing(|sums| sums.into_iter().map(|_| f32::NAN).collect());
    let findings = judged(&model, &declared(&[-1, 3]), Batching::Probed);
    assert!(findings.notes[0].contains("NaN"), "{:?}", findings.notes);
}

#[test]
fn variable_dimensions_of_inputs_show_in_the_outputs() {
    let model = FakeModel::new(|batch| {
        let input = first(&batch);
        if input.shape().row()[0] < 10 {
            return Err(raised("kernel larger than the image"));
        }
        let pooled = tensor(&[input.n_rows(), 1], sums(input));
        Ok(vec![input.clone(), pooled])
    });
    let findings = judged(&model, &declared(&[-1, -1, 2]), Batching::Probed);
    let names: Vec<_> =
        findings.outputs.iter().map(|it| format!("{} {}", it.name, it.shape)).collect();
    assert_eq!(names, ["output_0 [-1, -1, 2]", "output_1 [-1, 1]"]);
}

#[test]
fn declared_outputs_are_checked() {
    let outputs = |specs: &[TensorSpec]| {
        let hints = Hints { outputs: Some(specs.to_vec()), ..declared(&[-1, 3]) };
        probe(&summing(|sums| sums), &hints).map(|it| it.outputs).map_err(|it| it.message)
    };
    let score = spec("score", DataType::Fp32, &[-1, 1]);
    assert_eq!(outputs(std::slice::from_ref(&score)), Ok(vec![score.clone()]));
    let error = outputs(&[score.clone(), score]).unwrap_err();
    assert_eq!(error, "declared are 2 outputs (score, score), but the model returns 1 (output)");
    let error = outputs(&[spec("score", DataType::Fp32, &[-1, 2])]).unwrap_err();
    assert!(
        error.contains("declared as FP32 [-1, 2], but the model returned FP32 [1, 1]"),
        "{error}"
    );
    assert!(outputs(&[spec("score", DataType::Int64, &[-1, 1])]).is_err());
}

fn weights(parameters: &[(&[usize], DataType)]) -> Signature {
    let parameter = |(shape, datatype): &(&[usize], DataType)| Parameter {
        name: "weight".into(),
        shape: shape.to_vec(),
        datatype: Some(*datatype),
    };
    let reach = Reach::Operators(vec!["aten::embedding".to_owned()]);
    let parameters = parameters.iter().map(parameter).collect();
    Signature { parameters, reach, ..silent_signature() }
}

/// A model that takes only what `accepts` says and gives the first number of each row.
fn picky(accepts: impl Fn(DataType, &[usize]) -> bool + Send + Sync + 'static) -> FakeModel {
    FakeModel::new(move |batch| {
        let input = first(&batch);
        if !accepts(input.datatype(), input.shape().row()) {
            return Err(raised("mat1 and mat2 cannot be multiplied"));
        }
        let bytes = input.buffer().as_bytes();
        let row = bytes.len() / input.n_rows();
        let values = bytes.chunks(row).map(|row| f32::from(row[2])).collect();
        Ok(vec![tensor(&[input.n_rows(), 1], values)])
    })
}

#[track_caller]
fn guessed(model: FakeModel, signature: Signature, expected: &str) {
    let findings = probe(&model.with_signature(signature), &Hints::default()).unwrap();
    let input = &findings.inputs[0];
    assert_eq!(format!("{} {}", input.datatype, input.shape), expected, "{findings:?}");
    let source =
        if expected.ends_with("unknown") { ShapeSource::None } else { ShapeSource::Guessed };
    assert_eq!(findings.shape_source, source);
}

#[test]
fn weights_suggest_inputs() {
    use DataType::{Fp32, Fp64, Int64};
    let dense = |width| picky(move |_, row| *row == [width]);
    guessed(dense(30), weights(&[(&[30], Fp32), (&[64, 30], Fp32)]), "FP32 [-1, 30]");
    guessed(dense(30), weights(&[(&[5, 7], Fp64), (&[64, 30], Fp64)]), "FP64 [-1, 30]");
    let words = picky(|datatype, _| datatype == Int64);
    guessed(words, weights(&[(&[100, 16], Fp32)]), "INT64 [-1, -1]");
    let eight_words = picky(|datatype, row| datatype == Int64 && *row == [8]);
    guessed(eight_words, weights(&[(&[100, 16], Fp32)]), "INT64 [-1, 8]");
    let conv: &[(&[usize], DataType)] = &[(&[6, 1, 5, 5], Fp32), (&[10, 320], Fp32)];
    guessed(picky(|_, row| *row == [1, 28, 28]), weights(conv), "FP32 [-1, 1, 28, 28]");
    guessed(picky(|_, row| row.len() == 3 && row[0] == 1), weights(conv), "FP32 [-1, 1, -1, -1]");
    guessed(picky(|_, _| false), weights(conv), "FP32 unknown");
    guessed(dense(3), weights(&[(&[usize::MAX, usize::MAX], Fp32)]), "FP32 unknown");
}

#[test]
fn what_cannot_be_run_is_unprobed_but_a_refused_sample_is_an_error() {
    let refusing = || FakeModel::new(|_| Err(raised("only Tuesdays")));
    let findings = judged(&refusing(), &declared(&[-1, 3]), Batching::Unprobed);
    assert!(findings.notes[0].contains("only Tuesdays"));
    assert_eq!(findings.inputs[0].shape.to_string(), "[-1, 3]");
    judged(&refusing(), &Hints::default(), Batching::Unprobed);

    let sample = Some(vec![Some(tensor(&[1, 3], vec![0.5; 3]))]);
    let error = probe(&refusing(), &Hints { sample, ..Hints::default() }).unwrap_err();
    assert_eq!(error.message, "the model refuses its sample: only Tuesdays");
    let sample = Some(vec![Some(tensor(&[1, 4], vec![0.5; 4]))]);
    let error = probe(&refusing(), &Hints { sample, ..declared(&[-1, 3]) }).unwrap_err();
    assert!(error.message.contains("gives input \"x\" as FP32 [1, 4], expected FP32 [-1, 3]"));
    const DIED: Fault = Fault::Died(Death::Crashed);
    let dead = FakeModel::new(|_| Err(EngineError::new(DIED, "gone")));
    assert_eq!(probe(&dead, &declared(&[-1, 3])).unwrap_err().fault, DIED);
}

#[test]
fn a_sample_gives_shapes_types_and_values() {
    let sample = Some(vec![Some(tensor(&[1, 3], vec![1.0, 2.0, 5.0]))]);
    let hints = Hints { sample, ..Hints::default() };
    let findings = judged(&summing(|sums| sums), &hints, Batching::Probed);
    assert_eq!(findings.inputs[0].shape.to_string(), "[-1, 3]");
    assert_eq!(findings.shape_source, ShapeSource::Sample);

    let words = FakeModel::new(|batch| {
        let ids = first(&batch).as_slice::<i64>().ok_or_else(|| raised("expected Long"))?;
        if ids.iter().any(|id| !(0..=5).contains(id)) {
            return Err(raised("index out of range"));
        }
        let sums = ids.chunks(3).map(|row| row.iter().sum::<i64>() as f32).collect::<Vec<_>>();
        Ok(vec![tensor(&[sums.len(), 1], sums)])
    });
    let findings = judged(&words, &hints, Batching::Probed);
    assert_eq!(findings.inputs[0].datatype, DataType::Int64, "whole numbers may be meant as such");

    let strict = FakeModel::new(|batch| {
        let is_known = rows(first(&batch)).iter().all(|row| *row == [1.0, 2.0, 5.0]);
        if is_known { Ok(vec![first(&batch).clone()]) } else { Err(raised("unknown row")) }
    });
    let findings = judged(&strict, &hints, Batching::Unprobed);
    assert_eq!(findings.notes.len(), 2, "{:?}", findings.notes);
}

#[test]
fn optional_and_plain_arguments_are_left_out_or_set() {
    let argument = |name: &str, kind, optional| Argument { name: name.into(), kind, optional };
    let rate = ArgumentKind::Scalar(DataType::Int64);
    let arguments = vec![
        argument("x", ArgumentKind::Tensor, false),
        argument("rate", rate, false),
        argument("mask", ArgumentKind::Tensor, true),
    ];
    let model = FakeModel::new(|batch| {
        assert!(batch.inputs[2].is_none(), "an optional input must not be made up");
        let rate = batch.inputs[1].as_ref().unwrap();
        assert_eq!((rate.shape().rank(), rate.as_slice::<i64>().unwrap()), (0, &[1][..]));
        Ok(vec![first(&batch).clone()])
    })
    .with_signature(Signature { arguments, ..Signature::default() });
    let inputs = vec![spec("x", DataType::Fp32, &[-1, 3]), spec("rate", DataType::Int64, &[])];
    let hints = Hints { inputs: Some(inputs), ..Hints::default() };
    let findings = judged(&model, &hints, Batching::Probed);
    assert!(findings.inputs[1].is_scalar() && findings.inputs[2].optional);
}

#[test]
fn a_slow_model_is_spared_its_largest_batches() {
    let model = summing(|sums| sums);
    let hints = Hints { budget: Duration::ZERO, ..declared(&[-1, 3]) };
    let findings = judged(&model, &hints, Batching::Probed);
    assert!(findings.notes[0].contains("rows were not tried"), "{:?}", findings.notes);
    assert_eq!(model.seen().rows().into_iter().max(), Some(4));
}

#[test]
fn inputs_that_share_no_rows_make_a_request_of_one_piece() {
    let argument =
        |name: &str| Argument { name: name.into(), kind: ArgumentKind::Tensor, optional: false };
    let signature = Signature {
        arguments: vec![argument("x"), argument("edge_index")],
        returns: "Tensor".into(),
        ..Signature::default()
    };
    let graph = || {
        FakeModel::new(|batch| {
            let [x, edges] = [0, 1].map(|place| batch.inputs[place].clone().unwrap());
            let ids = edges.as_slice::<i64>().ok_or_else(|| raised("expected Long"))?;
            if edges.shape().n_rows() != 2 || ids.iter().any(|id| *id >= x.n_rows() as i64) {
                return Err(raised("index out of range"));
            }
            Ok(vec![tensor(&[x.n_rows()], sums(&x))])
        })
        .with_signature(signature.clone())
    };
    let inputs =
        vec![spec("x", DataType::Fp32, &[-1, 3]), spec("edge_index", DataType::Int64, &[2, -1])];
    let hints = Hints { inputs: Some(inputs.clone()), ..Hints::default() };
    let findings = judged(&graph(), &hints, Batching::NoRowAxis);
    let contract = Contract { inputs_have_rows: false, ..Contract::of_form(AnswerForm::Whole) };
    assert_eq!(
        (&findings.contract, findings.outputs[0].shape.to_string()),
        (&contract, "[-1]".into())
    );
    assert_eq!(findings.inputs, inputs);

    let edges =
        Tensor::from_vec(Shape::from([2, 5]), vec![0i64, 1, 2, 2, 1, 1, 2, 0, 1, 0]).unwrap();
    let sample = Some(vec![Some(tensor(&[3, 3], vec![0.5; 9])), Some(edges)]);
    let findings =
        judged(&graph(), &Hints { sample: sample.clone(), ..hints }, Batching::NoRowAxis);
    assert_eq!(findings.contract, contract);
    // Without a declaration the sample alone shows it.
    let findings = judged(&graph(), &Hints { sample, ..Hints::default() }, Batching::NoRowAxis);
    assert_eq!((findings.contract, findings.shape_source), (contract, ShapeSource::Sample));
}

#[test]
fn what_the_host_lacks_fails_the_trial_and_is_no_dislike_of_the_inputs() {
    let lacking = |fault| {
        let error = move || EngineError::new(fault, "there is no device cuda");
        FakeModel::new(move |_| Err(error()))
    };
    let sample = Some(vec![Some(tensor(&[1, 3], vec![0.0; 3]))]);
    let sampled = Hints { sample, ..Hints::default() };
    for hints in [declared(&[-1, 3]), sampled] {
        let error = probe(&lacking(Fault::Environment), &hints).unwrap_err();
        assert_eq!(error.message, "there is no device cuda");
        assert_eq!(error.fault, Fault::Environment);
        let error = probe(&lacking(Fault::OutOfMemory), &hints).unwrap_err();
        assert_eq!(error.fault, Fault::OutOfMemory, "{error}");
    }
    // Only some inputs lead there: then others are to be served.
    let model = FakeModel::new(|batch| match first(&batch).n_rows() {
        1 => Err(EngineError::new(Fault::Environment, "there is no device cuda")),
        _ => Ok(vec![tensor(&[first(&batch).n_rows(), 1], sums(first(&batch)))]),
    });
    assert!(probe(&model, &declared(&[-1, 3])).is_ok(), "what runs with some inputs may serve");
    // The reason is found behind refusals of another kind.
    let model = FakeModel::new(|batch| match first(&batch).n_rows() {
        1 => Err(raised("one row is too few")),
        _ => Err(EngineError::new(Fault::Environment, "there is no device cuda")),
    });
    let error = probe(&model, &declared(&[-1, 3])).unwrap_err();
    assert_eq!(error.fault, Fault::Environment, "{error}");
}
