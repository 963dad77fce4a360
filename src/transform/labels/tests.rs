//! What becomes of scores and labels.

use super::*;
use crate::tensor::{Shape, ShapePattern};
use proptest::prelude::*;

fn labels(names: &str) -> Vec<Arc<str>> {
    names.split_whitespace().map(Arc::from).collect()
}

fn step(names: &str, activation: Activation, top: usize) -> Labels {
    Labels::new(labels(names), activation, top).unwrap()
}

/// What stands beside one row.
#[derive(Debug)]
struct RowLabel {
    label: Option<Arc<str>>,
    score: f32,
    top: Vec<(Arc<str>, f32)>,
}

/// What the step adds to an answer of which nothing was known before.
fn apply(
    step: &Labels,
    tensors: &[NamedTensor],
    n_rows: usize,
) -> Result<Vec<RowLabel>, InferError> {
    let mut outputs = Outputs {
        tensors: tensors.to_vec(),
        n_rows,
        given: Vec::new(),
        extras: Vec::new(),
        parameters: Default::default(),
    };
    step.apply(&[], &mut outputs)?;
    let [label, score, top] = &outputs.extras[..] else { panic!("{outputs:?}") };
    assert_eq!([label.name, score.name, top.name], ["label", "score", "top"]);
    assert_eq!([label.plural, score.plural, top.plural], ["labels", "scores", "top"]);
    match (&label.values, &score.values, &top.values) {
        (ExtraValues::Texts(labels), ExtraValues::Numbers(scores), ExtraValues::Rankings(tops)) => {
            assert_eq!(tops.classes, step.labels);
            let rows = labels.iter().zip(scores).zip(&tops.rows);
            let row = |((label, score), top): ((&Option<Arc<str>>, &f32), &Vec<_>)| RowLabel {
                label: label.clone(),
                score: *score,
                top: top.clone(),
            };
            Ok(rows.map(row).collect())
        }
        other => panic!("{other:?}"),
    }
}

fn output<T: Element>(dims: &[usize], values: &[T]) -> Vec<NamedTensor> {
    let tensor = Tensor::from_vec(Shape::new(dims.to_vec()), values.to_vec()).unwrap();
    vec![NamedTensor { name: "y".into(), tensor }]
}

/// Compares label, score and runners-up of one row.
#[track_caller]
fn check(step: &Labels, row: &[f32], expected: &[(&str, f32)]) {
    let rows = apply(step, &output(&[1, row.len()], row), 1).unwrap();
    let [RowLabel { label, score, top }] = &rows[..] else { panic!("one row was given") };
    assert_eq!(
        (label, score.to_bits()),
        (&(!top[0].1.is_nan()).then(|| Arc::clone(&top[0].0)), top[0].1.to_bits()),
        "the best comes first"
    );
    assert_eq!(top.len(), expected.len());
    for ((label, score), (expected_label, expected_score)) in top.iter().zip(expected) {
        assert_eq!(&**label, *expected_label);
        let is_close = (score - expected_score).abs() <= 1e-6;
        assert!(is_close || score.is_nan() && expected_score.is_nan(), "{score} {expected_score}");
    }
}

#[test]
fn the_largest_value_names_the_row() {
    let plain = step("a b c", Activation::None, 2);
    check(&plain, &[0.1, 0.7, 0.2], &[("b", 0.7), ("c", 0.2)]);
    check(&plain, &[0.5, 0.5, 0.0], &[("a", 0.5), ("b", 0.5)]);
    check(&plain, &[-0.0, 0.0, -1.0], &[("a", 0.0), ("b", 0.0)]);
    check(
        &step("a b c", Activation::None, 9),
        &[3.0, 1.0, 2.0],
        &[("a", 3.0), ("c", 2.0), ("b", 1.0)],
    );
    let softmax = step("a b c", Activation::Softmax, 3);
    check(
        &softmax,
        &[1.0, 2.0, 3.0],
        &[("c", 0.665_240_96), ("b", 0.244_728_48), ("a", 0.090_030_57)],
    );
    check(&softmax, &[1000.0, 1000.0, -1000.0], &[("a", 0.5), ("b", 0.5), ("c", 0.0)]);
    let infinite = [f32::INFINITY, 0.0, f32::NEG_INFINITY];
    check(&softmax, &infinite, &[("a", 1.0), ("b", 0.0), ("c", 0.0)]);
    let sigmoid = step("a b c", Activation::Sigmoid, 1);
    check(&sigmoid, &[0.0, 1000.0, -1000.0], &[("b", 1.0)]);
}

