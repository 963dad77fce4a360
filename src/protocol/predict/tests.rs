//! What clients send and get, as text.

mod answers;

use super::*;
use crate::inference::NamedTensor;
use crate::inference::{ErrorCode, InferError, ModelSpec, Parameters};
use crate::protocol::testing::{one, tensor, two};
use crate::tensor::{DataType, Shape, Tensor};

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

#[test]
fn parameters_stand_beside_the_rows() {
    let x = one(DataType::Fp32, Some(&[-1, 2]));
    let read = |body: &str| decode(body.as_bytes(), &x).map(|decoded| decoded.parameters);
    for body in [
        r#"{"features":[1,2],"parameters":{"top_k":3,"threshold":0.25}}"#,
        r#"{"parameters":{"threshold":2.5e-1,"top_k":3},"features":[1,2]}"#,
    ] {
        let expected = Parameters { top_k: Some(3), threshold: Some(0.25) };
        assert_eq!(read(body).unwrap(), expected, "{body}");
    }
    assert!(read(r#"{"features":[1,2],"parameters":null}"#).unwrap().is_empty());
    let check = |parameters: &str, message: &str| {
        let body = format!("{{\"features\":[1,2],\"parameters\":{parameters}}}");
        check_bad(&x, &body, ErrorCode::InvalidBody, message);
    };
    check("1", "\"parameters\" of the request is a number, expected an object");
    check(r#"{"top":1}"#, "unknown parameter \"top\", expected \"top_k\" or \"threshold\"");
    for got in ["0", "101", "1.5", "-1", "1e99"] {
        let message =
            format!("parameter \"top_k\" of the request is {got}, expected an integer from 1");
        let body = format!("{{\"features\":[1,2],\"parameters\":{{\"top_k\":{got}}}}}");
        let error = decode(body.as_bytes(), &x).unwrap_err();
        assert!(error.message.starts_with(&message), "{error}");
    }
    check(
        r#"{"threshold":"a"}"#,
        "parameter \"threshold\" of the request is a string, expected a number",
    );
    check(
        r#"{"threshold":1e999}"#,
        "parameter \"threshold\" of the request is 1e999, expected a number",
    );
    let error = decode(br#"{"parameters":{"top_k":1}}"#, &x).unwrap_err();
    assert!(error.message.starts_with("the body has only \"parameters\", expected"), "{error}");
}
