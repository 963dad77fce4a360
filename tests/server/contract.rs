//! The contract of an answer: what a request may be, and that the form of its answer never follows from
//! what is in it.

use crate::harness::{Models, Server, Settings, get, post};
use serde_json::{Value, json};

fn server() -> Server {
    let names = [
        "bare",
        "boxes",
        "squeezed",
        "list_output",
        "optional_outputs",
        "named_optional",
        "empty_texts",
        "optional_argument",
        "defaults",
        "graph",
        "positions",
        "lookup",
    ];
    Settings::new(names.iter().fold(Models::new(), |models, name| models.fixture(name))).ready()
}

/// What a model's metadata say: the form of answers, the finding about batches.
#[track_caller]
fn found(server: &Server, model: &str) -> (Value, Value) {
    let version = server.describe(model)["versions"][0].clone();
    (version["answers"].clone(), version["batching"]["finding"].clone())
}

/// The members of an answer that hold outputs.
#[track_caller]
fn outputs(server: &Server, model: &str, body: Value) -> Value {
    let mut answer = server.predict(model, &body).good();
    let answer = answer.as_object_mut().unwrap();
    answer.retain(|key, _| ["prediction", "predictions", "outputs"].contains(&&**key));
    json!(answer)
}

#[test]
fn answers_keep_their_form_whatever_is_in_them() {
    let server = server();
    boxes(&server);
    squeezed(&server);
    list(&server);
    optional_outputs(&server);
    texts(&server);
}

fn boxes(server: &Server) {
    assert_eq!(found(server, "boxes").0, "whole");
    let row = |score: f64| json!([1, 2, 3, 4, score]);
    let kept = |n: usize| json!({"outputs": {"output_0": vec![json!([1.0, 2.0, 3.0, 4.0]); n], "output_1": vec![0.75; n]}});
    for (scores, n) in [(vec![0.75, 0.75], 2), (vec![0.75, 0.75, 0.25], 2), (vec![0.25], 0)] {
        let rows: Vec<_> = scores.iter().map(|score| row(*score)).collect();
        assert_eq!(outputs(server, "boxes", json!({"instances": rows})), kept(n), "{scores:?}");
    }
    for (score, n) in [(0.75, 1), (0.25, 0)] {
        assert_eq!(outputs(server, "boxes", json!({"features": row(score)})), kept(n));
        // The rows of TF Serving's clients and of TorchServe's are whole outputs by name, always.
        let body = json!({"instances": [row(score)]}).to_string();
        let v1 = post(server.http, "/v1/models/boxes:predict", body.clone()).good();
        assert_eq!(v1["predictions"], kept(n)["outputs"]);
        let torchserve = post(server.http, "/predictions/boxes", body).good();
        assert_eq!(torchserve["predictions"], kept(n)["outputs"]);
    }
}

fn squeezed(server: &Server) {
    assert_eq!(found(server, "squeezed"), (json!("rows"), json!("proved")));
    let version = server.describe("squeezed")["versions"][0].clone();
    assert_eq!(version["outputs"][0]["shape"], json!([-1]));
    let x = [1, 2, 3, 4];
    let one = outputs(server, "squeezed", json!({"features": x}))["prediction"].clone();
    assert!(one.is_f64(), "{one}");
    let list = outputs(server, "squeezed", json!({"instances": [x]}));
    assert_eq!(list, json!({"predictions": [one]}));
    let named = outputs(server, "squeezed", json!({"inputs": {"x": [x]}}));
    assert_eq!(named, json!({"outputs": {"output": [one]}}));
    let two = outputs(server, "squeezed", json!({"instances": [x, x]}));
    assert_eq!(two["predictions"].as_array().unwrap().len(), 2);
}

