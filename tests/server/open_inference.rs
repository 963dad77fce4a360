//! The Open Inference Protocol over real sockets: what clients get for what they send.

use crate::harness::{Answer, Models, Raw, Server, Settings, get, post, request};
use serde_json::{Value, json};
use std::net::SocketAddr;

const JSON_LENGTH: &str = "inference-header-content-length";

/// Sends a body whose first `json.len()` bytes are JSON, or all of it without `binary`.
fn infer(address: SocketAddr, model: &str, json: &Value, binary: Option<&[u8]>) -> Answer {
    let json = json.to_string();
    let length = binary.map(|_| json.len());
    send(address, model, length, &[json.as_bytes(), binary.unwrap_or_default()].concat())
}

fn send(address: SocketAddr, model: &str, json_len: Option<usize>, body: &[u8]) -> Answer {
    let header = json_len.map(|length| format!("Inference-Header-Content-Length: {length}"));
    let headers: Vec<_> = header.iter().map(String::as_str).collect();
    let mut connection = Raw::connect(address);
    connection.send(&request(&format!("POST /v2/models/{model}/infer"), &headers, body)).unwrap();
    connection.answer().unwrap()
}

/// The JSON of an answer and the bytes behind it.
fn parts(answer: &Answer) -> (Value, Vec<u8>) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let length = answer.header(JSON_LENGTH).map(|text| text.parse::<usize>().unwrap());
    let (json, bytes) = answer.body.split_at(length.unwrap_or(answer.body.len()));
    (serde_json::from_slice(json).unwrap(), bytes.to_vec())
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// An input `x` FP32 [1, 4].
fn x(data: &[f32]) -> Value {
    json!({"name": "x", "datatype": "FP32", "shape": [1, 4], "data": data})
}

fn binary_x(size: usize) -> Value {
    json!({"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": size}})
}

