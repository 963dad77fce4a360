//! Small cases by hand, and all figures against scikit-learn's.

use super::*;
use crate::repository::manifest::Manifest;
use serde_json::Value;
use std::fs;
use std::path::Path;

#[track_caller]
fn close(what: &str, got: Option<f64>, expected: Option<f64>) {
    let is_close = match (got, expected) {
        (Some(got), Some(expected)) => (got - expected).abs() <= 1e-6,
        (got, expected) => got == expected,
    };
    assert!(is_close, "{what}: {got:?}, not {expected:?}");
}

#[track_caller]
fn check(measure: &dyn Measure, weights: &[u32], expected: &[(&str, Option<f64>)]) {
    let values = measure.measure(weights);
    for (name, expected) in expected {
        let place = measure.figures().iter().position(|figure| figure.name == *name).unwrap();
        close(name, values[place], *expected);
    }
}

/// Scores that give the class told a half, and the others the rest.
fn scores(n_classes: usize, predicted: &[usize]) -> Vec<f64> {
    let rest = 0.5 / (n_classes - 1) as f64;
    let row = |told: &usize| {
        (0..n_classes).map(|it| if it == *told { 0.5 } else { rest }).collect::<Vec<_>>()
    };
    predicted.iter().flat_map(row).collect()
}

#[test]
fn classes_are_counted_by_hand() {
    let (truth, predicted) = ([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2]);
    let three = Classification::new(3, &truth, &predicted, &scores(3, &predicted));
    // Precision 1, 1/2, 1/2; recall 2/3, 1/2, 1; F1 4/5, 1/2, 2/3.
    check(
        &three,
        &[1; 6],
        &[
            ("accuracy", Some(4.0 / 6.0)),
            ("macro_precision", Some(2.0 / 3.0)),
            ("macro_recall", Some((2.0 / 3.0 + 0.5 + 1.0) / 3.0)),
            ("macro_f1", Some((0.8 + 0.5 + 2.0 / 3.0) / 3.0)),
            ("weighted_precision", Some((3.0 + 2.0 * 0.5 + 0.5) / 6.0)),
            ("weighted_recall", Some(4.0 / 6.0)),
            ("weighted_f1", Some((3.0 * 0.8 + 2.0 * 0.5 + 2.0 / 3.0) / 6.0)),
            ("log_loss", Some(-(4.0 * 0.5f64.ln() + 2.0 * 0.25f64.ln()) / 6.0)),
            ("calibration_error", Some(4.0 / 6.0 - 0.5)),
        ],
    );
    // A row that counts twice is a row that is there twice.
    let (twice, told) = ([0, 0, 1, 1], [0, 1, 1, 1]);
    let twice = Classification::new(2, &twice, &told, &scores(2, &told));
    let weighted = Classification::new(2, &[0, 0, 1], &[0, 1, 1], &scores(2, &[0, 1, 1]));
    assert_eq!(weighted.measure(&[1, 1, 2]), twice.measure(&[1; 4]));
    assert_eq!(weighted.measure(&[0; 3]), [None; 10], "no rows have no figures");
}

#[test]
fn classes_that_never_occur_are_left_out_and_those_never_told_count_nothing() {
    let (truth, predicted) = ([0, 0, 1, 1], [0, 0, 0, 0]);
    let four = Classification::new(4, &truth, &predicted, &scores(4, &predicted));
    // Class 1 is never told: precision, recall and F1 are 0. Classes 2 and 3 occur nowhere.
    check(
        &four,
        &[1; 4],
        &[
            ("macro_precision", Some(0.25)),
            ("macro_recall", Some(0.5)),
            ("macro_f1", Some(1.0 / 3.0)),
            ("roc_auc", Some(0.5)),
        ],
    );
    let classes = four.classes();
    assert_eq!((classes[1].precision, classes[1].support, classes[3].support), (0.0, 2, 0));
    assert_eq!(classes[3].roc_auc, None);
    assert_eq!(four.notes(), ["2 of 4 classes have no rows"]);
    let single = Classification::new(2, &[1, 1], &[1, 1], &[0.1, 0.9, 0.2, 0.8]);
    check(&single, &[1; 2], &[("accuracy", Some(1.0)), ("macro_f1", Some(1.0)), ("roc_auc", None)]);
    assert_eq!(single.curve(1), None);
}

#[test]
fn what_is_no_probability_has_no_loss() {
    let logits = Classification::new(2, &[0, 1], &[0, 1], &[2.0, -1.0, 0.0, 3.0]);
    let expected = [
        ("accuracy", Some(1.0)),
        ("roc_auc", Some(1.0)),
        ("log_loss", None),
        ("calibration_error", None),
    ];
    check(&logits, &[1; 2], &expected);
    assert!(logits.notes()[0].starts_with("the scores of a row are not probabilities"));
    let nan = Classification::new(2, &[0, 1], &[0, 1], &[f64::NAN, f64::NAN, 0.0, 1.0]);
    check(&nan, &[1; 2], &[("accuracy", Some(1.0)), ("roc_auc", None), ("log_loss", None)]);
    // Certain and wrong: as far from 0 as scikit-learn keeps.
    let wrong = Classification::new(2, &[0], &[1], &[0.0, 1.0]);
    check(&wrong, &[1], &[("log_loss", Some(36.043_653_389))]);
}