#[test]
fn one_value_decides_between_two_labels() {
    let plain = step("no yes", Activation::None, 5);
    check(&plain, &[0.25], &[("no", 0.75), ("yes", 0.25)]);
    check(&plain, &[0.5], &[("yes", 0.5), ("no", 0.5)]);
    check(&plain, &[0.97], &[("yes", 0.97), ("no", 0.03)]);
    check(&plain, &[0.3, 0.7], &[("yes", 0.7), ("no", 0.3)]);
    check(&step("no yes", Activation::Sigmoid, 1), &[-2.0], &[("no", 0.880_797)]);
    check(&step("no yes", Activation::Softmax, 1), &[-2.0], &[("no", 0.880_797)]);
}

#[test]
fn nan_is_told_and_harms_nobody() {
    let nan = f32::NAN;
    check(
        &step("a b c", Activation::None, 3),
        &[nan, 1.0, 2.0],
        &[("c", 2.0), ("b", 1.0), ("a", nan)],
    );
    check(&step("a b c", Activation::Softmax, 1), &[nan, 1.0, 2.0], &[("a", nan)]);
    check(&step("no yes", Activation::Sigmoid, 1), &[nan], &[("yes", nan)]);
}

#[test]
fn scores_are_those_of_all_classes_whatever_is_listed() {
    let scores = |step: &Labels, dims: &[usize], values: &[f64]| {
        let outputs = output(dims, values);
        let scores = step.scores(&[], &outputs, dims[0]).unwrap().unwrap();
        assert_eq!(scores.classes, step.labels);
        scores.values
    };
    let single = step("no yes", Activation::None, 1);
    assert_eq!(scores(&single, &[2, 1], &[0.25, 1.0]), [0.75, 0.25, 0.0, 1.0]);
    let softmax = step("a b c", Activation::Softmax, 1);
    let half = [0.5, 0.5, 0.0];
    assert_eq!(scores(&softmax, &[1, 3], &[1000.0, 1000.0, -1000.0]), half);
    assert!(scores(&softmax, &[0, 3], &[]).is_empty());
    assert!(softmax.scores(&[], &output(&[1, 2], &[0.0, 1.0]), 1).is_err());
}

#[test]
fn every_float_type_has_labels_and_rows_stay_apart() {
    let step = step("a b", Activation::None, 1);
    let names = |outputs: &[NamedTensor], n_rows| {
        let rows = apply(&step, outputs, n_rows).unwrap();
        rows.iter().map(|row| row.label.as_deref().unwrap_or("-").to_owned()).collect::<Vec<_>>()
    };
    let values = [0.0, 1.0, 1.0, 0.0, 0.25, 0.75];
    assert_eq!(names(&output(&[3, 2], &values), 3), ["b", "a", "b"]);
    assert_eq!(names(&output(&[3, 2], &values.map(|v| v as f32)), 3), ["b", "a", "b"]);
    assert_eq!(names(&output(&[3, 2], &values.map(f16::from_f64)), 3), ["b", "a", "b"]);
    assert_eq!(names(&output(&[3, 2], &values.map(bf16::from_f64)), 3), ["b", "a", "b"]);
    assert_eq!(names(&output(&[6], &values), 6), ["a", "b", "b", "a", "a", "b"]);
}