fn list(server: &Server) {
    assert_eq!(found(server, "list_output").0, "list");
    let version = server.describe("list_output")["versions"][0].clone();
    assert_eq!(version["outputs"][0]["name"], "positive");
    for (rows, expected) in [
        (json!([[1, -1, 2, -1]]), json!({"positive_0": [1.0, 2.0]})),
        (
            json!([[1, -1, -1, -1], [-1, -1, -1, -1]]),
            json!({"positive_0": [1.0], "positive_1": []}),
        ),
    ] {
        let answer = outputs(server, "list_output", json!({"instances": rows}));
        assert_eq!(answer, json!({"outputs": expected}));
    }
    let body = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 4],
        "data": [1, -1, -1, -1, 3, 4, -1, -1]}], "outputs": [{"name": "positive_1"}]});
    let v2 = post(server.http, "/v2/models/list_output/infer", body.to_string()).good();
    assert_eq!(
        (v2["outputs"][0]["name"].clone(), v2["outputs"][0]["data"].clone()),
        (json!("positive_1"), json!([3.0, 4.0]))
    );
}

fn optional_outputs(server: &Server) {
    assert_eq!(found(server, "optional_outputs"), (json!("rows"), json!("proved")));
    let x = [1, 2, 3, 4];
    // The second of three, by its place in the type; one output or not, it is told by name.
    let double = json!({"output_1": [[2.0, 4.0, 6.0, 8.0]]});
    let answer = outputs(server, "optional_outputs", json!({"inputs": {"x": [x]}}));
    assert_eq!(answer["outputs"], double);
    let masked = json!({"inputs": {"x": [x], "mask": [[1, 0, 1, 1]]}});
    let answer = outputs(server, "optional_outputs", masked);
    let expected = json!({"output_1": [[1.0, 0.0, 3.0, 4.0]], "output_2": [3.0]});
    assert_eq!(answer["outputs"], expected);

    let row = outputs(server, "optional_outputs", json!({"features": x}));
    assert_eq!(row["prediction"], json!({"output_1": [2.0, 4.0, 6.0, 8.0]}));
    let masked = json!({"instances": [{"x": x, "mask": [1, 0, 1, 1]}]});
    let rows = outputs(server, "optional_outputs", masked.clone());
    let row = json!({"output_1": [1.0, 0.0, 3.0, 4.0], "output_2": 3.0});
    assert_eq!(rows["predictions"], json!([row]));
    let v1 = post(server.http, "/v1/models/optional_outputs:predict", masked.to_string()).good();
    assert_eq!(v1["predictions"], json!([row]));

    let answer = outputs(server, "named_optional", json!({"inputs": {"x": [x]}}));
    assert_eq!(answer["outputs"], json!({"logits": [[2.0, 4.0, 6.0, 8.0]], "aux": null}));
    let row = outputs(server, "named_optional", json!({"features": x}));
    assert_eq!(row["prediction"], json!({"logits": [2.0, 4.0, 6.0, 8.0], "aux": null}));
    let body = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": x}],
        "outputs": [{"name": "aux"}, {"name": "logits"}]});
    let v2 = post(server.http, "/v2/models/named_optional/infer", body.to_string()).good();
    let names: Vec<_> = v2["outputs"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["logits"], "the protocol has no word for a tensor that is not there");
}

fn texts(server: &Server) {
    let long = |words: Value| outputs(server, "empty_texts", json!({"inputs": {"words": words}}));
    let expected =
        |words: Value, n: usize| json!({"outputs": {"output_0": words, "output_1": [n]}});
    assert_eq!(long(json!(["one", "zwolf"])), expected(json!(["zwolf"]), 1));
    assert_eq!(long(json!(["one"])), expected(json!([]), 0));
}

#[test]
fn arguments_that_no_request_can_carry_stay_at_their_defaults() {
    let server = server();
    let version = server.describe("defaults")["versions"][0].clone();
    let names: Vec<_> =
        version["inputs"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["x", "k"]);
    let answer = outputs(&server, "defaults", json!({"features": [1, 2, 3, 4]}));
    assert_eq!(answer["prediction"], json!([5.0, 8.0, 11.0, 14.0]));
    let k = json!({"inputs": {"x": [[1, 2, 3, 4]], "k": 10}});
    assert_eq!(outputs(&server, "defaults", k)["outputs"]["y"], json!([[12.0, 22.0, 32.0, 42.0]]));
}

