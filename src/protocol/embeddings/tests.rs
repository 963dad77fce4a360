//! Bodies of OpenAI's clients, and what comes back.

use super::*;
use crate::inference::{Content, ErrorCode, InferError, ModelSpec, NamedTensor, Work};
use crate::protocol::testing::{input, response, spec, tensor};
use crate::tensor::DataType;
use serde_json::{Value, json};

/// A model of sentences as the steps before it present it.
fn minilm() -> ModelSpec {
    let ids = input("input_ids", DataType::Int64, Some(&[-1, -1]), true);
    let mask = input("attention_mask", DataType::Int64, Some(&[-1, -1]), true);
    let text = input("text", DataType::Bytes, Some(&[-1]), false);
    let mut spec = spec(vec![text, ids, mask]);
    spec.outputs = vec![input("embedding", DataType::Fp32, Some(&[-1, 2]), false)];
    spec.contract.content = Some(Content::Text);
    spec.max_rows = 3;
    spec
}

fn read(body: &Value) -> Result<(Vec<NamedTensor>, VectorPlan), InferError> {
    let decoded = decode(body.to_string().as_bytes(), &minilm())?;
    Ok((decoded.inputs, decoded.plan))
}

#[track_caller]
fn refused(body: &Value, code: ErrorCode, expected: &str) {
    let error = read(body).unwrap_err();
    assert_eq!(error.code, code, "{error}");
    assert!(error.message.contains(expected), "{error}");
}

fn strings(inputs: &[NamedTensor]) -> Vec<&str> {
    assert_eq!((inputs.len(), &*inputs[0].name), (1, "text"));
    let elements = inputs[0].tensor.byte_elements().unwrap();
    elements.into_iter().map(|text| std::str::from_utf8(text).unwrap()).collect()
}

#[test]
fn texts_come_one_or_many() {
    let (inputs, plan) = read(&json!({"model": "m", "input": "a", "user": {"x": [1]}})).unwrap();
    assert_eq!(strings(&inputs), ["a"]);
    assert_eq!(plan, VectorPlan { is_base64: false, dimensions: None, n_tokens: 0 });
    let (inputs, plan) =
        read(&json!({"input": ["a", "é"], "encoding_format": "base64", "dimensions": 2})).unwrap();
    assert_eq!(strings(&inputs), ["a", "é"]);
    assert_eq!(plan, VectorPlan { is_base64: true, dimensions: Some(2), n_tokens: 0 });
}

#[test]
fn ids_come_one_row_or_many_and_are_filled_up() {
    let (inputs, plan) = read(&json!({"input": [101, 7, 102]})).unwrap();
    assert_eq!(inputs[0], tensor("input_ids", &[1, 3], &[101i64, 7, 102]));
    assert_eq!(inputs[1], tensor("attention_mask", &[1, 3], &[1i64; 3]));
    assert_eq!(plan.n_tokens, 3);
    let (inputs, plan) = read(&json!({"input": [[1], [2, 3]]})).unwrap();
    assert_eq!(inputs[0], tensor("input_ids", &[2, 2], &[1i64, 0, 2, 3]));
    assert_eq!(inputs[1], tensor("attention_mask", &[2, 2], &[1i64, 0, 1, 1]));
    assert_eq!(plan.n_tokens, 3);
}

