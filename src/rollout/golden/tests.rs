//! Whole files against scripted models.

use super::super::testing::{Served, mapping, served};
use super::*;
use crate::repository::Verifier;
use std::fs;

const LABELS: &str = "labels = [\"low\", \"high\"]";

fn echo(top: &str) -> Served {
    served(mapping(<[f32]>::to_vec), top)
}

#[test]
fn what_a_version_answers_is_what_it_must_answer() {
    let served = echo("");
    let requests = concat!(
        "{\"features\": [0.1, 2]}\n",
        "{\"instances\": [[1, 2], [3, 4]]}\n",
        "{\"inputs\": {\"x\": [[5, 6]]}}\n",
    );
    let text = write(&served.handle, "r", requests).unwrap();
    let first = text.lines().next().unwrap();
    assert_eq!(first, "{\"request\": {\"features\": [0.1, 2]}, \"expected\": [0.1,2.0]}");
    let report = verify(&served.handle, "g", &text).unwrap();
    assert!(report.passed());
    assert_eq!(report.to_string(), "g: 3 answers compared, largest difference 0");
    assert_eq!(write(&served.handle, "r", &text).unwrap(), text, "a golden file has requests too");
    let other =
        super::super::testing::served(mapping(|row| row.iter().map(|it| it * 1.01).collect()), "");
    let report = verify(&other.handle, "g", &text).unwrap();
    assert_eq!((report.passed(), report.missed), (false, 3));
    let lines: Vec<_> = report.to_string().lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "g: 3 requests miss; 3 answers compared, largest difference 1.0e-2");
    let second =
        "g:2: predictions[1][1] is 4.04, expected 4: off by 1.0e-2 of the largest, 1e-4 allowed";
    assert_eq!(lines[2], second);
}

#[test]
fn labels_may_be_wrong_in_part() {
    let served = echo(LABELS);
    let text = |minimum: f64| {
        format!(
            "{{\"min_accuracy\": {minimum}}}\n\
             {{\"request\": {{\"features\": [1, 2]}}, \"label\": \"high\"}}\n\
             {{\"request\": {{\"instances\": [[1, 0], [0, 1], [5, 1]]}}, \"labels\": [\"low\", \"low\", \"low\"]}}\n"
        )
    };
    let report = verify(&served.handle, "g", &text(0.75)).unwrap();
    assert!(report.passed());
    let summary = "g: 3 of 4 labels right, accuracy 0.7500, at least 0.75 wanted";
    assert_eq!(report.to_string(), summary);
    let report = verify(&served.handle, "g", &text(0.76)).unwrap();
    assert!(!report.passed());
    let last = report.to_string().lines().last().unwrap().to_owned();
    assert_eq!(last, "g:3: label \"high\", expected \"low\"");
    let unlabelled = echo("");
    let report = verify(&unlabelled.handle, "g", &text(0.5)).unwrap();
    assert_eq!(report.missed, 2, "a model without labels has none right");
}

#[test]
fn a_request_that_is_not_answered_is_a_miss_and_ten_are_shown() {
    let served = echo("");
    let raises = "{\"request\": {\"features\": [13, 2]}, \"expected\": [1, 2]}\n";
    let unfit = "{\"request\": {\"features\": [1]}, \"expected\": [1]}\n";
    let text = format!("{raises}{unfit}{}", raises.repeat(10));
    let report = verify(&served.handle, "g", &text).unwrap().to_string();
    let lines: Vec<_> = report.lines().collect();
    assert_eq!(lines.len(), 12);
    assert_eq!(lines[0], "g: 12 requests miss");
    assert!(lines[1].starts_with("g:1: not answered: "), "{report}");
    assert!(lines[1].contains("thirteen"), "operators see what the model raised: {report}");
    assert!(lines[2].starts_with("g:2: not answered: "), "{report}");
    assert_eq!(lines[11], "and 2 more");
    let error = write(&served.handle, "r", "{\"features\": [1]}").unwrap_err();
    assert!(error.starts_with("r:1: "), "{error}");
}

#[test]
fn the_repository_asks_only_where_there_is_a_file() {
    let served = echo("");
    let folder = served.folder.path().join("m/1");
    assert_eq!(Goldens.verify(&served.handle, &folder), Ok(()));
    let put = |text: &str| fs::write(folder.join(FILE), text).unwrap();
    put("{\"request\": {\"features\": [1, 2]}, \"expected\": [1, 2]}");
    assert_eq!(Goldens.verify(&served.handle, &folder), Ok(()));
    put("{\"request\": {\"features\": [1, 2]}, \"expected\": [1, 3]}");
    let error = Goldens.verify(&served.handle, &folder).unwrap_err();
    assert!(error.starts_with("m/1/golden.jsonl: 1 request misses; "), "{error}");
    assert_eq!(error.lines().count(), 2);
    put("{");
    let error = Goldens.verify(&served.handle, &folder).unwrap_err();
    assert!(error.starts_with("m/1/golden.jsonl:1: "), "{error}");
}