#[test]
fn inputs_without_common_rows_come_whole() {
    let server = server();
    assert_eq!(found(&server, "graph"), (json!("whole"), json!("no_row_axis")));
    let body = json!({"inputs": {"x": [[0, 3], [2, 1]], "edge_index": [[0, 1, 0], [1, 0, 1]]}});
    let answer = outputs(&server, "graph", body);
    assert_eq!(answer["outputs"]["mean"].as_array().unwrap().len(), 2);
    let rows = json!({"instances": [{"x": [0, 3], "edge_index": [0, 1]}]});
    let refused = server.predict("graph", &rows);
    refused.failed(400, "invalid_body");
}

#[test]
fn what_was_tried_binds_nobody() {
    let server = server();
    // Words: tried with eight, at most twelve are right.
    let ids = |n: usize| json!({"instances": [vec![1; n]]});
    let lengths = |n: usize| {
        outputs(&server, "positions", ids(n))["predictions"][0].as_array().unwrap().len()
    };
    assert_eq!([5, 8, 12].map(lengths), [5, 8, 12]);
    let refused = server.predict("positions", &ids(13));
    let error = refused.failed(400, "invalid_input");
    let text = error["error"].as_str().unwrap();
    assert!(text.contains("known to work with ids INT64 [-1, 8]"), "{text}");
    assert!(text.contains("declare inputs in model.toml"), "{text}");
    let input = server.describe("positions")["versions"][0]["inputs"][0].clone();
    assert_eq!((&input["shape"], &input["declared"]), (&json!([-1, 8]), &json!(false)));
    let v2 = get(server.http, "/v2/models/positions").json();
    assert_eq!(v2["inputs"][0]["parameters"], json!({"declared": false}));

    // A sequence, where a row was tried.
    let state = |body: Value| outputs(&server, "optional_argument", body)["outputs"].clone();
    let sequence = state(json!({"inputs": {"x": [[[1, 2, 3, 4], [5, 6, 7, 8]]]}}));
    assert_eq!(sequence["output_0"][0].as_array().unwrap().len(), 2);
    assert_eq!(sequence["output_1_0"].as_array().unwrap().len(), 1, "{sequence}");
    let wrong = server.predict("optional_argument", &json!({"inputs": {"x": [[1, 2, 3]]}}));
    wrong.failed(400, "invalid_input");

    // Nothing is known: whole numbers come as such where the request says so.
    let tensor = |name: &str, datatype: &str, shape: Value, data: Value| json!({"name": name, "datatype": datatype, "shape": shape, "data": data});
    let table = || tensor("table", "FP32", json!([3, 2]), json!([1, 2, 3, 4, 5, 6]));
    let ask = |ids: Value| {
        post(server.http, "/v2/models/lookup/infer", json!({"inputs": [ids, table()]}).to_string())
    };
    let answer = ask(tensor("ids", "INT64", json!([2]), json!([1, 0]))).good();
    assert_eq!(answer["outputs"][0]["data"], json!([3.0, 4.0, 1.0, 2.0]));
    let refused =
        ask(tensor("ids", "FP32", json!([2]), json!([1, 0]))).failed(400, "invalid_input");
    assert!(refused["error"].as_str().unwrap().contains("no input is known to work"), "{refused}");
    ask(tensor("ids", "BYTES", json!([2]), json!(["1", "0"]))).failed(400, "invalid_input");

    // The model's own errors on what is known to work stay its own.
    let like = json!({"instances": [[99, 1, 1, 1, 1, 1, 1, 1]]});
    server.predict("positions", &like).failed(500, "inference_failed");
}
