//! What clients send and get, as text.

use super::*;
use crate::inference::NamedTensor;
use crate::inference::{AnswerForm, ErrorCode, InferError, InferResponse, Layout, ModelSpec};
use crate::protocol::testing::{RowLabel, one, response, tensor, two};
use crate::tensor::{DataType, Shape, Tensor};
use std::sync::Arc;

#[track_caller]
fn check_good(spec: &ModelSpec, body: &str, form: Form, expected: &[NamedTensor]) {
    let decoded = decode(body.as_bytes(), spec).unwrap();
    assert_eq!((decoded.plan, &decoded.inputs[..]), (form, expected), "{body}");
    for NamedTensor { tensor, .. } in &decoded.inputs {
        assert_eq!(
            tensor.buffer().as_bytes().as_ptr().addr() % 64,
            0,
            "decoded tensors are aligned"
        );
    }
}

#[track_caller]
fn check_bad(spec: &ModelSpec, body: &str, code: ErrorCode, message: &str) -> InferError {
    let error = decode(body.as_bytes(), spec).unwrap_err();
    assert_eq!((error.code, &*error.message), (code, message), "{body}");
    error
}

#[test]
fn every_form_is_read() {
    let x = one(DataType::Fp32, Some(&[-1, 2]));
    let many = tensor("x", &[2, 2], &[1f32, 2.5, -3.0, 1e3]);
    check_good(&x, r#"{"features":[1,2.5]}"#, Form::One, &[tensor("x", &[1, 2], &[1f32, 2.5])]);
    check_good(
        &x,
        r#" { "instances" : [ [1, 2.5] , [-3,1e3] ] } "#,
        Form::Many,
        std::slice::from_ref(&many),
    );
    check_good(
        &x,
        r#"{"instances":[{"x":[1,2.5]},{"x":[-3,1e3]}]}"#,
        Form::Many,
        std::slice::from_ref(&many),
    );
    check_good(&x, r#"{"\u0069nputs":{"x":[[1,2.5],[-3,1e3]]}}"#, Form::Named, &[many]);

    let flat = one(DataType::Int64, Some(&[-1]));
    check_good(&flat, r#"{"features":7}"#, Form::One, &[tensor("x", &[1], &[7i64])]);
    check_good(&flat, r#"{"instances":[7,8]}"#, Form::Many, &[tensor("x", &[2], &[7i64, 8])]);

    let scalar = one(DataType::Fp64, Some(&[]));
    check_good(&scalar, r#"{"features":7}"#, Form::One, &[tensor("x", &[], &[7f64])]);

    let a = tensor("a", &[2, 2], &[1f32, 2.0, 3.0, 4.0]);
    let b = tensor("b", &[2], &[5i64, 6]);
    let k = tensor("k", &[], &[9i64]);
    let body = r#"{"inputs":{"b":[5,6],"k":9,"a":[[1,2],[3,4]]}}"#;
    check_good(&two(), body, Form::Named, &[b.clone(), k, a.clone()]);
    let body = r#"{"instances":[{"b":5,"a":[1,2]},{"a":[3,4],"b":6}]}"#;
    check_good(&two(), body, Form::Many, &[b, a]);
}

#[test]
fn an_unknown_shape_is_taken_from_the_nesting() {
    let unknown = one(DataType::Fp32, None);
    check_good(
        &unknown,
        r#"{"features":[[1],[2]]}"#,
        Form::One,
        &[tensor("x", &[1, 2, 1], &[1f32, 2.0])],
    );
    check_good(&unknown, r#"{"features":1}"#, Form::One, &[tensor("x", &[1], &[1f32])]);
    check_good(
        &unknown,
        r#"{"instances":[[1],[2]]}"#,
        Form::Many,
        &[tensor("x", &[2, 1], &[1f32, 2.0])],
    );
    check_good(&unknown, r#"{"inputs":{"x":4}}"#, Form::Named, &[tensor("x", &[], &[4f32])]);
    let ragged = "input \"x\" at [1] is ragged: expected 1 elements, got 2";
    check_bad(&unknown, r#"{"instances":[[1],[2,3]]}"#, ErrorCode::InvalidInput, ragged);
    let variable = one(DataType::Fp32, Some(&[-1, -1]));
    check_good(
        &variable,
        r#"{"features":[1,2,3]}"#,
        Form::One,
        &[tensor("x", &[1, 3], &[1f32, 2.0, 3.0])],
    );
    let differs = "input \"x\" has shape [1] in row 1, expected [2]";
    check_bad(
        &variable,
        r#"{"instances":[{"x":[1,2]},{"x":[3]}]}"#,
        ErrorCode::InvalidInput,
        differs,
    );
}

#[test]
fn an_input_that_nobody_declared_takes_any_shape() {
    let mut open = one(DataType::Int64, Some(&[-1, 8]));
    open.inputs[0].declared = false;
    check_good(&open, r#"{"features":[1,2]}"#, Form::One, &[tensor("x", &[1, 2], &[1i64, 2])]);
    let deep = tensor("x", &[1, 1, 2], &[1i64, 2]);
    check_good(&open, r#"{"instances":[[[1,2]]]}"#, Form::Many, &[deep]);
    check_good(&open, r#"{"inputs":{"x":[1]}}"#, Form::Named, &[tensor("x", &[1], &[1i64])]);
    let ragged = "input \"x\" at [1] is ragged: expected 1 elements, got 2";
    check_bad(&open, r#"{"instances":[[1],[2,3]]}"#, ErrorCode::InvalidInput, ragged);
    let text = "input \"x\" at [0]: expected a number, got a string";
    check_bad(&open, r#"{"features":["a"]}"#, ErrorCode::InvalidInput, text);
}

#[test]
fn text_that_is_not_json_is_refused() {
    let x = one(DataType::Fp32, Some(&[-1, 2]));
    let deep = format!("{{\"features\":{}", "[".repeat(100_000));
    let deep_top = "[".repeat(100_000);
    for body in [
        "nul",
        "{",
        "{\"features\"",
        "{\"features\":",
        "{\"features\":[1",
        "{\"features\":[1,",
        "{\"features\":[1,2]",
        "{\"features\":[1,2]}x",
        "{\"features\":[1,2]}{}",
        "{\"features\":[1,2],}",
        "{\"features\":[1,2,]}",
        "{\"features\":[01,2]}",
        "{\"features\":[1.,2]}",
        "{\"features\":[.5,2]}",
        "{\"features\":[+1,2]}",
        "{\"features\":[1e,2]}",
        "{\"features\":[-,2]}",
        "{\"features\":[NaN,2]}",
        "{\"features\":[Infinity,2]}",
        "{\"features\":[-Infinity,2]}",
        "{\"features\":[nope,2]}",
        "{\"features\":[0x1,2]}",
        "{\"features\":[1 2]}",
        "{'features':[1,2]}",
        "{features:[1,2]}",
        "{\"features\" [1,2]}",
        "{\"fea\u{0}tures\":[1,2]}",
        "[1,2",
        &deep,
        &deep_top,
    ] {
        let error = decode(body.as_bytes(), &x).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidJson, "{}: {error}", &body[..body.len().min(80)]);
    }
    let error = decode(b"{\"fea\xfftures\":1}", &x).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidJson);
    let message = "the body is not valid JSON: expected a comma or ']' at byte 14, where it ends";
    check_bad(&x, r#"{"features":[1"#, ErrorCode::InvalidJson, message);
}

#[test]
fn documents_of_another_form_are_refused() {
    use ErrorCode::InvalidBody;
    let x = one(DataType::Fp32, Some(&[-1, 2]));
    let expected = "expected exactly one of \"features\", \"instances\", \"inputs\"";
    let check = |body: &str, message: &str| drop(check_bad(&x, body, InvalidBody, message));
    for (body, got) in
        [("[1,2]", "an array"), ("\"a\"", "a string"), ("1", "a number"), ("null", "null")]
    {
        check(body, &format!("the body is {got}, expected an object"));
    }
    check("{}", &format!("the body has no members, {expected}"));
    check(r#"{"data":[1,2]}"#, &format!("unknown member \"data\", {expected}"));
    check(r#"{"features":[1,2],"id":1}"#, &format!("unknown member \"id\", {expected}"));
    let twice = format!("member \"features\" is given twice, {expected}");
    check(r#"{"features":[1,2],"features":[1,2]}"#, &twice);
    let both = format!("the body has both \"features\" and \"inputs\", {expected}");
    check(r#"{"features":[1,2],"inputs":{}}"#, &both);
    check(r#"{"instances":1}"#, "\"instances\" is a number, expected an array");
    check(r#"{"inputs":[1]}"#, "\"inputs\" is an array, expected an object");
    check(r#"{"inputs":{"x":[[1,2]],"x":[[1,2]]}}"#, "input \"x\" is given twice");
    check(r#"{"instances":[{"x":[1,2],"x":[1,2]}]}"#, "input \"x\" is given twice");
    let long = format!("{{\"{}\":1}}", "y".repeat(1000));
    check(&long, &format!("unknown member \"{}…\", {expected}", "y".repeat(32)));

    let check = |body: &str, message: &str| drop(check_bad(&two(), body, InvalidBody, message));
    let sole = "\"features\" needs a model with one input, its inputs are a, b, k: use \"inputs\"";
    check(r#"{"features":[1,2]}"#, sole);
    check(
        r#"{"instances":[[1,2]]}"#,
        "\"instances\" needs a model with one input, its inputs are a, b, k: \
         use \"inputs\", or objects by input name as instances",
    );
    let scalar = "input \"k\" is one plain value for all rows: use \"inputs\"";
    check(r#"{"instances":[{"a":[1,2],"k":1}]}"#, scalar);
}

#[test]
fn tensors_that_the_model_does_not_take_are_refused() {
    use ErrorCode::InvalidInput;
    let x = one(DataType::Fp32, Some(&[-1, 2]));
    let check = |body: &str, message: &str| check_bad(&x, body, InvalidInput, message);
    check(r#"{"features":[1,2,3]}"#, "input \"x\" has shape [3] in its one row, expected [2]");
    check(r#"{"features":[1]}"#, "input \"x\" has shape [1] in its one row, expected [2]");
    check(r#"{"features":[[1,2]]}"#, "input \"x\" has shape [1, 2] in its one row, expected [2]");
    check(r#"{"features":1}"#, "input \"x\" has shape [] in its one row, expected [2]");
    check(r#"{"features":[]}"#, "input \"x\" has shape [0] in its one row, expected [2]");
    check(r#"{"features":[[[]]]}"#, "input \"x\" has shape [1, 1, 0] in its one row, expected [2]");
    check(
        r#"{"instances":[[1,2],[3]]}"#,
        "input \"x\" at [1] is ragged: expected 2 elements, got 1",
    );
    check(
        r#"{"instances":[[1,2],3]}"#,
        "input \"x\" at [1] is ragged: expected an array, got a number",
    );
    check(r#"{"instances":[1,2]}"#, "input \"x\" has shape [2], expected [-1, 2]");
    check(r#"{"instances":[]}"#, "\"instances\" is empty, expected at least one row");
    check(r#"{"inputs":{"x":[]}}"#, "input \"x\" has shape [0], expected [-1, 2]");
    let error =
        check(r#"{"inputs":{"x":[[1,2,3]]}}"#, "input \"x\" has shape [1, 3], expected [-1, 2]");
    assert_eq!(error.details.input.as_deref(), Some("x"));
    assert_eq!(error.details.expected.as_deref(), Some("[-1, 2]"));
    assert_eq!(error.details.got.as_deref(), Some("[1, 3]"));
    let rows = "the request has more than 3 rows, at most 3 are allowed";
    check(r#"{"instances":[[1,2],[1,2],[1,2],"not looked at"#, rows);
    check(r#"{"instances":[{"x":[1,2]},{"x":[1,2]},{"x":[1,2]},"not looked at"#, rows);
    check(r#"{"features":["1",2]}"#, "input \"x\" at [0]: expected a number, got a string");
    let null = "input \"x\" at [1]: expected a number, got null, which is no number: write what the model \
                takes for a missing value, or send plain bytes, which can hold NaN";
    check(r#"{"features":[1,null]}"#, null);
    check(r#"{"features":[true,2]}"#, "input \"x\" at [0]: expected a number, got a boolean");
    check(r#"{"features":[{},2]}"#, "input \"x\" at [0]: expected a number, got an object");
    check(r#"{"features":"a"}"#, "input \"x\": expected an array, got a string");
    check(r#"{"instances":[[1,2],"a"]}"#, "input \"x\" at [1]: expected an array, got a string");
    check(
        r#"{"instances":[[1,2],{"x":1}]}"#,
        "input \"x\" at [1]: expected an array, got an object",
    );
    check(r#"{"instances":[{"x":[1,2]},[1,2]]}"#, "instance 1 is an array, expected an object");
    check(r#"{"features":[1,1e400]}"#, "input \"x\" at [1]: 1e400 is out of range for FP32");
    check(
        r#"{"instances":[[1,2],[1,1e39]]}"#,
        "input \"x\" at [1, 1]: 1e39 is out of range for FP32",
    );
    check(
        r#"{"instances":[{"x":[1,2]},{"x":[1,-1e39]}]}"#,
        "input \"x\" at [1, 1]: -1e39 is out of range for FP32",
    );
    check(r#"{"inputs":{"y":[[1,2]]}}"#, "the model has no input \"y\", its inputs are x");

    let check = |body: &str, message: &str| check_bad(&two(), body, InvalidInput, message);
    let same = "all instances have the same inputs";
    let missing = format!("input \"b\" of instance 1 is missing: {same}");
    check(r#"{"instances":[{"a":[1,2],"b":1},{"a":[1,2]}]}"#, &missing);
    let extra = format!("input \"b\" of instance 1 is not in instance 0: {same}");
    check(r#"{"instances":[{"a":[1,2]},{"a":[1,2],"b":1}]}"#, &extra);
}

#[test]
fn integers_and_flags_are_exact_or_refused() {
    use ErrorCode::InvalidInput;
    let bytes = one(DataType::UInt8, Some(&[-1, 4]));
    check_good(
        &bytes,
        r#"{"features":[0,255,1.0,2e2]}"#,
        Form::One,
        &[tensor("x", &[1, 4], &[0u8, 255, 1, 200])],
    );
    let check = |body: &str, message: &str| drop(check_bad(&bytes, body, InvalidInput, message));
    check(r#"{"instances":[[0,0,0,300]]}"#, "input \"x\" at [0, 3]: 300 is out of range for UINT8");
    check(r#"{"features":[0,0,0,-1]}"#, "input \"x\" at [3]: -1 is out of range for UINT8");
    check(
        r#"{"features":[1.5,0,0,0]}"#,
        "input \"x\" at [0]: 1.5 is not an integer, as UINT8 takes",
    );
    let long = format!("{{\"features\":[{}]}}", "9".repeat(1000));
    let nines = "9".repeat(32);
    check(&long, &format!("input \"x\" at [0]: {nines}… is out of range for UINT8"));

    let big = "{\"features\":9007199254740993}";
    let expected = [tensor("x", &[1], &[9_007_199_254_740_993i64])];
    check_good(&one(DataType::Int64, Some(&[-1])), big, Form::One, &expected);
    let expected = [tensor("x", &[1], &[9_007_199_254_740_992f64])];
    check_good(&one(DataType::Fp64, Some(&[-1])), big, Form::One, &expected);

    let flags = one(DataType::Bool, Some(&[-1, 2]));
    let decoded = decode(br#"{"features":[true,false]}"#, &flags).unwrap();
    assert_eq!(decoded.inputs[0].tensor.buffer().as_bytes(), [1, 0]);
    let message = "input \"x\" at [1]: expected true or false, got a number";
    check_bad(&flags, r#"{"features":[true,1]}"#, InvalidInput, message);
}

#[test]
fn texts_are_elements_of_bytes() {
    let texts = one(DataType::Bytes, Some(&[-1, 2]));
    let rows = |bytes: &[u8], n_rows: usize| {
        let shape = Shape::from([n_rows, 2]);
        let tensor = Tensor::new(DataType::Bytes, shape, bytes.to_vec().into()).unwrap();
        [NamedTensor { name: "x".into(), tensor }]
    };
    let row = b"\x02\0\0\0\xc3\xa9\0\0\0\0";
    check_good(&texts, r#"{"features":["\u00e9",""]}"#, Form::One, &rows(row, 1));
    let two = rows(&row.repeat(2), 2);
    check_good(&texts, r#"{"instances":[["é",""],["é",""]]}"#, Form::Many, &two);
    check_good(&texts, r#"{"instances":[{"x":["é",""]},{"x":["é",""]}]}"#, Form::Many, &two);
    check_good(&texts, r#"{"inputs":{"x":[["é",""],["é",""]]}}"#, Form::Named, &two);
    let message = "input \"x\" at [1]: expected a string, got a number";
    check_bad(&texts, r#"{"features":["a",1]}"#, ErrorCode::InvalidInput, message);
    let message = "input \"x\" has shape [1] in its one row, expected [2]";
    check_bad(&texts, r#"{"features":["a"]}"#, ErrorCode::InvalidInput, message);
    let message = "the body is not valid JSON: a string with a control character, wrong escape or \
                   bad UTF-8 at byte 13";
    check_bad(&texts, r#"{"features":["\ud800",""]}"#, ErrorCode::InvalidJson, message);
}

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

#[test]
fn examples_can_be_sent() {
    let x = one(DataType::Fp32, Some(&[-1, 2]));
    assert_eq!(example(&x).as_deref(), Some(&br#"{"features":[0.0,0.0]}"#[..]));
    assert_eq!(example(&two()).as_deref(), Some(&br#"{"inputs":{"a":[[0.0,0.0]],"b":[0]}}"#[..]));
    for spec in [x, two(), one(DataType::Bool, Some(&[-1, 2, -1]))] {
        decode(&example(&spec).unwrap(), &spec).unwrap();
    }
    assert_eq!(example(&one(DataType::Fp32, None)), None);
    assert_eq!(example(&one(DataType::Fp32, Some(&[-1, 3, 224, 224]))), None);
}