#[test]
fn what_is_no_request_is_refused() {
    use ErrorCode::{InvalidBody, InvalidInput, InvalidJson};
    refused(&json!([1]), InvalidBody, "the body is an array, expected an object");
    refused(&json!({"model": "m"}), InvalidBody, "the body has no \"input\"");
    refused(&json!({"input": []}), InvalidBody, "\"input\" is empty");
    refused(&json!({"input": 7}), InvalidBody, "\"input\" is a number, expected a text");
    refused(&json!({"input": null}), InvalidBody, "\"input\" is null, expected a text");
    refused(&json!({"input": ["a", 7]}), InvalidInput, "input \"text\" at [1]: expected a string");
    refused(&json!({"input": [7, "a"]}), InvalidBody, "holds something that is no token id");
    refused(&json!({"input": [-1]}), InvalidBody, "holds something that is no token id");
    refused(&json!({"input": [1.5]}), InvalidBody, "holds something that is no token id");
    refused(&json!({"input": [[]]}), InvalidBody, "a row without token ids");
    refused(&json!({"input": [[1], 2]}), InvalidBody, "a row without token ids");
    refused(&json!({"input": ["a", "b", "c", "d"]}), InvalidInput, "at most 3 are allowed");
    refused(&json!({"input": [[1], [1], [1], [1]]}), InvalidInput, "at most 3 are allowed");
    let uneven = json!({"input": [vec![1; 40_000], vec![1]]});
    refused(&uneven, InvalidInput, "2 rows filled up to 40000 token ids are 80000, at most 65536");
    assert!(
        read(&json!({"input": [vec![1; 40_000], vec![1; 40_000]]})).is_ok(),
        "nothing is filled"
    );
    let other = json!({"input": "a", "encoding_format": "int8"});
    refused(
        &other,
        InvalidBody,
        "\"encoding_format\" is \"int8\", expected \"float\" or \"base64\"",
    );
    let other = json!({"input": "a", "dimensions": 512});
    refused(&other, InvalidBody, "\"dimensions\" is 512, the model's vectors have 2");
    refused(
        &json!({"input": "a", "dimensions": 0}),
        InvalidBody,
        "\"dimensions\" is 0, the model's",
    );
    let twice = decode(br#"{"input":"a","input":"b"}"#, &minilm()).unwrap_err();
    assert!(twice.message.contains("given twice"), "{twice}");
    let cut = decode(br#"{"input":"a""#, &minilm()).unwrap_err();
    assert_eq!(cut.code, InvalidJson);
}

#[test]
fn models_of_another_kind_are_not_served_here() {
    let refused = |spec: &ModelSpec| decode(br#"{"input":"a"}"#, spec).unwrap_err().code;
    let mut logits = minilm();
    logits.outputs[0].name = "logits".into();
    assert_eq!(refused(&logits), ErrorCode::Unsupported);
    let mut tensors = minilm();
    tensors.contract.content = None;
    assert_eq!(refused(&tensors), ErrorCode::Unsupported);
    let mut tokens = minilm();
    tokens.outputs[0] = input("embedding", DataType::Fp32, Some(&[-1, -1, 2]), false);
    assert_eq!(refused(&tokens), ErrorCode::Unsupported);
}

#[test]
fn the_model_is_read_off_the_body() {
    let name = |body: &[u8]| model(body).map_err(|error| error.code);
    assert_eq!(name(br#"{"input":["x",{"model":"no"}],"model":"m"}"#), Ok(Some("m".to_owned())));
    assert_eq!(name(br#"{"input":"x"}"#), Ok(None));
    assert_eq!(name(br#"{"model":7}"#), Err(ErrorCode::InvalidBody));
    assert_eq!(name(b"[]"), Err(ErrorCode::InvalidBody));
    assert_eq!(name(b"{\"model\""), Err(ErrorCode::InvalidJson));
}

#[test]
fn vectors_are_written_as_numbers_or_as_bytes() {
    let mut answer =
        response(vec![tensor("embedding", &[2, 2], &[0.5f32, -1.0, 0.25, 3.0])], 2, None);
    answer.work = Work { tokens: 9, pixels: 0 };
    let plan = VectorPlan { is_base64: false, dimensions: None, n_tokens: 0 };
    let body = |plan| serde_json::from_slice::<Value>(&encode(&answer, plan).unwrap()).unwrap();
    let floats = body(plan);
    assert_eq!(floats["object"], "list");
    assert_eq!(
        floats["data"],
        json!([
            {"object": "embedding", "index": 0, "embedding": [0.5, -1.0]},
            {"object": "embedding", "index": 1, "embedding": [0.25, 3.0]},
        ])
    );
    assert_eq!(floats["usage"], json!({"prompt_tokens": 9, "total_tokens": 9}));
    let packed = body(VectorPlan { is_base64: true, ..plan });
    assert_eq!(packed["data"][0]["embedding"], "AAAAPwAAgL8=");
    let of_ids = body(VectorPlan { n_tokens: 2, ..plan });
    assert_eq!(of_ids["usage"]["total_tokens"], 11);
    let other = response(vec![tensor("embedding", &[2], &[0.5f32, -1.0])], 2, None);
    assert_eq!(encode(&other, plan).unwrap_err().code, ErrorCode::InferenceFailed);
}

#[test]
fn errors_are_those_of_the_protocol() {
    let error = InferError::invalid_input("text", "it is too long");
    let of = |status| serde_json::from_slice::<Value>(&encode_error(&error, status)).unwrap();
    let expected = json!({"error": {
        "message": "it is too long", "type": "invalid_request_error", "param": "text", "code": "invalid_input",
    }});
    assert_eq!(of(400), expected);
    assert_eq!(of(429)["error"]["type"], "rate_limit_error");
    assert_eq!(of(503)["error"]["type"], "server_error");
}
