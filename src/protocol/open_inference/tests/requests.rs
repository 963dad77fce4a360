//! Requests that are all JSON.

use super::*;
use crate::protocol::testing::tensor;
use half::{bf16, f16};

#[track_caller]
fn check_json(spec: &ModelSpec, body: &str, expected: &[NamedTensor]) {
    let decoded = decode(body.as_bytes().to_vec().into(), None, spec).unwrap();
    assert_eq!(decoded.inputs, expected, "{body}");
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
fn of_an_input_that_nobody_declared_the_request_says_what_it_is() {
    let mut open = one(DataType::Fp32, Some(&[-1, 2]));
    open.inputs[0].declared = false;
    let ids = with(r#""name":"x","datatype":"INT64","shape":[1,3],"data":[7,8,9007199254740993]"#);
    check_json(&open, &ids, &[tensor("x", &[1, 3], &[7i64, 8, (1 << 53) + 1])]);
    let body =
        with(r#""name":"x","datatype":"INT64","shape":[1],"parameters":{"binary_data_size":8}"#);
    let bytes = [body.as_bytes(), &7i64.to_le_bytes()].concat();
    let decoded = decode(bytes.into(), Some(body.len()), &open).unwrap();
    assert_eq!(decoded.inputs, [tensor("x", &[1], &[7i64])]);
    let texts = with(r#""name":"x","datatype":"BYTES","shape":[1],"data":["a"]"#);
    let error = decode(texts.into_bytes().into(), None, &open).unwrap_err();
    assert_eq!(error.message, "input \"x\" has datatype BYTES, expected FP32");
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
    let words = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    check(DataType::Fp32, "[NaN,Infinity,-Infinity]", tensor("x", &[3], &words));
    check(DataType::Fp64, "0.1", tensor("x", &[], &[0.1f64]));
    check(DataType::Fp64, "[0.1]", tensor("x", &[], &[0.1f64]));
    let texts = b"\x02\0\0\0\xc3\xa9\0\0\0\0\x01\0\0\0\"";
    check(DataType::Bytes, r#"["é","","\""]"#, bytes("x", DataType::Bytes, &[3], texts));
    check(DataType::Bytes, r#"["\u00e9","","\""]"#, bytes("x", DataType::Bytes, &[1, 3], texts));
    check(DataType::Bytes, r#"[["é"],[""],["\""]]"#, bytes("x", DataType::Bytes, &[3, 1], texts));
    check(
        DataType::Bytes,
        r#"[{"b64":"w6k="},"",{"b64":"Ig=="}]"#,
        bytes("x", DataType::Bytes, &[3], texts),
    );
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
    check("INT64", "[1]", "[NaN]", "input \"x\" at [0]: NaN is not an integer, as INT64 takes");
    check("FP16", "[1]", "[70000]", "input \"x\" at [0]: 70000 is out of range for FP16");
    let null = "input \"x\" at [1]: expected a number, got null, which is no number: write NaN, or \
                what the model takes for a missing value";
    check("FP32", "[2]", "[1,null]", null);
    check("INT64", "[2]", "[1,null]", "input \"x\" at [1]: expected a number, got null");
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
    check("[0,2]", "input \"x\" has shape [0, 2], expected [-1, 2] without a dimension of size 0");
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
    let cut = (1..full.len()).map(|len| full[..len].to_owned());
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
