//! What a request wants of its answer, and what it gets.

use super::*;
use crate::inference::{AnswerForm, Batching, InferResponse};
use crate::protocol::testing::tensor;
use half::f16;
use std::sync::Arc;
use std::time::Duration;

/// The plan and timeout of a request with these members beside its inputs.
fn plan(spec: &ModelSpec, members: &str) -> Result<(Plan, Option<Duration>), InferError> {
    let body = format!("{{{members},\"inputs\":[]}}");
    decode(body.into_bytes().into(), None, spec).map(|decoded| (decoded.plan, decoded.timeout))
}

#[test]
fn parameters_of_a_request_mean_what_they_say_or_nothing() {
    let x = pairs();
    let none = || plan(&x, "\"a\":1").unwrap();
    let wish = |parameters: &str| plan(&x, &format!("\"parameters\":{parameters}"));
    for parameters in [
        "{}",
        "null",
        r#"{"timeout":0,"priority":3,"binary_data_output":false}"#,
        r#"{"sequence_id":0,"sequence_start":false,"sequence_end":false}"#,
        r#"{"sequence_id":""}"#,
        r#"{"triton_enable_empty_final_response":true,"headers":"a","custom":-1.5e3}"#,
    ] {
        assert_eq!(wish(parameters), Ok(none()), "{parameters}");
    }
    assert_eq!(wish(r#"{"timeout":1500}"#), Ok((none().0, Some(Duration::from_micros(1500)))));
    assert!(wish(r#"{"binary_data_output":true}"#).unwrap().0.binary);
    assert_eq!(plan(&x, r#""id":"a\"b""#).unwrap().0.id(), Some("a\"b"));
    for (parameters, key) in [
        (r#"{"sequence_id":7}"#, "sequence_id"),
        (r#"{"sequence_id":"a"}"#, "sequence_id"),
        (r#"{"sequence_start":true}"#, "sequence_start"),
        (r#"{"sequence_end":true}"#, "sequence_end"),
    ] {
        let error = wish(parameters).unwrap_err();
        let message = format!(
            "parameter {key:?} of the request is not supported: models keep no state between requests"
        );
        assert_eq!((error.code, &*error.message), (ErrorCode::Unsupported, &*message));
    }
    for (parameters, message) in [
        (
            r#"{"timeout":-1}"#,
            "parameter \"timeout\" of the request is -1, expected an integer from 0 up",
        ),
        (
            r#"{"binary_data_output":1}"#,
            "parameter \"binary_data_output\" of the request is 1, expected true or false",
        ),
        (
            r#"{"custom":{}}"#,
            "parameter \"custom\" of the request is an object, expected a string, a number or a boolean",
        ),
    ] {
        let error = wish(parameters).unwrap_err();
        assert_eq!((error.code, &*error.message), (ErrorCode::InvalidBody, message));
    }
}

#[test]
fn outputs_that_cannot_be_had_are_refused() {
    let known = pairs();
    let check = |outputs: &str, code: ErrorCode, message: &str| {
        let error = plan(&known, &format!("\"outputs\":{outputs}")).unwrap_err();
        assert_eq!((error.code, &*error.message), (code, message), "{outputs}");
    };
    use ErrorCode::{InvalidBody, InvalidInput, Unsupported};
    check(r#"[{"name":"w"}]"#, InvalidInput, "the model has no output \"w\", its outputs are y, z");
    check(r#"[{"name":"y"},{"name":"y"}]"#, InvalidBody, "output \"y\" is asked for twice");
    check(r#"[{}]"#, InvalidBody, "output 0 has no \"name\"");
    check(r#"[{"name":null}]"#, InvalidBody, "\"name\" of output 0 is null, expected a string");
    check(r#"["y"]"#, InvalidBody, "output 0 is a string, expected an object");
    check(
        r#"[{"name":"y","name":"y"}]"#,
        InvalidBody,
        "member \"name\" of output 0 is given twice",
    );
    let check = |parameters: &str, code: ErrorCode, message: &str| {
        check(&format!(r#"[{{"parameters":{parameters},"name":"y"}}]"#), code, message);
    };
    let classes = |got: &str| {
        format!(
            "parameter \"classification\" of output \"y\" is {got}, expected an integer from 1 up"
        )
    };
    check(r#"{"classification":0}"#, InvalidBody, &classes("0"));
    check(r#"{"classification":-2}"#, InvalidBody, &classes("-2"));
    check(r#"{"classification":"a"}"#, InvalidBody, &classes("a string"));
    let message = "parameter \"binary_data\" of output \"y\" is a string, expected true or false";
    check(r#"{"binary_data":"true"}"#, InvalidBody, message);
    let message = "parameter \"shared_memory_region\" of output \"y\" is not supported: \
                   no memory is shared with clients";
    check(r#"{"shared_memory_region":"r"}"#, Unsupported, message);

    // Where the model's outputs are not known, their number and names are bounded all the same.
    let unknown = ModelSpec { outputs: vec![], ..known.clone() };
    let names: Vec<_> = (0..1025).map(|n| format!("{{\"name\":\"{n}\"}}")).collect();
    let error = plan(&unknown, &format!("\"outputs\":[{}]", names.join(","))).unwrap_err();
    assert_eq!(error.message, "more than 1024 outputs are asked for");
    let long = format!("\"outputs\":[{{\"name\":\"{}\"}}]", "n".repeat(1025));
    assert_eq!(plan(&unknown, &long).unwrap_err().code, InvalidInput);
}

fn response(outputs: Vec<NamedTensor>, n_rows: usize) -> InferResponse {
    crate::protocol::testing::response(outputs, n_rows, None)
}

fn two_outputs() -> InferResponse {
    let y = tensor("y", &[2, 3], &[0.5f32, f32::NAN, 2.0, 1.0, 1.0, -1.0]);
    response(vec![y, tensor("z", &[2], &[1u8, 2])], 2)
}

/// The JSON and the bytes behind it of the answer to a request with these members.
#[track_caller]
fn answer(members: &str, labels: &[&str]) -> (String, Option<Vec<u8>>) {
    let (plan, _) = plan(&pairs(), members).unwrap();
    let labels: Vec<Arc<str>> = labels.iter().map(|&label| label.into()).collect();
    let InferBody { mut bytes, json_len } = encode(&two_outputs(), &plan, &labels).unwrap();
    let tail = json_len.map(|len| bytes.split_off(len));
    let json = String::from_utf8(bytes).unwrap();
    serde_json::from_str::<serde_json::Value>(&json).expect("an answer is valid JSON");
    (json, tail)
}

#[track_caller]
fn check_answer(members: &str, outputs: &str, tail: Option<&[u8]>) {
    let (json, bytes) = answer(members, &["a", "b"]);
    let head = r#"{"model_name":"m","model_version":"2","outputs":"#;
    assert_eq!(json, format!("{head}{outputs}}}"), "{members}");
    assert_eq!(bytes.as_deref(), tail, "{members}");
}

#[test]
fn answers_are_what_the_request_asks_for() {
    let y = r#"{"name":"y","datatype":"FP32","shape":[2,3],"data":[0.5,null,2.0,1.0,1.0,-1.0]}"#;
    let z = r#"{"name":"z","datatype":"UINT8","shape":[2],"data":[1,2]}"#;
    let binary_y =
        r#"{"name":"y","datatype":"FP32","shape":[2,3],"parameters":{"binary_data_size":24}}"#;
    let binary_z =
        r#"{"name":"z","datatype":"UINT8","shape":[2],"parameters":{"binary_data_size":2}}"#;
    let y_bytes = bytemuck::cast_slice::<f32, u8>(&[0.5, f32::NAN, 2.0, 1.0, 1.0, -1.0]).to_vec();
    let both = [&y_bytes[..], &[1, 2]].concat();

    check_answer(r#""a":1"#, &format!("[{y},{z}]"), None);
    check_answer(r#""outputs":[]"#, &format!("[{y},{z}]"), None);
    check_answer(r#""outputs":[{"name":"z"},{"name":"y"}]"#, &format!("[{z},{y}]"), None);
    let wish = r#""parameters":{"binary_data_output":true}"#;
    check_answer(wish, &format!("[{binary_y},{binary_z}]"), Some(&both));
    let wish = r#""outputs":[{"name":"z","parameters":{"binary_data":true}},{"name":"y"}]"#;
    check_answer(wish, &format!("[{binary_z},{y}]"), Some(&[1, 2]));
    let wish = r#""outputs":[{"name":"z","parameters":{"binary_data":false}},{"name":"y"}],"parameters":{"binary_data_output":true}"#;
    check_answer(wish, &format!("[{z},{binary_y}]"), Some(&y_bytes));

    let (json, _) = answer(r#""id":"a\"é","outputs":[{"name":"z"}]"#, &[]);
    assert_eq!(
        json,
        format!(r#"{{"id":"a\"é","model_name":"m","model_version":"2","outputs":[{z}]}}"#)
    );
    let scalar = response(vec![tensor("s", &[], &[7i64]), tensor::<f32>("e", &[1, 0], &[])], 1);
    let json = encode(&scalar, &Plan::default(), &[]).unwrap().bytes;
    let outputs = r#"[{"name":"s","datatype":"INT64","shape":[],"data":[7]},{"name":"e","datatype":"FP32","shape":[1,0],"data":[]}]"#;
    assert!(String::from_utf8(json).unwrap().ends_with(&format!("{outputs}}}")));

    // An output that only the answer shows to be missing.
    let unknown = ModelSpec { outputs: vec![], ..pairs() };
    let (plan, _) = plan(&unknown, r#""outputs":[{"name":"w"}]"#).unwrap();
    let error = encode(&two_outputs(), &plan, &[]).unwrap_err();
    assert_eq!(error.message, "the model has no output \"w\", its outputs are y, z");
    assert_eq!(error.code, ErrorCode::InvalidInput);
}

#[test]
fn classes_are_the_highest_values_of_each_row() {
    let ask = |name: &str, more: &str| {
        format!(r#""outputs":[{{"name":"{name}","parameters":{{{more}}}}}]"#)
    };
    let classes = |k: usize, data: &str| {
        format!(r#"[{{"name":"y","datatype":"BYTES","shape":[2,{k}],"data":[{data}]}}]"#)
    };
    check_answer(&ask("y", r#""classification":1"#), &classes(1, r#""2.0:2","1.0:0:a""#), None);
    let two = r#""2.0:2","0.5:0:a","1.0:0:a","1.0:1:b""#;
    check_answer(&ask("y", r#""classification":2"#), &classes(2, two), None);
    let all = r#""2.0:2","0.5:0:a","nan:1:b","1.0:0:a","1.0:1:b","-1.0:2""#;
    check_answer(&ask("y", r#""classification":1000"#), &classes(3, all), None);
    // The labels are those of the first output.
    let z = r#"[{"name":"z","datatype":"BYTES","shape":[2,1],"data":["1:0","2:0"]}]"#;
    check_answer(&ask("z", r#""classification":18446744073709551615"#), z, None);
    let head =
        r#"[{"name":"y","datatype":"BYTES","shape":[2,1],"parameters":{"binary_data_size":20}}]"#;
    let wish = ask("y", r#""classification":1,"binary_data":true"#);
    check_answer(&wish, head, Some(b"\x05\0\0\x002.0:2\x07\0\0\x001.0:0:a"));
}

#[test]
fn classes_of_models_that_do_not_batch_are_of_rows_only_where_there_are_rows() {
    let alone = ModelSpec { batching: Batching::Off, outputs: vec![], ..pairs() };
    let (plan, _) =
        plan(&alone, r#""outputs":[{"name":"y","parameters":{"classification":2}}]"#).unwrap();
    let shape = |y: NamedTensor, n_rows: usize| {
        let has_rows = y.tensor.shape().rank() > 1;
        let mut response = response(vec![y], n_rows);
        // As the load found it, whatever this answer looks like.
        response.layout.form = if has_rows { AnswerForm::Rows } else { AnswerForm::Whole };
        let bytes = encode(&response, &plan, &[]).unwrap().bytes;
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        (json["outputs"][0]["shape"].to_string(), json["outputs"][0]["data"].to_string())
    };
    let expected = |shape: &str, data: &str| (shape.to_owned(), data.to_owned());
    let infinite = [f64::NEG_INFINITY, f64::INFINITY, 0.1];
    assert_eq!(shape(tensor("y", &[3], &infinite), 3), expected("[2]", r#"["inf:1","0.1:2"]"#));
    let half = [f16::from_f32(-0.0), f16::from_f32(0.0)];
    assert_eq!(shape(tensor("y", &[1, 2], &half), 1), expected("[1,2]", r#"["-0.0:0","0.0:1"]"#));
    assert_eq!(shape(tensor::<i8>("y", &[0], &[]), 1), expected("[0]", "[]"));
    assert_eq!(shape(tensor::<i8>("y", &[2, 0], &[]), 2), expected("[2,0]", "[]"));
    let texts = response(vec![bytes("y", DataType::Bytes, &[1], b"\0\0\0\0")], 1);
    let error = encode(&texts, &plan, &[]).unwrap_err();
    assert_eq!(error.message, "output \"y\" is of BYTES, which has no classes");
}
