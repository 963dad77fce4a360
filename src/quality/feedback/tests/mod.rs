//! Figures of labels, held to scikit-learn's: `figures.json` has answers of models with their labels and what that library makes of
//! them (version 1.9.1; the calibration error and the area from 20 bins by their definitions).

use super::known::{Known, lock};
use super::tally::{About, Classes, Row, Tally};
use super::token::{Answers, NO_CLASS};
use super::*;
use crate::inference::Version;
use serde_json::Value;
use std::sync::Arc;

fn expected() -> Value {
    serde_json::from_str(include_str!("figures.json")).unwrap()
}

fn rows(of: &Value) -> impl Iterator<Item = Vec<f64>> {
    let number = |it: &Value| it.as_f64().unwrap();
    let rows = of["rows"].as_array().unwrap().iter();
    rows.map(move |row| row.as_array().unwrap().iter().map(number).collect())
}

fn known(about: About) -> Known {
    Known::new(Version(1), about)
}

fn labels(n: usize) -> About {
    let labels: Vec<Arc<str>> = (0..n).map(|label| label.to_string().into()).collect();
    About::Classes(Classes::new(&labels).unwrap())
}

/// Counts one row as it would come with a token.
fn count(known: &Known, answers: Answers, truth: Truth) {
    let rows = known.about.rows(&answers, &[Some(truth)]).unwrap();
    known.count(&rows, Some(([0; 6], 7)));
}

#[track_caller]
fn close(name: &str, got: Option<f64>, expected: &Value) {
    let expected = expected[name].as_f64().unwrap();
    let got = got.unwrap_or_else(|| panic!("{name} must be known"));
    // Scores are single precision, as models give them.
    let tolerance = 1e-6 * expected.abs().max(0.1);
    assert!((got - expected).abs() <= tolerance, "{name}: {got}, expected {expected}");
}

fn classes(known: &Known) -> ClassificationFigures {
    let report = known.report();
    assert_eq!(report.mean_delay, Some(7.0));
    match report.figures {
        QualityFigures::Classes(figures) => figures,
        QualityFigures::Numbers(_) => panic!("answers with labels have figures of labels"),
    }
}

#[test]
fn figures_of_ten_classes_are_those_of_scikit_learn() {
    let expected = &expected()["digits"];
    let known = known(labels(10));
    for row in rows(expected) {
        let [actual, predicted, score] = row[..] else { panic!("{row:?}") };
        let answers = Answers::Classes(vec![(predicted as u16, score as f32)]);
        // Labels that are numbers, as numbers.
        count(&known, answers, Truth::Number(actual));
    }
    let figures = classes(&known);
    close("accuracy", figures.accuracy, expected);
    close("macro_f1", figures.macro_f1(), expected);
    close("weighted_f1", figures.weighted_f1(), expected);
    close("ece_10", figures.calibration_error, expected);
    close("top_brier", figures.brier, expected);
    assert_eq!(figures.roc_auc, None);
    for (place, class) in figures.classes.iter().enumerate() {
        let at = |name: &str| expected[name][place].clone();
        let got = (class.actual, class.predicted, class.correct);
        let counts = ["actual", "predicted", "correct"].map(|name| at(name).as_u64().unwrap());
        assert_eq!(got, counts.into());
        let of = |name: &str| Value::Object([(name.to_owned(), at(name))].into_iter().collect());
        close("precision", class.precision(), &of("precision"));
        close("recall", class.recall(), &of("recall"));
        close("f1", class.f1(), &of("f1"));
    }
    for (bin, place) in figures.bins.iter().zip(0..) {
        assert_eq!(bin.rows, expected["calibration_count"][place as usize].as_u64().unwrap());
        assert_eq!(bin.correct, expected["calibration_correct"][place as usize].as_u64().unwrap());
    }
    let whole: u64 = figures.confusion.iter().flatten().sum();
    assert_eq!(whole, 719);
}