#[test]
fn tensors_go_as_json_or_as_bytes_and_come_back_either_way() {
    let server = Server::shared();
    let values = [1.0, 2.0, 3.0, 4.0];
    let nested =
        json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [values]}]});
    for body in [json!({"id": "seven", "inputs": [x(&values)]}), nested] {
        let (answer, _) = parts(&infer(server.http, "multi_output", &body, None));
        assert_eq!(answer["model_name"], "multi_output");
        assert_eq!(answer["model_version"], "1");
        assert_eq!(answer.get("id"), body.get("id"));
        let first =
            json!({"name": "first", "datatype": "FP32", "shape": [1, 2], "data": [2.0, 4.0]});
        let second =
            json!({"name": "second", "datatype": "FP32", "shape": [1, 3], "data": [3.0, 4.0, 5.0]});
        assert_eq!(answer["outputs"], json!([first, second]));
    }
    let body = json!({
        "inputs": [binary_x(16)],
        "outputs": [{"name": "second", "parameters": {"binary_data": true}}, {"name": "first"}],
    });
    let answer = infer(server.http, "multi_output", &body, Some(&bytes(&values)));
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    assert!(answer.header("server-timing").is_some());
    let (answer, rest) = parts(&answer);
    let second = json!({"name": "second", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": 12}});
    let first = json!({"name": "first", "datatype": "FP32", "shape": [1, 2], "data": [2.0, 4.0]});
    assert_eq!(answer["outputs"], json!([second, first]));
    assert_eq!(rest, bytes(&[3.0, 4.0, 5.0]));
    // Nothing but the tensor: all outputs come back as bytes.
    let (answer, rest) = parts(&send(server.http, "multi_output", Some(0), &bytes(&values)));
    assert_eq!(answer["outputs"][1]["parameters"]["binary_data_size"], 12);
    assert_eq!(rest, bytes(&[2.0, 4.0, 3.0, 4.0, 5.0]));
}

/// What is wrong with a request: its body, the bytes behind it, and what the answer says.
type Bad = (Value, Option<Vec<u8>>, u16, &'static str, &'static str);

#[test]
fn every_fault_is_named() {
    let server = Server::shared();
    let row = || Some(bytes(&[1.0, 2.0, 3.0, 4.0]));
    let with = |change: Value| {
        let mut input = x(&[1.0, 2.0, 3.0, 4.0]);
        for (key, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(input.as_object_mut().unwrap().remove(key)),
                value => input[key] = value.clone(),
            }
        }
        json!({"inputs": [input]})
    };
    let cases: Vec<Bad> = vec![
        (json!({}), None, 400, "invalid_body", "\"inputs\""),
        (json!([1]), None, 400, "invalid_body", "an object"),
        (json!({"inputs": []}), None, 400, "invalid_input", "input \"x\" is missing"),
        (with(json!({"name": "y"})), None, 400, "invalid_input", "no input \"y\""),
        (with(json!({"name": null})), None, 400, "invalid_body", "\"name\""),
        (with(json!({"shape": null})), None, 400, "invalid_body", "\"shape\""),
        (with(json!({"datatype": null})), None, 400, "invalid_body", "\"datatype\""),
        (with(json!({"data": null})), None, 400, "invalid_body", "\"data\""),
        (with(json!({"datatype": "FP64"})), None, 400, "invalid_input", "expected FP32"),
        (with(json!({"datatype": "FLOAT"})), None, 400, "invalid_input", "FLOAT"),
        (with(json!({"shape": [1, 3]})), None, 400, "invalid_input", "[1, 3]"),
        (with(json!({"shape": [-1, 4]})), None, 400, "invalid_input", "-1"),
        (with(json!({"shape": [1.5, 4]})), None, 400, "invalid_input", "1.5"),
        (with(json!({"shape": [u64::MAX, 4]})), None, 400, "invalid_input", "18446744073709551615"),
        (with(json!({"shape": [1u64 << 62, 4]})), None, 400, "invalid_input", "rows"),
        (with(json!({"data": [1, 2, 3]})), None, 400, "invalid_input", "3"),
        (with(json!({"data": [1, 2, 3, 4, 5]})), None, 400, "invalid_input", "expected 4"),
        (with(json!({"data": [1, 2, 3, "4"]})), None, 400, "invalid_input", "a string"),
        (json!({"inputs": [binary_x(16)]}), None, 400, "invalid_input", "where its JSON ends"),
        (json!({"inputs": [binary_x(12)]}), row(), 400, "invalid_input", "expected 16"),
        (json!({"inputs": [binary_x(16)]}), Some(vec![0; 20]), 400, "invalid_body", "4 bytes"),
        (json!({"inputs": [binary_x(16)]}), Some(vec![0; 9]), 400, "invalid_input", "9 bytes left"),
        (
            with(json!({"parameters": {"binary_data_size": 16}})),
            row(),
            400,
            "invalid_body",
            "binary_data_size",
        ),
        (
            with(json!({"parameters": {"shared_memory_region": "r"}, "data": null})),
            None,
            501,
            "unsupported",
            "shared_memory_region",
        ),
        (
            json!({"inputs": [x(&[1.0; 4])], "outputs": [{"name": "z"}]}),
            None,
            400,
            "invalid_input",
            "\"z\"",
        ),
        (json!({"inputs": [x(&[1.0; 4]), x(&[1.0; 4])]}), None, 400, "invalid_body", "twice"),
        (
            json!({"inputs": [x(&[1.0; 4])], "parameters": {"sequence_id": 5}}),
            None,
            501,
            "unsupported",
            "sequence",
        ),
    ];
    let mut wrong = Vec::new();
    for (body, binary, status, code, text) in cases {
        let answer = infer(server.http, "multi_output", &body, binary.as_deref());
        let error = answer.json();
        let message = error["error"].as_str().unwrap_or_default();
        if (answer.status, error["code"].as_str()) != (status, Some(code))
            || !message.contains(text)
        {
            wrong.push(format!(
                "{body}: {} {error}; expected {status} {code} with {text:?}",
                answer.status
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_header_that_contradicts_its_body_is_refused() {
    let server = Server::shared();
    let body = json!({"inputs": [x(&[1.0; 4])]}).to_string();
    for header in ["-1", "x", "", "18446744073709551616", &(body.len() + 1).to_string()] {
        let header = format!("Inference-Header-Content-Length: {header}");
        let mut connection = Raw::connect(server.http);
        let bytes = request("POST /v2/models/multi_output/infer", &[&header], body.as_bytes());
        connection.send(&bytes).unwrap();
        let answer = connection.answer().unwrap();
        let error = answer.json();
        assert_eq!(answer.status, 400, "{header}: {error}");
        let message = error["error"].as_str().unwrap().to_lowercase();
        assert!(message.contains(JSON_LENGTH), "{header}: {message}");
    }
    let short = send(server.http, "multi_output", Some(0), &[0; 15]);
    short.failed(400, "invalid_input");
    let two = send(server.http, "two_inputs", Some(0), &[0; 20]);
    two.failed(400, "invalid_body");
}

#[test]
fn models_and_the_server_describe_themselves() {
    let server = Server::shared();
    let document = |path: &str| get(server.http, path).good();
    let about = document("/v2");
    assert_eq!(about["name"], "sconce");
    assert!(about["extensions"].as_array().unwrap().contains(&json!("binary_tensor_data")));
    assert_eq!(document("/v2/health/live"), json!({"live": true}));
    assert_eq!(document("/v2/health/ready"), json!({"ready": true}));
    let ready = json!({"name": "digits", "ready": true});
    assert_eq!(document("/v2/models/digits/ready"), ready);
    assert_eq!(document("/v2/models/digits/versions/1/ready"), ready);
    let model = document("/v2/models/digits");
    assert_eq!(model, document("/v2/models/digits/versions/1"));
    assert_eq!(model["versions"], json!(["1"]));
    assert_eq!(
        model["inputs"],
        json!([{"name": "pixels", "datatype": "FP32", "shape": [-1, 784]}])
    );
    let config = document("/v2/models/digits/config");
    assert_eq!(
        (&config["max_batch_size"], &config["input"][0]["dims"]),
        (&json!(64), &json!([784]))
    );
    // Where requests do not share runs, rows are a dimension like others.
    let alone = document("/v2/models/coupled/config");
    assert_eq!(
        (&alone["max_batch_size"], &alone["input"][0]["dims"]),
        (&json!(0), &json!([-1, 4]))
    );
    let names = document("/v2/models")["models"].as_array().unwrap().len();
    assert_eq!(names, document("/models")["models"].as_array().unwrap().len());
    get(server.http, "/v2/models/nobody").failed(404, "model_not_found");
    get(server.http, "/v2/models/digits/versions/7").failed(404, "version_not_found");
    get(server.http, "/v2/models/digits/versions/7/ready").failed(404, "version_not_found");
    get(server.http, "/v2/nothing").failed(404, "route_not_found");
    get(server.http, "/v2/models/digits/infer").failed(405, "method_not_allowed");
}

#[test]
fn what_is_not_there_is_refused_by_name() {
    let server = Server::shared();
    for (path, name) in [
        ("/v2/logging", "log settings"),
        ("/v2/trace/setting", "trace settings"),
        ("/v2/models/digits/trace/setting", "trace settings"),
        ("/v2/systemsharedmemory/status", "system shared memory"),
        ("/v2/cudasharedmemory/region/r/register", "CUDA shared memory"),
        ("/v2/models/digits/generate", "text generation"),
        ("/v2/models/digits/versions/1/generate_stream", "text generation"),
    ] {
        let error = post(server.http, path, "{}").failed(501, "unsupported");
        assert!(error["error"].as_str().unwrap().contains(name), "{path}: {error}");
        get(server.http, path).failed(501, "unsupported");
    }
}

#[test]
fn statistics_count_what_was_answered() {
    let server = Server::shared();
    let figures = || {
        let all = get(server.http, "/v2/models/dict_output/stats").good();
        all["model_stats"][0].clone()
    };
    let before = figures();
    let rows = json!({"name": "x", "datatype": "FP32", "shape": [3, 4], "data": vec![0.5; 12]});
    parts(&infer(server.http, "dict_output", &json!({"inputs": [rows]}), None));
    let bad = json!({"name": "x", "datatype": "FP32", "shape": [3, 4], "data": vec![0.5; 11]});
    infer(server.http, "dict_output", &json!({"inputs": [bad]}), None).failed(400, "invalid_input");
    let after = figures();
    let grown = |pointer: &str| {
        let value = |figures: &Value| figures.pointer(pointer).unwrap().as_u64().unwrap();
        value(&after) - value(&before)
    };
    assert_eq!((grown("/inference_count"), grown("/execution_count")), (3, 1));
    for phase in ["success", "fail", "queue", "compute_input", "compute_infer", "compute_output"] {
        assert_eq!(grown(&format!("/inference_stats/{phase}/count")), 1, "{phase}");
    }
    assert!(grown("/inference_stats/success/ns") > grown("/inference_stats/compute_infer/ns"));
    let batches = after["batch_stats"].as_array().unwrap();
    assert!(batches.iter().any(|batch| batch["batch_size"] == 3), "{batches:?}");
    assert!(after["last_inference"].as_u64() > Some(1_600_000_000_000));
}

#[test]
fn models_come_and_go_on_the_management_listener_alone() {
    let server = Settings::new(Models::new().fixture("bare")).ready();
    let index = |body: &str| post(server.http, "/v2/repository/index", body).good();
    let entry = |state: &str, reason: &str| json!([{"name": "bare", "version": "1", "state": state, "reason": reason}]);
    assert_eq!(index(""), entry("READY", ""));
    for verb in ["load", "unload"] {
        let path = format!("/v2/repository/models/bare/{verb}");
        post(server.http, &path, "").failed(403, "management_only");
    }
    let manage = |model: &str, verb: &str, body: &str| {
        post(server.management, &format!("/v2/repository/models/{model}/{verb}"), body)
    };
    let done = manage("bare", "unload", r#"{"parameters":{"unload_dependents":false}}"#);
    assert_eq!((done.status, done.text().as_str()), (200, ""));
    assert_eq!(index(""), entry("UNAVAILABLE", "unloaded"));
    assert_eq!(index(r#"{"ready":true}"#), json!([]));
    let body = json!({"inputs": [x(&[1.0; 4])]});
    infer(server.http, "bare", &body, None).failed(503, "model_not_ready");
    assert_eq!(get(server.http, "/v2/models/bare/ready").status, 503);
    assert_eq!(manage("bare", "load", "").status, 200);
    assert_eq!(index(r#"{"ready":true}"#), entry("READY", ""));
    parts(&infer(server.http, "bare", &body, None));
    manage("bare", "load", r#"{"parameters":{"config":"{}"}}"#).failed(501, "unsupported");
    manage("bare", "load", r#"{"parameters":{"speed":1}}"#).failed(400, "invalid_request");
    manage("nobody", "load", "").failed(404, "model_not_found");
    manage("bare", "load", "{").failed(400, "invalid_json");
}