#[test]
fn numbers_are_compared_by_hand() {
    // The example of scikit-learn's page.
    let four = Regression::new(&[3.0, -0.5, 2.0, 7.0], &[2.5, 0.0, 2.0, 8.0]);
    let expected =
        [("mae", Some(0.5)), ("rmse", Some(0.375f64.sqrt())), ("r2", Some(0.948_608_137))];
    check(&four, &[1; 4], &expected);
    let flat = |predicted: &[f64]| Regression::new(&[2.0, 2.0], predicted);
    check(&flat(&[2.0, 2.0]), &[1; 2], &[("r2", Some(1.0))]);
    check(&flat(&[2.0, 3.0]), &[1; 2], &[("r2", Some(0.0)), ("mae", Some(0.5))]);
    check(&flat(&[2.0, 3.0]), &[1, 0], &[("r2", None), ("mae", Some(0.0))]);
    let infinite = flat(&[2.0, f64::INFINITY]);
    assert_eq!(infinite.measure(&[1; 2]), [None; 3]);
    assert_eq!(infinite.notes(), ["1 answers are no finite numbers, so there are no figures"]);
}

fn fixture(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect()
}

#[track_caller]
fn check_fixture(measure: &dyn Measure, n_rows: usize, expected: &Value) {
    let values = measure.measure(&vec![1; n_rows]);
    assert_eq!(values.len(), expected["figures"].as_object().unwrap().len());
    for (figure, value) in measure.figures().iter().zip(values) {
        close(figure.name, value, expected["figures"][figure.name].as_f64());
    }
}

/// From PyTorch's outputs, so that nothing but the figures is compared.
fn check_classes(model: &str, names: &[&str], probabilities: impl Fn(Vec<f64>) -> Vec<f64>) {
    let (rows, expected) =
        (fixture(&format!("held_out/{model}.json")), fixture(&format!("figures/{model}.json")));
    let place = |label: &Value| names.iter().position(|name| *name == label).unwrap();
    let truth: Vec<_> = rows["labels"].as_array().unwrap().iter().map(place).collect();
    let outputs = rows["reference"].as_array().unwrap().iter();
    let scores: Vec<Vec<f64>> = outputs.map(|row| probabilities(numbers(row))).collect();
    let best =
        |row: &Vec<f64>| (0..row.len()).rev().max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
    let predicted: Vec<_> = scores.iter().map(best).collect();
    let measured = Classification::new(names.len(), &truth, &predicted, &scores.concat());
    check_fixture(&measured, truth.len(), &expected);
    for (class, expected) in measured.classes().iter().zip(expected["classes"].as_array().unwrap())
    {
        let ClassFigures { precision, recall, f1, support, roc_auc } = class;
        close("precision", Some(*precision), expected["precision"].as_f64());
        close("recall", Some(*recall), expected["recall"].as_f64());
        close("f1", Some(*f1), expected["f1"].as_f64());
        close("support", Some(*support as f64), expected["support"].as_f64());
        close("roc_auc", *roc_auc, expected["roc_auc"].as_f64());
    }
    assert_eq!(serde_json::to_value(measured.confusion()).unwrap(), expected["confusion"]);
}

#[test]
fn figures_are_those_of_scikit_learn() {
    check_classes("breast_cancer", &["malignant", "benign"], |row| vec![1.0 - row[0], row[0]]);
    let digits = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    check_classes("digits", &digits, |row| {
        let sum: f64 = row.iter().map(|value| value.exp()).sum();
        row.iter().map(|value| value.exp() / sum).collect()
    });
    let (rows, expected) = (fixture("reference/tabular.json"), fixture("figures/tabular.json"));
    let predicted: Vec<_> =
        rows["reference"].as_array().unwrap().iter().flat_map(numbers).collect();
    let truth = numbers(&expected["labels"]);
    check_fixture(&Regression::new(&truth, &predicted), truth.len(), &expected);
}

/// A bound in model.toml that no figure has would be missed by every version.
#[test]
fn every_key_of_model_toml_is_a_figure_and_the_other_way_round() {
    let classes = Classification::new(2, &[0], &[0], &[1.0, 0.0]);
    let numbers = Regression::new(&[0.0], &[0.0]);
    let figures = classes.figures().iter().chain(numbers.figures());
    let figures: Vec<_> = figures.map(|figure| format!("evaluation.{}", figure.name)).collect();
    let keys = Manifest::keys().map(|key| key.path).filter(|path| path.starts_with("evaluation."));
    let mut keys: Vec<_> = keys.collect();
    keys.sort_by_key(|key| figures.iter().position(|figure| figure == key));
    assert_eq!(keys, figures);
}
