//! What clients send and get, as text and bytes.

use super::*;
use crate::inference::{Batching, ErrorCode, InferError, InferResponse, ModelSpec, NamedTensor};
use crate::inference::{TensorSpec, Timings, Version};
use crate::tensor::{Buffer, DataType, Element, Shape, ShapePattern, Tensor};
use half::{bf16, f16};
use std::sync::Arc;
use std::time::Duration;

fn input(name: &str, datatype: DataType, shape: Option<&[i64]>) -> TensorSpec {
    let shape =
        shape.map_or(ShapePattern::Unknown, |shape| ShapePattern::from_wire(shape).unwrap());
    TensorSpec { name: name.into(), datatype, shape, optional: false }
}

fn spec(inputs: Vec<TensorSpec>, outputs: &[&str]) -> ModelSpec {
    let output = |name: &&str| input(name, DataType::Fp32, Some(&[-1, 3]));
    let outputs = outputs.iter().map(output).collect();
    ModelSpec { inputs, outputs, batching: Batching::Safe, max_rows: 3 }
}

fn one(datatype: DataType, shape: Option<&[i64]>) -> ModelSpec {
    spec(vec![input("x", datatype, shape)], &["y", "z"])
}

fn pairs() -> ModelSpec {
    one(DataType::Fp32, Some(&[-1, 2]))
}

fn two() -> ModelSpec {
    let a = input("a", DataType::Fp32, Some(&[-1, 2]));
    spec(vec![a, input("b", DataType::UInt8, Some(&[-1]))], &["y"])
}

fn tensor<T: Element>(name: &str, dims: &[usize], values: &[T]) -> NamedTensor {
    let tensor = Tensor::from_vec(Shape::new(dims.to_vec()), values.to_vec()).unwrap();
    NamedTensor { name: name.into(), tensor }
}

fn bytes(name: &str, datatype: DataType, dims: &[usize], bytes: &[u8]) -> NamedTensor {
    let shape = Shape::new(dims.to_vec());
    let tensor = Tensor::new(datatype, shape, bytes.to_vec().into()).unwrap();
    NamedTensor { name: name.into(), tensor }
}