#[test]
fn what_cannot_be_labelled_is_refused() {
    let new = |names, top| Labels::new(labels(names), Activation::None, top).unwrap_err();
    assert_eq!(new("a", 1).to_string(), "1 labels are given, expected two or more");
    assert_eq!(new("a b a", 1).to_string(), "label \"a\" is given twice");
    assert_eq!(new("a b", 0).to_string(), "top is 0, expected 1 to 100");
    assert!("tanh".parse::<Activation>().is_err());

    let check = |names, datatype, wire: Option<&[i64]>| {
        let shape = wire.map_or(ShapePattern::Unknown, |w| ShapePattern::from_wire(w).unwrap());
        let output =
            TensorSpec { name: "y".into(), datatype, shape, optional: false, declared: true };
        let outcome = step(names, Activation::None, 1).check(&[output]);
        outcome.map_err(|error| error.to_string())
    };
    let fp32 = DataType::Fp32;
    for wire in [None, Some(&[-1, 3][..]), Some(&[-1, -1]), Some(&[1, 3])] {
        assert_eq!(check("a b c", fp32, wire), Ok(()));
    }
    for wire in [&[-1][..], &[-1, 1], &[-1, 2]] {
        assert_eq!(check("a b", fp32, Some(wire)), Ok(()));
    }
    let shape = "output \"y\" has shape [-1, 4], labels need [-1, 3] for 3 labels";
    assert_eq!(check("a b c", fp32, Some(&[-1, 4])), Err(shape.to_owned()));
    for wire in [&[][..], &[-1], &[-1, 1], &[-1, 3, 3]] {
        assert!(check("a b c", fp32, Some(wire)).is_err(), "{wire:?} must be refused");
    }
    let datatype = "output \"y\" is of INT64, labels need FP16, BF16, FP32 or FP64";
    assert_eq!(check("a b", DataType::Int64, Some(&[-1, 2])), Err(datatype.to_owned()));

    let step = step("a b c", Activation::None, 1);
    for (dims, n_rows) in [(&[2, 4][..], 2), (&[2, 3], 3), (&[2], 2), (&[], 1), (&[1, 1, 3], 1)] {
        let n: usize = dims.iter().product();
        let error = apply(&step, &output(dims, &vec![0f32; n]), n_rows).unwrap_err();
        assert_eq!(error.code, ErrorCode::InferenceFailed, "{error}");
    }
    assert!(apply(&step, &output(&[1, 3], &[1i64, 2, 3]), 1).is_err());
    assert!(apply(&step, &[], 1).is_err());
}

proptest! {
    #[test]
    fn no_row_panics_and_the_best_is_best(
        row in prop::collection::vec(any::<f32>(), 3),
        activation in prop::sample::select(&[Activation::None, Activation::Softmax, Activation::Sigmoid][..]),
        top in 1usize..4,
    ) {
        let rows = apply(&step("a b c", activation, top), &output(&[1, 3], &row), 1).unwrap();
        prop_assert_eq!(rows[0].top.len(), top);
        prop_assert!(rows[0].top.windows(2).all(|pair| pair[0].1 >= pair[1].1 || pair[1].1.is_nan()));
    }
}

#[test]
fn a_request_says_how_many_labels_it_wants_and_from_which_score() {
    let step = step("a b c", Activation::None, 2).with_threshold(Some(0.4));
    let told = |parameters: Parameters, row: &[f32]| {
        let tensors = output(&[1, row.len()], row);
        let mut outputs = Outputs { tensors, n_rows: 1, given: vec![], extras: vec![], parameters };
        step.apply(&[], &mut outputs).unwrap();
        let [label, score, top] = &outputs.extras[..] else { panic!("{outputs:?}") };
        let (ExtraValues::Texts(labels), ExtraValues::Numbers(scores)) =
            (&label.values, &score.values)
        else {
            panic!("{outputs:?}")
        };
        let ExtraValues::Rankings(rankings) = &top.values else { panic!("{outputs:?}") };
        let top: Vec<_> = rankings.told(0).iter().map(|(label, _)| label.to_string()).collect();
        (labels[0].as_deref().map(str::to_owned), scores[0], top.join(""), rankings.rows[0].len())
    };
    let row = [0.3, 0.5, 0.2];
    let of = |top_k, threshold| told(Parameters { top_k, threshold }, &row);
    let b = || Some("b".to_owned());
    assert_eq!(of(None, None), (b(), 0.5, "b".to_owned(), 2));
    assert_eq!(of(Some(1), Some(0.0)), (b(), 0.5, "b".to_owned(), 1));
    assert_eq!(of(Some(100), Some(0.25)), (b(), 0.5, "ba".to_owned(), 3));
    // What is watched of the answers does not hang on what their callers want to see.
    assert_eq!(of(None, Some(0.6)), (None, 0.5, String::new(), 2));
}