#[test]
fn figures_of_two_classes_are_those_of_scikit_learn() {
    let expected = &expected()["binary"];
    let known = known(labels(2));
    for row in rows(expected) {
        let [actual, score] = row[..] else { panic!("{row:?}") };
        // As the step of labels has it: below a half the first label, with what is left.
        let answer = if score < 0.5 { (0, 1.0 - score as f32) } else { (1, score as f32) };
        count(&known, Answers::Classes(vec![answer]), Truth::Number(actual));
    }
    let figures = classes(&known);
    close("accuracy", figures.accuracy, expected);
    close("f1", figures.classes[1].f1(), expected);
    close("auc_from_20_bins", figures.roc_auc, expected);
    close("brier", figures.brier, expected);
    close("ece_10", figures.calibration_error, expected);
}

#[test]
fn figures_of_numbers_are_those_of_scikit_learn() {
    let expected = &expected()["regression"];
    let known = known(About::Numbers);
    for row in rows(expected) {
        let [actual, predicted] = row[..] else { panic!("{row:?}") };
        count(&known, Answers::Numbers(vec![predicted as f32]), Truth::Number(actual));
    }
    // What is no number must not poison the sums.
    count(&known, Answers::Numbers(vec![f32::NAN]), Truth::Number(1.0));
    let beyond = known.about.rows(&Answers::Numbers(vec![1.0]), &[Some(Truth::Number(-1e200))]);
    assert_eq!(beyond.unwrap_err(), "the label is -1e200, which is beyond what FP32 holds");
    count(&known, Answers::Numbers(vec![f32::INFINITY]), Truth::Number(-1e30));
    let QualityFigures::Numbers(Some(figures)) = known.report().figures else { panic!("numbers") };
    close("mae", Some(figures.mae), expected);
    close("rmse", Some(figures.rmse), expected);
    close("mean_error", Some(figures.mean_error), expected);
    close("r2", figures.r_squared, expected);
    let Tally::Numbers(tally) = &lock(&known.counted).tally else { panic!("numbers") };
    assert_eq!(tally.rows, 221);
    close("over_sum", Some(tally.over_sum), expected);
}

#[test]
fn classes_beyond_the_hundredth_are_one_and_right_only_where_they_are_the_same() {
    let known = known(labels(103));
    for (actual, predicted) in [(0, 0), (99, 99), (100, 100), (101, 102), (102, 0)] {
        count(&known, Answers::Classes(vec![(predicted, 0.5)]), Truth::Number(f64::from(actual)));
    }
    let figures = classes(&known);
    assert_eq!(figures.classes.len(), 101);
    let other = &figures.classes[100];
    assert_eq!((&*other.label, other.actual, other.predicted, other.correct), ("<other>", 3, 2, 1));
    assert_eq!(figures.accuracy, Some(0.6));
}

#[test]
fn what_is_no_label_of_the_model_is_refused_by_name() {
    let two = labels(2);
    let answers = Answers::Classes(vec![(0, 0.9)]);
    let refused = |about: &About, answers: &Answers, actual: &[Option<Truth>]| {
        about.rows(answers, actual).unwrap_err()
    };
    let label = |text: &str| Some(Truth::Label(text.into()));
    assert_eq!(
        refused(&two, &answers, &[label("2")]),
        "the model has no label \"2\", expected one of \"0\", \"1\""
    );
    assert!(refused(&labels(9), &answers, &[label("x")]).ends_with("\"4\", …"));
    let many = refused(&two, &answers, &[label("0"), None]);
    assert!(many.starts_with("2 labels of an answer with 1 rows"), "{many}");
    assert!(two.rows(&answers, &[None]).unwrap().is_empty(), "what is not known is not counted");
    let number = Answers::Numbers(vec![1.0]);
    let text = refused(&About::Numbers, &number, &[label("1")]);
    assert_eq!(text, "the model answers with numbers, got the label \"1\"");
    let infinite = refused(&About::Numbers, &number, &[Some(Truth::Number(f64::INFINITY))]);
    assert_eq!(infinite, "the label is not a finite number");
    assert!(refused(&two, &number, &[label("0")]).contains("another kind"));
}