/// A request of one input that is written with these members.
fn with(members: &str) -> String {
    format!(r#"{{"inputs":[{{{members}}}]}}"#)
}

#[track_caller]
fn check_json(spec: &ModelSpec, body: &str, expected: &[NamedTensor]) {
    let decoded = decode(body.as_bytes().to_vec().into(), None, spec).unwrap();
    assert_eq!(decoded.inputs, expected, "{body}");
}

#[track_caller]
fn check_bad(spec: &ModelSpec, body: &str, code: ErrorCode, message: &str) -> InferError {
    let error = decode(body.as_bytes().to_vec().into(), None, spec).unwrap_err();
    assert_eq!((error.code, &*error.message), (code, message), "{body}");
    error
}

/// A body with bytes behind its JSON.
fn binary(json: &str, tail: &[u8]) -> (Buffer, Option<usize>) {
    ([json.as_bytes(), tail].concat().into(), Some(json.len()))
}

#[track_caller]
fn check_bad_binary(spec: &ModelSpec, json: &str, tail: &[u8], expected: (ErrorCode, &str)) {
    let (body, json_len) = binary(json, tail);
    let error = decode(body, json_len, spec).unwrap_err();
    assert_eq!((error.code, &*error.message), expected, "{json}");
}

#[test]
fn values_are_nested_or_flat_and_members_come_in_any_order() {
    let x = pairs();
    let expected = [tensor("x", &[2, 2], &[1f32, 2.5, -3.0, 1e3])];
    let head = r#""name":"x","datatype":"FP32","shape":[2,2]"#;
    check_json(&x, &with(&format!(r#"{head},"data":[[1,2.5],[-3,1e3]]"#)), &expected);
    check_json(&x, &with(&format!(r#"{head},"data":[1,2.5,-3,1e3]"#)), &expected);
    check_json(&x, &with(&format!(r#""data":[1,2.5,-3,1e3],{head}"#)), &expected);
    check_json(
        &x,
        &with(&format!(r#""parameters":{{}},"data":[[1,2.5],[-3,1e3]],{head}"#)),
        &expected,
    );
    let spread = r#" { "model_name" : "m", "outputs" : null , "inputs" : [ { "shape" : [ 2 , 2.0 ] ,
        "more" : {"a":[1,{}]} , "datatype" : "FP32" , "data" : [ 1 , 2.5 , -3 , 1e3 ] , "name" : "x" ,
        "parameters" : { "a" : "b", "c" : -1.5, "d" : true } } ] , "id" : null , "parameters" : null } "#;
    check_json(&x, spread, &expected);

    let both = r#"{"inputs":[
        {"name":"b","shape":[1],"datatype":"UINT8","data":[7]},
        {"name":"a","shape":[1,2],"datatype":"FP32","data":[1,2]}]}"#;
    check_json(&two(), both, &[tensor("b", &[1], &[7u8]), tensor("a", &[1, 2], &[1f32, 2.0])]);
    check_json(&two(), r#"{"inputs":[]}"#, &[]);
}

#[test]
fn every_datatype_is_read() {
    let check = |datatype: DataType, data: &str, expected: NamedTensor| {
        let dims = expected.tensor.shape().clone();
        let body =
            with(&format!(r#""name":"x","datatype":"{datatype}","shape":{dims},"data":{data}"#));
        check_json(&one(datatype, None), &body, &[expected]);
    };
    check(DataType::Bool, "[true,false]", bytes("x", DataType::Bool, &[2], &[1, 0]));
    check(DataType::UInt8, "[0,255]", tensor("x", &[2], &[0u8, 255]));
    check(DataType::UInt16, "[65535]", tensor("x", &[1], &[65535u16]));
    check(DataType::UInt32, "[4294967295]", tensor("x", &[1], &[u32::MAX]));
    check(DataType::UInt64, "[18446744073709551615]", tensor("x", &[1], &[u64::MAX]));
    check(DataType::Int8, "[-128]", tensor("x", &[1], &[-128i8]));
    check(DataType::Int16, "[[-32768]]", tensor("x", &[1, 1], &[i16::MIN]));
    check(DataType::Int32, "[2147483647]", tensor("x", &[1], &[i32::MAX]));
    check(DataType::Int64, "[9007199254740993]", tensor("x", &[1], &[(1i64 << 53) + 1]));
    check(
        DataType::Fp16,
        "[0.1,-2]",
        tensor("x", &[2], &[f16::from_f32(0.1), f16::from_f32(-2.0)]),
    );
    check(DataType::Bf16, "[0.1]", tensor("x", &[1], &[bf16::from_f32(0.1)]));
    check(DataType::Fp32, "[0.1]", tensor("x", &[1], &[0.1f32]));
    check(DataType::Fp64, "0.1", tensor("x", &[], &[0.1f64]));
    check(DataType::Fp64, "[0.1]", tensor("x", &[], &[0.1f64]));
    let texts = b"\x02\0\0\0\xc3\xa9\0\0\0\0\x01\0\0\0\"";
    check(DataType::Bytes, r#"["é","","\""]"#, bytes("x", DataType::Bytes, &[3], texts));
    check(DataType::Bytes, r#"["\u00e9","","\""]"#, bytes("x", DataType::Bytes, &[1, 3], texts));
    check(DataType::Bytes, r#"[["é"],[""],["\""]]"#, bytes("x", DataType::Bytes, &[3, 1], texts));
    check(DataType::Bytes, r#""é""#, bytes("x", DataType::Bytes, &[], &texts[..6]));
}

#[test]
fn values_of_another_type_or_number_are_refused() {
    let check = |datatype: &str, shape: &str, data: &str, message: &str| {
        let spec = one(datatype.parse().unwrap(), None);
        let members = [
            format!(r#""name":"x","datatype":"{datatype}","shape":{shape},"data":{data}"#),
            format!(r#""data":{data},"name":"x","datatype":"{datatype}","shape":{shape}"#),
        ];
        for members in members {
            check_bad(&spec, &with(&members), ErrorCode::InvalidInput, message);
        }
    };
    check("UINT8", "[2]", "[1,300]", "input \"x\" at [1]: 300 is out of range for UINT8");
    check("UINT8", "[2,1]", "[1,-1]", "input \"x\" at [1]: -1 is out of range for UINT8");
    check(
        "INT64",
        "[1,1]",
        "[[1.5]]",
        "input \"x\" at [0, 0]: 1.5 is not an integer, as INT64 takes",
    );
    check("FP16", "[1]", "[70000]", "input \"x\" at [0]: 70000 is out of range for FP16");
    check("FP32", "[2]", "[1,null]", "input \"x\" at [1]: expected a number, got null");
    check("FP32", "[1]", "[\"1\"]", "input \"x\" at [0]: expected a number, got a string");
    check("BOOL", "[1]", "[1]", "input \"x\" at [0]: expected true or false, got a number");
    check("BYTES", "[1]", "[1]", "input \"x\" at [0]: expected a string, got a number");
    check("FP32", "[1]", "{}", "input \"x\": expected an array, got an object");
    check("FP32", "[1]", "null", "input \"x\": expected an array, got null");
    let count = |got: usize| {
        format!("the data of input \"x\" has {got} elements, expected 4 for shape [2, 2]")
    };
    check("FP32", "[2,2]", "[1,2,3]", &count(3));
    check("FP32", "[2,2]", "[1,2,3,4,5]", &count(5));
    check("FP32", "[2,2]", "[]", &count(0));
    check("FP32", "[2]", "[1]", "the data of input \"x\" has 1 elements, expected 2 for shape [2]");
    check("FP32", "[2,2]", "[[1,2]]", "the data of input \"x\" has shape [1, 2], expected [2, 2]");
    check("FP32", "[3]", "[[1,2],[3,4]]", "the data of input \"x\" has shape [2, 2], expected [3]");
    check(
        "FP32",
        "[1,2]",
        "[[[1,2]]]",
        "the data of input \"x\" has shape [1, 1, 2], expected [1, 2]",
    );
    check("FP32", "[1]", "7", "the data of input \"x\" has shape [], expected [1]");
    check(
        "FP32",
        "[2,2]",
        "[[1,2],[3]]",
        "input \"x\" at [1] is ragged: expected 2 elements, got 1",
    );
    check(
        "FP32",
        "[2,2]",
        "[1,2,[3,4]]",
        "input \"x\" at [2] is ragged: expected a number, got an array",
    );
}

#[test]
fn datatypes_and_shapes_that_the_model_does_not_take_are_refused() {
    let check = |spec: &ModelSpec, datatype: &str, shape: &str, message: &str| {
        // The values are not looked at.
        let members = format!(r#""name":"x","datatype":{datatype},"shape":{shape},"data":[oops"#);
        check_bad(spec, &with(&members), ErrorCode::InvalidInput, message)
    };
    let x = pairs();
    let error = check(&x, "\"FP64\"", "[1,2]", "input \"x\" has datatype FP64, expected FP32");
    assert_eq!(error.details.input.as_deref(), Some("x"));
    assert_eq!(error.details.expected.as_deref(), Some("FP32"));
    assert_eq!(error.details.got.as_deref(), Some("FP64"));
    check(&x, "\"float\"", "[1,2]", "input \"x\" has datatype \"float\", expected FP32");
    let check = |shape: &str, message: &str| drop(check(&x, "\"FP32\"", shape, message));
    check("[1,3]", "input \"x\" has shape [1, 3], expected [-1, 2]");
    check("[2]", "input \"x\" has shape [2], expected [-1, 2]");
    check("[]", "input \"x\" has shape [], expected [-1, 2]");
    check("[0,2]", "input \"x\" has shape [0, 2], expected [-1, 2]");
    check("[4,2]", "the request has 4 rows, at most 3 are allowed");
    check(
        "[18446744073709551615,2]",
        "the request has 18446744073709551615 rows, at most 3 are allowed",
    );
    let size = |axis: usize, got: &str| {
        format!("the shape of input \"x\" at [{axis}]: expected a size, got {got}")
    };
    check("[-1,2]", &size(0, "-1"));
    check("[1,2.5]", &size(1, "2.5"));
    check("[1e30,2]", &size(0, "1e30"));
    check("[18446744073709551616,2]", &size(0, "18446744073709551616"));
    check("[1,\"2\"]", &size(1, "a string"));
    check("[1,[2]]", &size(1, "an array"));
    check("[1,null]", &size(1, "null"));
    check("2", "the shape of input \"x\" is a number, expected an array of sizes");
    check("null", "the shape of input \"x\" is null, expected an array of sizes");
    let many = format!("[{}1]", "1,".repeat(32));
    check(&many, "the shape of input \"x\" has more than 32 dimensions");
    let endless = format!("[{}", "1,".repeat(100_000));
    check_bad(
        &x,
        &with(&format!(r#""name":"x","datatype":"FP32","data":[1],"shape":{endless}"#)),
        ErrorCode::InvalidJson,
        "the body is not valid JSON: expected a value at byte 200061",
    );

    let open = one(DataType::Fp32, Some(&[-1, -1, -1]));
    let members = r#""name":"x","datatype":"FP32","shape":[1,4294967296,4294967296],"data":[1]"#;
    let message =
        "input \"x\": shape [1, 4294967296, 4294967296] has more elements than can be addressed";
    check_bad(&open, &with(members), ErrorCode::InvalidInput, message);
    let members = r#""name":"x","datatype":"FP32","shape":[1,1,1000000000000],"data":[1]"#;
    let message = "the data of input \"x\" has 1 elements, expected 1000000000000 for shape [1, 1, 1000000000000]";
    check_bad(&open, &with(members), ErrorCode::InvalidInput, message);
    let unknown = one(DataType::Fp32, None);
    let members = r#""name":"x","datatype":"FP32","shape":[1,0],"data":[]"#;
    let message = "input \"x\" has shape [1, 0], expected at least one row and element";
    check_bad(&unknown, &with(members), ErrorCode::InvalidInput, message);
}

#[test]
fn documents_of_another_form_are_refused() {
    use ErrorCode::{InvalidBody, InvalidInput};
    let x = pairs();
    let check = |body: &str, message: &str| drop(check_bad(&x, body, InvalidBody, message));
    check("[1]", "the body is an array, expected an object");
    check("null", "the body is null, expected an object");
    check("{}", "the body has no \"inputs\"");
    check(r#"{"features":[1,2]}"#, "the body has no \"inputs\"");
    check(r#"{"inputs":{}}"#, "\"inputs\" is an object, expected an array");
    check(r#"{"inputs":null}"#, "\"inputs\" is null, expected an array");
    check(r#"{"inputs":[1]}"#, "input 0 is a number, expected an object");
    check(r#"{"inputs":[],"inputs":[]}"#, "member \"inputs\" is given twice");
    check(r#"{"id":"a","id":"a","inputs":[]}"#, "member \"id\" is given twice");
    check(r#"{"id":7,"inputs":[]}"#, "\"id\" is a number, expected a string");
    let long = format!(r#"{{"id":"{}","inputs":[]}}"#, "i".repeat(1025));
    check(&long, "\"id\" has 1025 bytes, at most 1024 are allowed");
    check(r#"{"outputs":{},"inputs":[]}"#, "\"outputs\" is an object, expected an array");
    check(
        r#"{"parameters":[],"inputs":[]}"#,
        "\"parameters\" of the request is an array, expected an object",
    );

    let full = r#""name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]"#;
    let check =
        |members: &str, message: &str| drop(check_bad(&x, &with(members), InvalidBody, message));
    check(r#""datatype":"FP32","shape":[1,2],"data":[1,2]"#, "input 0 has no \"name\"");
    check(r#""name":"x","shape":[1,2],"data":[1,2]"#, "input 0 has no \"datatype\"");
    check(r#""name":"x","datatype":"FP32","data":[1,2]"#, "input 0 has no \"shape\"");
    check(
        r#""name":1,"datatype":"FP32","shape":[1,2]"#,
        "\"name\" of input 0 is a number, expected a string",
    );
    check(
        r#""name":"x","datatype":null,"shape":[1,2]"#,
        "\"datatype\" of input 0 is null, expected a string",
    );
    check(&format!("{full},\"data\":[1,2]"), "member \"data\" of input 0 is given twice");
    check(&format!("{full},\"name\":\"x\""), "member \"name\" of input 0 is given twice");
    check(&format!("{full}}},{{{full}"), "input \"x\" is given twice");
    let both = "expected exactly one of \"data\" and the parameter \"binary_data_size\"";
    check(
        r#""name":"x","datatype":"FP32","shape":[1,2]"#,
        &format!("input \"x\" has neither, {both}"),
    );
    for full in [
        format!("{full},\"parameters\":{{\"binary_data_size\":8}}"),
        format!("\"parameters\":{{\"binary_data_size\":8}},{full}"),
    ] {
        check(&full, &format!("input \"x\" has both, {both}"));
    }
    let unknown = r#"{"inputs":[{"name":"w","datatype":"FP32","shape":[1,2],"data":[1,2]}]}"#;
    check_bad(&x, unknown, InvalidInput, "the model has no input \"w\", its inputs are x");

    let check = |parameters: &str, message: &str| {
        check(&format!("{full},\"parameters\":{parameters}"), message);
    };
    check("1", "\"parameters\" of input \"x\" is a number, expected an object");
    check(
        r#"{"binary_data_size":-1}"#,
        "parameter \"binary_data_size\" of input \"x\" is -1, expected an integer from 0 up",
    );
    check(
        r#"{"binary_data_size":1.5}"#,
        "parameter \"binary_data_size\" of input \"x\" is 1.5, expected an integer from 0 up",
    );
    check(
        r#"{"binary_data_size":"8"}"#,
        "parameter \"binary_data_size\" of input \"x\" is a string, expected an integer from 0 up",
    );
    check(
        r#"{"binary_data_size":8,"binary_data_size":8}"#,
        "parameter \"binary_data_size\" of input \"x\" is given twice",
    );
    check(
        r#"{"a":[1]}"#,
        "parameter \"a\" of input \"x\" is an array, expected a string, a number or a boolean",
    );
    check(
        r#"{"a":null}"#,
        "parameter \"a\" of input \"x\" is null, expected a string, a number or a boolean",
    );
    for key in ["shared_memory_region", "shared_memory_byte_size", "shared_memory_offset"] {
        let body = with(&format!(r#"{full},"parameters":{{"{key}":"a"}}"#));
        let message = format!(
            "parameter {key:?} of input \"x\" is not supported: no memory is shared with clients"
        );
        check_bad(&x, &body, ErrorCode::Unsupported, &message);
    }
}

#[test]
fn text_that_is_not_json_is_refused() {
    let x = pairs();
    let deep = format!("{{\"inputs\":{}", "[".repeat(100_000));
    let deep_data = with(&format!("\"data\":{}", "[".repeat(100_000)));
    let deep_object = format!("{{\"a\":{}", "{\"a\":".repeat(100_000));
    let full = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}"#;
    let cut = (0..full.len()).map(|len| full[..len].to_owned());
    let other = ["nul", "{]", "{\"inputs\":[{]}", "{\"inputs\":[}", "{inputs:[]}"];
    let more = format!("{full} {{}}");
    let bad = cut.chain(other.map(str::to_owned)).chain([deep, deep_data, deep_object, more]);
    for body in bad {
        let error = decode(body.as_bytes().to_vec().into(), None, &x).unwrap_err();
        let start = &body[..body.len().min(80)];
        // A list that opens where an object belongs is refused before its end.
        let is_form = error.code == ErrorCode::InvalidBody && start.starts_with("{\"inputs\":[[");
        assert!(error.code == ErrorCode::InvalidJson || is_form, "{start}: {error}");
    }
}

#[test]
fn tensors_lie_behind_the_json_in_the_order_of_the_inputs() {
    let json = r#"{"inputs":[
        {"name":"b","shape":[3],"datatype":"UINT8","parameters":{"binary_data_size":3}},
        {"name":"a","shape":[3,2],"datatype":"FP32","parameters":{"binary_data_size":24}}]}"#;
    let values = [1f32, -2.0, f32::NAN, 4.0, 5.0, 6.5];
    let tail = [&[7, 8, 9], bytemuck::cast_slice::<f32, u8>(&values)].concat();
    let (body, json_len) = binary(json, &tail);
    let decoded = decode(body.clone(), json_len, &two()).unwrap();
    let expected = [tensor("b", &[3], &[7u8, 8, 9]), tensor("a", &[3, 2], &values)];
    assert_eq!(decoded.inputs, expected);
    assert!(decoded.inputs[1].tensor.as_slice::<f32>().is_some(), "decoded tensors are aligned");
    let place = decoded.inputs[0].tensor.buffer().as_bytes().as_ptr();
    assert_eq!(place, body.as_bytes()[json.len()..].as_ptr(), "what lies well is not copied");

    // JSON and bytes may stand side by side.
    let json = r#"{"inputs":[
        {"name":"a","shape":[1,2],"datatype":"FP32","data":[1,2]},
        {"name":"b","shape":[1],"datatype":"UINT8","parameters":{"binary_data_size":1}}]}"#;
    let (body, json_len) = binary(json, &[7]);
    let decoded = decode(body.clone(), json_len, &two()).unwrap();
    let expected = [tensor("a", &[1, 2], &[1f32, 2.0]), tensor("b", &[1], &[7u8])];
    assert_eq!(decoded.inputs, expected);
    assert_eq!(decoded.held_bytes, 8 + body.len(), "the byte keeps the body in memory");
    let json = with(r#""name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]"#);
    let (body, json_len) = binary(&json, &[]);
    let decoded = decode(body, json_len, &pairs()).unwrap();
    assert_eq!(decoded.held_bytes, 8, "the body is gone");
}

#[test]
fn aligned_bytes_are_not_copied() {
    let head = r#""name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}"#;
    for pad in 0..4 {
        let json = format!("{}{}", with(head), " ".repeat(pad));
        let body = Buffer::copy_aligned(&[json.as_bytes(), &[0; 8]].concat());
        let decoded = decode(body.clone(), Some(json.len()), &pairs()).unwrap();
        let place = decoded.inputs[0].tensor.buffer().as_bytes().as_ptr();
        let is_same = place == body.as_bytes()[json.len()..].as_ptr();
        assert_eq!(is_same, json.len().is_multiple_of(4));
        assert_eq!(place.addr() % 4, 0);
        assert_eq!(decoded.held_bytes, if is_same { body.len() } else { 8 });
    }
}

#[test]
fn bytes_that_are_not_the_tensor_are_refused() {
    use ErrorCode::{InvalidBody, InvalidInput};
    let json = |shape: &str, size: &str| {
        with(&format!(
            r#""name":"x","shape":{shape},"datatype":"FP32","parameters":{{"binary_data_size":{size}}}"#
        ))
    };
    let x = pairs();
    let check = |json: &str, tail: &[u8], code: ErrorCode, message: &str| {
        check_bad_binary(&x, json, tail, (code, message));
    };
    let left = |left: usize| format!("the body has {left} bytes left for input \"x\", expected 8");
    check(&json("[1,2]", "8"), &[0; 7], InvalidInput, &left(7));
    check(&json("[1,2]", "8"), &[], InvalidInput, &left(0));
    check(
        &json("[1,2]", "8"),
        &[0; 9],
        InvalidBody,
        "1 bytes follow the last binary input, expected none",
    );
    check(
        r#"{"inputs":[]}"#,
        &[0; 9],
        InvalidBody,
        "9 bytes follow the last binary input, expected none",
    );
    let size = |size: &str| {
        format!(
            "\"binary_data_size\" of input \"x\" is {size}, expected 8 for FP32 of shape [1, 2]"
        )
    };
    check(&json("[1,2]", "9"), &[0; 9], InvalidInput, &size("9"));
    check(&json("[1,2]", "0"), &[], InvalidInput, &size("0"));
    check(
        &json("[1,2]", "18446744073709551615"),
        &[0; 9],
        InvalidInput,
        &size("18446744073709551615"),
    );
    check(
        &json("[1,3]", "12"),
        &[0; 12],
        InvalidInput,
        "input \"x\" has shape [1, 3], expected [-1, 2]",
    );
    let announced = "input \"x\" is binary, but the request does not say where its JSON ends: expected \
                     the header Inference-Header-Content-Length";
    check_bad(&x, &json("[1,2]", "8"), InvalidInput, announced);
    // The JSON must end where the header says.
    let text = json("[1,2]", "8");
    for len in [1, text.len() - 1, text.len() + 1] {
        let body = [text.as_bytes(), &[b'7'; 9]].concat();
        let error = decode(body.into(), Some(len), &x).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidJson, "{len}: {error}");
    }
    let error = decode(Buffer::from(vec![b' '; 3]), Some(4), &x).unwrap_err();
    let message = "the header Inference-Header-Content-Length is 4, but the body has 3 bytes";
    assert_eq!((error.code, &*error.message), (ErrorCode::InvalidRequest, message));

    let flags =
        with(r#""name":"x","shape":[2],"datatype":"BOOL","parameters":{"binary_data_size":2}"#);
    let message = "input \"x\" has the byte 2 at 1, expected 0 or 1";
    check_bad_binary(&one(DataType::Bool, None), &flags, &[1, 2], (InvalidInput, message));
}

#[test]
fn elements_of_bytes_are_checked_one_by_one() {
    let texts = one(DataType::Bytes, Some(&[-1]));
    let json = |size: usize| {
        with(&format!(
            r#""name":"x","shape":[2],"datatype":"BYTES","parameters":{{"binary_data_size":{size}}}"#
        ))
    };
    let good = b"\x03\0\0\0\xff\0a\0\0\0\0";
    let (body, json_len) = binary(&json(good.len()), good);
    let decoded = decode(body, json_len, &texts).unwrap();
    assert_eq!(decoded.inputs, [bytes("x", DataType::Bytes, &[2], good)]);
    let check = |tail: &[u8], message: &str| {
        let expected = (ErrorCode::InvalidInput, message);
        check_bad_binary(&texts, &json(tail.len()), tail, expected);
    };
    check(b"", "input \"x\" has 0 elements, expected 2 for shape [2]");
    check(b"\x01\0\0\0a", "input \"x\" has 1 elements, expected 2 for shape [2]");
    check(
        b"\x01\0\0\0a\x01\0",
        "input \"x\" has 2 bytes left for the length of element 1, expected 4",
    );
    check(b"\x01\0\0\0a\x02\0\0\0b", "input \"x\" has 1 bytes left for element 1, expected 2");
    check(b"\xff\xff\xff\xff", "input \"x\" has 0 bytes left for element 0, expected 4294967295");
    check(b"\0\0\0\0\0\0\0\0\0", "input \"x\" has 1 bytes after its 2 elements, expected none");
}

#[test]
fn a_body_may_be_the_tensor() {
    let raw = |spec: &ModelSpec, body: &[u8]| {
        let decoded = decode(body.to_vec().into(), Some(0), spec).map_err(|it| it.to_string())?;
        assert_eq!(decoded.plan, Plan { binary: true, is_batched: true, ..Plan::default() });
        let [input] = <[NamedTensor; 1]>::try_from(decoded.inputs).unwrap();
        Ok(input)
    };
    let zeros = |dims: &[usize]| Ok(tensor("x", dims, &vec![0f32; dims.iter().product()]));
    let shaped = |shape: &[i64]| one(DataType::Fp32, Some(shape));
    let bad = |text: &str| Err(text.to_owned());
    assert_eq!(raw(&pairs(), &[0; 8]), zeros(&[1, 2]));
    assert_eq!(raw(&pairs(), &[0; 24]), zeros(&[3, 2]));
    assert_eq!(raw(&pairs(), &[0; 32]), bad("the request has 4 rows, at most 3 are allowed"));
    assert_eq!(raw(&shaped(&[]), &[0; 4]), zeros(&[]));
    assert_eq!(raw(&shaped(&[2, 2]), &[0; 16]), zeros(&[2, 2]));
    assert_eq!(raw(&shaped(&[2, -1]), &[0; 16]), zeros(&[2, 2]));
    assert_eq!(raw(&shaped(&[-1, 2, -1]), &[0; 40]), zeros(&[1, 2, 5]));
    let text = "input \"x\" came as 7 bytes, expected a multiple of the 8 bytes of a row";
    assert_eq!(raw(&pairs(), &[0; 7]), bad(text));
    let text = "input \"x\" came as 0 bytes, expected a multiple of the 8 bytes of a row";
    assert_eq!(raw(&pairs(), &[]), bad(text));
    let text = "input \"x\" came as 12 bytes, expected 16 for shape [2, 2]";
    assert_eq!(raw(&shaped(&[2, 2]), &[0; 12]), bad(text));
    let text = "input \"x\" came as 12 bytes, expected a multiple of 8 for shape [1, 2, -1]";
    assert_eq!(raw(&shaped(&[-1, 2, -1]), &[0; 12]), bad(text));
    let not_raw =
        |reason: &str| Err(format!("the body cannot be plain bytes: {reason}; send JSON"));
    let reason = "the model's input has more variable dimensions than the rows and one other";
    assert_eq!(raw(&shaped(&[-1, -1, -1]), &[0; 4]), not_raw(reason));
    assert_eq!(raw(&shaped(&[2, -1, -1]), &[0; 8]), not_raw(reason));
    let reason = "the shape of the model's input is not known";
    assert_eq!(raw(&one(DataType::Fp32, None), &[0; 4]), not_raw(reason));
    let reason = "the model does not have just one required input";
    assert_eq!(raw(&two(), &[0; 4]), not_raw(reason));

    let text = |shape: &[i64]| one(DataType::Bytes, Some(shape));
    let element = |dims: &[usize]| Ok(bytes("x", DataType::Bytes, dims, b"\x02\0\0\0\xffa"));
    assert_eq!(raw(&text(&[-1]), b"\xffa"), element(&[1]));
    assert_eq!(raw(&text(&[-1, 1]), b"\xffa"), element(&[1, 1]));
    assert_eq!(raw(&one(DataType::Bytes, None), b"\xffa"), element(&[1]));
    let message = "input \"x\" has shape [1, 1], expected [-1, 2]";
    assert_eq!(raw(&text(&[-1, 2]), b"a"), bad(message));
}

#[test]
fn the_header_is_a_number_of_bytes_of_the_body() {
    assert_eq!(json_len(b"0", 0), Ok(0));
    assert_eq!(json_len(b"12", 12), Ok(12));
    let beyond = |len: &str| {
        format!("the header Inference-Header-Content-Length is {len}, but the body has 12 bytes")
    };
    let no_number =
        "the header Inference-Header-Content-Length is not a number of bytes".to_owned();
    for (header, message) in [
        (&b"13"[..], beyond("13")),
        (b"18446744073709551616", beyond("18446744073709551616")),
        (b"", no_number.clone()),
        (b"-1", no_number.clone()),
        (b"+1", no_number.clone()),
        (b"1.0", no_number.clone()),
        (b" 1", no_number.clone()),
        (b"1,1", no_number.clone()),
        (b"\xff", no_number),
    ] {
        let error = json_len(header, 12).unwrap_err();
        assert_eq!((error.code, &*error.message), (ErrorCode::InvalidRequest, &*message));
    }
}

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
    InferResponse {
        model: "m".parse().unwrap(),
        version: Version(2),
        request_id: "r-1".into(),
        outputs,
        n_rows,
        labels: None,
        timings: Timings::default(),
    }
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
    let Encoded { mut bytes, json_len } = encode(&two_outputs(), &plan, &labels).unwrap();
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
        let bytes = encode(&response(vec![y], n_rows), &plan, &[]).unwrap().bytes;
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        (json["outputs"][0]["shape"].to_string(), json["outputs"][0]["data"].to_string())
    };
    let expected = |shape: &str, data: &str| (shape.to_owned(), data.to_owned());
    let infinite = [f64::NEG_INFINITY, f64::INFINITY, 0.1];
    assert_eq!(shape(tensor("y", &[3], &infinite), 3), expected("[2]", r#"["inf:1","0.1:2"]"#));
    let half = [f16::from_f32(-0.0), f16::from_f32(0.0)];
    assert_eq!(shape(tensor("y", &[1, 2], &half), 1), expected("[1,2]", r#"["-0.0:0","0.0:1"]"#));
    let flags = bytes("y", DataType::Bool, &[2, 1], &[0, 1]);
    assert_eq!(shape(flags, 1), expected("[2]", r#"["1:1","0:0"]"#));
    assert_eq!(shape(tensor::<i8>("y", &[0], &[]), 1), expected("[0]", "[]"));
    assert_eq!(shape(tensor::<i8>("y", &[2, 0], &[]), 2), expected("[2,0]", "[]"));
    let texts = response(vec![bytes("y", DataType::Bytes, &[1], b"\0\0\0\0")], 1);
    let error = encode(&texts, &plan, &[]).unwrap_err();
    assert_eq!(error.message, "output \"y\" is of BYTES, which has no classes");
}
