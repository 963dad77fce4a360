//! What clients get.

use super::*;
use crate::inference::{AnswerForm, InferResponse, Layout};
use crate::protocol::testing::{RowLabel, response};
use std::sync::Arc;

#[track_caller]
fn check_answer(response: &InferResponse, form: Form, expected: &str) {
    let text = String::from_utf8(encode(response, form)).unwrap();
    serde_json::from_str::<serde_json::Value>(&text).expect("an answer is valid JSON");
    let tail = r#","model":"m","version":"2","request_id":"r-1"}"#;
    assert_eq!(text, format!("{expected}{tail}"));
}

#[test]
fn answers_have_the_form_of_their_requests() {
    let single = || response(vec![tensor("y", &[1, 1], &[0.97f32])], 1, None);
    check_answer(&single(), Form::One, r#"{"prediction":[0.97]"#);
    check_answer(&single(), Form::Many, r#"{"predictions":[[0.97]]"#);
    check_answer(&single(), Form::Named, r#"{"outputs":{"y":[[0.97]]}"#);
    let flat = || response(vec![tensor("y", &[2], &[3i64, 0])], 2, None);
    check_answer(&flat(), Form::Many, r#"{"predictions":[3,0]"#);
    check_answer(
        &response(vec![tensor("y", &[1], &[3i64])], 1, None),
        Form::One,
        r#"{"prediction":3"#,
    );
    let nan = response(vec![tensor("y", &[1, 2], &[f32::NAN, f32::INFINITY])], 1, None);
    check_answer(&nan, Form::One, r#"{"prediction":[null,null]"#);

    let several = |rows: usize| {
        let a = tensor("a", &[rows, 2], &(0..rows as u8 * 2).collect::<Vec<_>>());
        let b = tensor("b", &[rows], &vec![0.5f64; rows]);
        response(vec![a, b], rows, None)
    };
    check_answer(&several(1), Form::One, r#"{"prediction":{"a":[0,1],"b":0.5}"#);
    check_answer(
        &several(2),
        Form::Many,
        r#"{"predictions":[{"a":[0,1],"b":0.5},{"a":[2,3],"b":0.5}]"#,
    );
    check_answer(&several(2), Form::Named, r#"{"outputs":{"a":[[0,1],[2,3]],"b":[0.5,0.5]}"#);
    let empty = response(vec![tensor::<f32>("y", &[2, 0, 4], &[])], 2, None);
    check_answer(&empty, Form::Many, r#"{"predictions":[[],[]]"#);
    check_answer(&response(vec![], 1, None), Form::One, r#"{"prediction":{}"#);
}

#[test]
fn a_model_without_rows_answers_in_one_form_whatever_the_sizes() {
    let whole = |dims: &[usize], n_rows: usize| {
        let y = tensor("y", dims, &vec![1u8; dims.iter().product()]);
        let mut response = response(vec![y], n_rows, None);
        response.layout.form = AnswerForm::Whole;
        response
    };
    for form in [Form::One, Form::Many, Form::Named] {
        // As many rows as the request has, by chance; one; none; no dimension at all.
        check_answer(&whole(&[2], 2), form, r#"{"outputs":{"y":[1,1]}"#);
        check_answer(&whole(&[1], 2), form, r#"{"outputs":{"y":[1]}"#);
        check_answer(&whole(&[0, 4], 2), form, r#"{"outputs":{"y":[]}"#);
        check_answer(&whole(&[], 1), form, r#"{"outputs":{"y":1}"#);
    }
}

#[test]
fn an_output_that_a_run_did_not_give_is_null_and_changes_no_form() {
    let absent = |outputs: Vec<NamedTensor>, form| {
        let mut response = response(outputs, 2, None);
        response.layout = Layout { form, is_sole: false, absent: vec!["aux".into()] };
        response
    };
    let y = || vec![tensor("y", &[2], &[3u8, 4])];
    let rows = absent(y(), AnswerForm::Rows);
    let expected = r#"{"predictions":[{"y":3,"aux":null},{"y":4,"aux":null}]"#;
    check_answer(&rows, Form::Many, expected);
    check_answer(&rows, Form::Named, r#"{"outputs":{"y":[3,4],"aux":null}"#);
    let whole = absent(y(), AnswerForm::Whole);
    check_answer(&whole, Form::Many, r#"{"outputs":{"y":[3,4],"aux":null}"#);
    check_answer(&absent(vec![], AnswerForm::Whole), Form::One, r#"{"outputs":{"aux":null}"#);
    let mut sole = absent(vec![], AnswerForm::Rows);
    sole.layout.is_sole = true;
    check_answer(&sole, Form::One, r#"{"prediction":null"#);
    check_answer(&sole, Form::Many, r#"{"predictions":null"#);
}

#[test]
fn labels_stand_beside_the_output() {
    let (yes, no): (Arc<str>, Arc<str>) = ("y\"es".into(), "no".into());
    let row = |score| RowLabel {
        label: yes.clone(),
        score,
        top: vec![(yes.clone(), score), (no.clone(), 0.25)],
    };
    let one = response(vec![tensor("y", &[1, 2], &[1u8, 2])], 1, Some(vec![row(0.75)]));
    check_answer(
        &one,
        Form::One,
        r#"{"prediction":[1,2],"label":"y\"es","score":0.75,"top":[{"label":"y\"es","score":0.75},{"label":"no","score":0.25}]"#,
    );
    let labels = Some(vec![row(0.75), row(f32::NAN)]);
    let many = response(vec![tensor("y", &[2, 1], &[1u8, 2])], 2, labels);
    let beside = r#""labels":["y\"es","y\"es"],"scores":[0.75,null],"top":[[{"label":"y\"es","score":0.75},{"label":"no","score":0.25}],[{"label":"y\"es","score":null},{"label":"no","score":0.25}]]"#;
    check_answer(&many, Form::Many, &format!(r#"{{"predictions":[[1],[2]],{beside}"#));
    check_answer(&many, Form::Named, &format!(r#"{{"outputs":{{"y":[[1],[2]]}},{beside}"#));
}

#[test]
fn errors_are_written_in_full() {
    let error = InferError::invalid_input("x", "input \"x\" is bad")
        .with_mismatch("a", "b")
        .with_model("m");
    let text = String::from_utf8(encode_error(&error, "r")).unwrap();
    let expected = r#"{"error":"input \"x\" is bad","code":"invalid_input","request_id":"r","model":"m","input":"x","expected":"a","got":"b"}"#;
    assert_eq!(text, expected);
    let text = encode_error(&InferError::new(ErrorCode::QueueFull, "full"), "r");
    assert_eq!(text, br#"{"error":"full","code":"queue_full","request_id":"r"}"#);
}
