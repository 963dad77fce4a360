mod inputs;
mod outputs;
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
fn a_slow_model_is_spared_its_largest_batches() {
    let model = summing(|sums| sums);
    let hints = Hints { budget: Duration::ZERO, ..declared(&[-1, 3]) };
    let findings = judged(&model, &hints, Batching::Probed);
    assert!(findings.notes[0].contains("rows were not tried"), "{:?}", findings.notes);
    assert_eq!(model.seen().rows().into_iter().max(), Some(4));
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
