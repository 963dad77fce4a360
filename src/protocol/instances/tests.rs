//! What clients send and get, as text.

use super::*;
use crate::inference::{ErrorCode, ModelSpec, NamedTensor};
use crate::protocol::testing::{RowLabel, one, response, tensor, texts, two};
use crate::tensor::DataType;

#[track_caller]
fn check_good(spec: &ModelSpec, body: &str, form: Form, expected: &[NamedTensor]) {
    let decoded = decode(body.as_bytes(), spec).unwrap();
    assert_eq!((decoded.plan, &decoded.inputs[..]), (form, expected), "{body}");
}

#[track_caller]
fn check_bad(spec: &ModelSpec, body: &str, code: ErrorCode, message: &str) {
    let error = decode(body.as_bytes(), spec).unwrap_err();
    assert_eq!((error.code, &*error.message), (code, message), "{body}");
}

#[test]
fn rows_and_columns_are_read() {
    let x = one(DataType::Fp32, Some(&[-1, 2]));
    let rows = [tensor("x", &[2, 2], &[1f32, 2.5, -3.0, 1e3])];
    check_good(&x, r#"{"instances":[[1,2.5],[-3,1e3]]}"#, Form::Many, &rows);
    check_good(&x, r#"{"instances":[{"x":[1,2.5]},{"x":[-3,1e3]}]}"#, Form::Many, &rows);
    check_good(&x, r#"{"inputs":[[1,2.5],[-3,1e3]]}"#, Form::Named, &rows);
    check_good(&x, r#"{"inputs":{"x":[[1,2.5],[-3,1e3]]}}"#, Form::Named, &rows);
    let scalar = one(DataType::Fp64, Some(&[]));
    check_good(&scalar, r#"{"inputs":7}"#, Form::Named, &[tensor("x", &[], &[7f64])]);

    let a = tensor("a", &[2, 2], &[1f32, 2.0, 3.0, 4.0]);
    let b = tensor("b", &[2], &[5i64, 6]);
    let named = [a, b];
    check_good(&two(), r#"{"inputs":{"a":[[1,2],[3,4]],"b":[5,6]}}"#, Form::Named, &named);
    let body = r#"{"instances":[{"a":[1,2],"b":5},{"b":6,"a":[3,4]}]}"#;
    check_good(&two(), body, Form::Many, &named);
}

#[test]
fn other_members_are_stepped_over_and_signatures_checked() {
    let x = one(DataType::Int64, Some(&[-1]));
    let seven = [tensor("x", &[1], &[7i64])];
    for body in [
        r#"{"signature_name":"serving_default","instances":[7]}"#,
        r#"{"instances":[7],"signature_name":""}"#,
        r#"{"parameters":{"a":[1,{"b":null}],"c":NaN},"id":"7","instances":[7]}"#,
        r#"{"instances":[7],"features":[[]]}"#,
    ] {
        check_good(&x, body, Form::Many, &seven);
    }
    use ErrorCode::InvalidBody;
    let check = |body: &str, message: &str| check_bad(&x, body, InvalidBody, message);
    check(
        r#"{"signature_name":"other","instances":[7]}"#,
        r#"the model has no signature "other", expected "serving_default""#,
    );
    check(
        r#"{"signature_name":null,"instances":[7]}"#,
        "\"signature_name\" is null, expected a string",
    );
}

#[test]
fn words_for_what_is_not_finite_are_read() {
    let x = one(DataType::Fp32, Some(&[-1, 3]));
    let (nan, infinity) = (f32::NAN, f32::INFINITY);
    let expected = [tensor("x", &[1, 3], &[nan, infinity, -infinity])];
    check_good(&x, r#"{"instances":[[NaN, Infinity,-Infinity]]}"#, Form::Many, &expected);
    let half = one(DataType::Fp16, Some(&[-1]));
    let expected = [tensor("x", &[1], &[half::f16::NEG_INFINITY])];
    check_good(&half, r#"{"inputs":[-Infinity]}"#, Form::Named, &expected);
    let integers = one(DataType::Int64, Some(&[-1]));
    let message = "input \"x\" at [0]: NaN is not an integer, as INT64 takes";
    check_bad(&integers, r#"{"inputs":[NaN]}"#, ErrorCode::InvalidInput, message);
    let message = "input \"x\" at [0]: 1e39 is out of range for FP32";
    let floats = one(DataType::Fp32, Some(&[-1]));
    check_bad(&floats, r#"{"inputs":[1e39]}"#, ErrorCode::InvalidInput, message);
    for body in ["{\"inputs\":[nan]}", "{\"inputs\":[Inf]}", "{\"inputs\":[-Inf]}"] {
        let error = decode(body.as_bytes(), &floats).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidJson, "{body}");
    }
}

#[test]
fn bytes_are_texts_or_base64() {
    let x = one(DataType::Bytes, Some(&[-1]));
    let two_texts = [texts("x", &[2], &[b"ab", b"\xff"])];
    check_good(&x, r#"{"instances":["ab",{"b64":"/w=="}]}"#, Form::Many, &two_texts);
    check_good(&x, r#"{"instances":[{"b64":"YWI="},{"b64":"/w"}]}"#, Form::Many, &two_texts);
    check_good(&x, r#"{"instances":[{"x":"ab"},{"x":{"b64":"/w"}}]}"#, Form::Many, &two_texts);
    check_good(&x, r#"{"inputs":["ab",{ "b64" : "/w==" }]}"#, Form::Named, &two_texts);
    check_good(&x, r#"{"inputs":{"x":["ab",{"b64":"/w=="}]}}"#, Form::Named, &two_texts);
    let scalar = one(DataType::Bytes, Some(&[]));
    let expected = [texts("x", &[], &[b"ab"])];
    check_good(&scalar, r#"{"inputs":{"b64":"YWI="}}"#, Form::Named, &expected);
    let check = |body: &str, message: &str| check_bad(&x, body, ErrorCode::InvalidInput, message);
    let message = "input \"x\" at [0]: expected base64, got another text";
    check(r#"{"inputs":[{"b64":"%"}]}"#, message);
    let message = "input \"x\" at [0]: expected \"b64\" alone in its object, got another member";
    check(r#"{"inputs":[{"b64":"YWI=","a":1}]}"#, message);
    check(r#"{"inputs":[{"a":1}]}"#, "input \"x\" at [0]: expected a string, got an object");
    let floats = one(DataType::Fp32, Some(&[-1]));
    let message = "input \"x\" at [0]: expected a number, got an object";
    check_bad(&floats, r#"{"inputs":[{"b64":"YWI="}]}"#, ErrorCode::InvalidInput, message);
}

#[test]
fn bodies_of_another_form_are_refused() {
    use ErrorCode::{InvalidBody, InvalidInput};
    let x = one(DataType::Fp32, Some(&[-1, 2]));
    let expected = "expected exactly one of \"instances\", \"inputs\"";
    let check = |body: &str, message: &str| check_bad(&x, body, InvalidBody, message);
    check("[1,2]", "the body is an array, expected an object");
    check("NaN", "the body is a number, expected an object");
    check("{}", &format!("the body has neither, {expected}"));
    check(r#"{"features":[1,2]}"#, &format!("the body has neither, {expected}"));
    let twice = format!("member \"inputs\" is given twice, {expected}");
    check(r#"{"inputs":[[1,2]],"inputs":[[1,2]]}"#, &twice);
    let both = format!("the body has both \"inputs\" and \"instances\", {expected}");
    check(r#"{"instances":[[1,2]],"inputs":[[1,2]]}"#, &both);
    check(r#"{"inputs":[[1,2]],"instances":[[1,2]]}"#, &both);
    check(r#"{"instances":{"x":[1,2]}}"#, "\"instances\" is an object, expected an array");
    let message = "\"inputs\" without names needs a model with one input, its inputs are a, b, k: \
                   give an object by input name";
    check_bad(&two(), r#"{"inputs":[[1,2]]}"#, InvalidBody, message);
    let check = |body: &str, message: &str| check_bad(&x, body, InvalidInput, message);
    check(r#"{"instances":[]}"#, "\"instances\" is empty, expected at least one row");
    check(r#"{"inputs":{"y":[[1,2]]}}"#, "the model has no input \"y\", its inputs are x");
    check(r#"{"instances":[[1,2,3]]}"#, "input \"x\" has shape [1, 3], expected [-1, 2]");
    for body in ["{", r#"{"instances":[[1,2]]"#, r#"{"instances":[[1,2]]}}"#, "{\"a\":[}}"] {
        let error = decode(body.as_bytes(), &x).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidJson, "{body}: {error}");
    }
}

#[track_caller]
fn check_answer(outputs: Vec<NamedTensor>, n_rows: usize, form: Form, expected: &str) {
    let labels = RowLabel { label: "a".into(), score: 1.0, top: vec![("a".into(), 1.0)] };
    let response = response(outputs, n_rows, Some(vec![labels; n_rows]));
    assert_eq!(String::from_utf8(encode(&response, form)).unwrap(), expected);
}

#[test]
fn answers_hold_outputs_alone() {
    let single = || vec![tensor("y", &[2, 1], &[0.5f32, 2.0])];
    check_answer(single(), 2, Form::Many, r#"{"predictions":[[0.5],[2.0]]}"#);
    check_answer(single(), 2, Form::Named, r#"{"outputs":[[0.5],[2.0]]}"#);
    let several = || vec![tensor("a", &[2], &[1i64, 2]), tensor("b", &[2, 1], &[0.5f64, f64::NAN])];
    let expected = r#"{"predictions":[{"a":1,"b":[0.5]},{"a":2,"b":[NaN]}]}"#;
    check_answer(several(), 2, Form::Many, expected);
    check_answer(several(), 2, Form::Named, r#"{"outputs":{"a":[1,2],"b":[[0.5],[NaN]]}}"#);
    let infinite = vec![tensor("y", &[2], &[f32::INFINITY, f32::NEG_INFINITY])];
    check_answer(infinite, 2, Form::Many, r#"{"predictions":[Infinity,-Infinity]}"#);
    let bytes = || vec![texts("y_bytes", &[1], &[b"ab"]), texts("z", &[1], &[b"ab"])];
    let expected = r#"{"predictions":[{"y_bytes":{"b64":"YWI="},"z":"ab"}]}"#;
    check_answer(bytes(), 1, Form::Many, expected);
    let whole = vec![tensor("y", &[3], &[1u8, 2, 3])];
    check_answer(whole, 2, Form::Many, r#"{"predictions":[1,2,3]}"#);
}