#[test]
fn figures_are_of_the_file_that_serves_and_late_labels_of_theirs() {
    let known = Known::new(Version(1), About::Numbers);
    let row = Row::Number { actual: 1.0, predicted: 2.0 };
    let labels = || known.report().labels;
    let (old, new) = ([1; 6], [2; 6]);
    known.serve(old);
    known.count(&[row], Some((old, 1)));
    assert_eq!(labels(), 1);
    known.serve(new);
    assert_eq!(labels(), 0, "another file begins anew");
    known.count(&[row, row], Some((old, 1)));
    assert_eq!(labels(), 0, "a late label is of the file that answered");
    known.count(&[row], Some((new, 1)));
    // What is told without a token is of what serves.
    known.count(&[row], None);
    assert_eq!(labels(), 2);
    known.serve(old);
    assert_eq!(labels(), 3);
    // What is exported only rises, whichever file serves: it is of all while they served.
    let exported = || lock(&known.exported).rows();
    assert_eq!(exported(), 3, "late labels are not of what serves");
    known.count(&[row], Some((old, 1)));
    known.serve(new);
    assert_eq!((labels(), exported()), (2, 4));
}

#[test]
fn no_row_hides_all_others_in_a_sum() {
    let row = |actual: f64, predicted: f32| Row::Number { actual, predicted };
    let mut tally = About::Numbers.tally();
    let error = |tally: &Tally| match tally {
        Tally::Numbers(tally) => (tally.rows, tally.absolute_sum),
        Tally::Classes(_) => unreachable!("answers are numbers"),
    };
    // Whoever comes first is counted, and forgotten when the usual is known.
    tally.add(row(3e38, 1.0));
    for n in 0..40 {
        assert_eq!(tally.refuses(&row(2.0, 1.0)), None, "{n}");
        tally.add(row(2.0, 1.0));
    }
    let (rows, sum) = error(&tally);
    assert!(rows >= 20 && sum == rows as f64, "{rows} rows, {sum}");
    for unusual in [row(1e6, 1.0), row(1.0, 2e37), row(-3e38, 0.0)] {
        assert!(tally.refuses(&unusual).unwrap().contains("times the usual"), "{unusual:?}");
    }
    for usual in [row(1e5, 1.0), row(0.0, 0.0), row(1e-30, 0.0)] {
        assert_eq!(tally.refuses(&usual), None, "{usual:?}");
    }
    let mut zeros = About::Numbers.tally();
    (0..100).for_each(|_| zeros.add(row(0.0, 0.0)));
    assert_eq!(zeros.refuses(&row(1e30, 0.0)), None, "of nothing but zeros nothing is known");
}

#[test]
fn what_is_explained_of_numbers_far_from_zero_is_right() {
    let known = known(About::Numbers);
    let rows: Vec<_> = (0..1000)
        .map(|n| {
            let actual = 1.7e9 + f64::from(n % 40) * 16.0;
            Row::Number { actual, predicted: 1.7e9 + 312.0 }
        })
        .collect();
    known.count(&rows, None);
    let QualityFigures::Numbers(figures) = known.report().figures else { panic!("numbers") };
    let explained = figures.unwrap().r_squared.unwrap();
    assert!(explained.abs() < 0.1, "a constant explains nothing: {explained}");
}

#[test]
fn what_was_not_answered_is_not_compared() {
    let (two, label) = (labels(2), |text: &str| Some(Truth::Label(text.to_owned())));
    let answers = Answers::Classes(vec![(NO_CLASS, f32::NAN), (1, 0.5)]);
    let rows = two.rows(&answers, &[label("0"), label("1")]).unwrap();
    assert_eq!(rows, [Row::Class { actual: 1, predicted: 1, score: 0.5 }]);
    let number = Answers::Numbers(vec![f32::NAN, 2.0]);
    let rows = About::Numbers.rows(&number, &[Some(Truth::Number(1.0)), Some(Truth::Number(2.0))]);
    assert_eq!(rows.unwrap(), [Row::Number { actual: 2.0, predicted: 2.0 }]);
    let minus_zero = two.rows(&Answers::Classes(vec![(0, 1.0)]), &[Some(Truth::Number(-0.0))]);
    assert_eq!(minus_zero.unwrap().len(), 1, "zero has no sign among labels");
    let long = Truth::Label("x".repeat(100_000));
    let refused = About::Numbers.rows(&Answers::Numbers(vec![1.0]), &[Some(long)]).unwrap_err();
    assert!(refused.len() < 300, "a text is not told back whole");
}
