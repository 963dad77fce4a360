//! TorchServe's protocols over real sockets: predictions and, at the management address, models.

use crate::harness::{Answer, Models, Raw, Server, Settings, get, post, request};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// A request with this content type, or none.
fn send(
    (address, line): (SocketAddr, &str),
    content_type: Option<&str>,
    body: impl AsRef<[u8]>,
) -> Answer {
    let content_type = content_type.map(|value| format!("Content-Type: {value}"));
    let headers: Vec<_> = content_type.iter().map(String::as_str).collect();
    let mut connection = Raw::connect(address);
    connection.offer(&request(line, &headers, body.as_ref()));
    connection.answer().unwrap()
}

fn predict(server: &Server, model: &str, content_type: Option<&str>, body: &[u8]) -> Answer {
    send((server.http, &format!("POST /predictions/{model}")), content_type, body)
}

#[track_caller]
fn json_of(server: &Server, model: &str, body: &str) -> Value {
    predict(server, model, Some("application/json"), body.as_bytes()).good()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A form of parts that are a head and a body each.
fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (head, part) in parts {
        let head = format!("--XX\r\nContent-Disposition: form-data; {head}\r\n\r\n");
        body.extend_from_slice(&[head.as_bytes(), part, b"\r\n"].concat());
    }
    body.extend_from_slice(b"--XX--\r\n");
    body
}

const FORM: Option<&str> = Some("multipart/form-data; boundary=XX");

#[test]
fn every_kind_of_body_is_answered() {
    let server = Server::shared();
    let native = post(server.http, "/predict/bare", r#"{"features":[1,2,3,4]}"#).good();
    let row = &native["prediction"];
    let rows = json!([row, row]);
    assert_eq!(json_of(&server, "bare", "[1,2,3,4]"), *row);
    assert_eq!(json_of(&server, "bare/1", r#"{"data":[1,2,3,4]}"#), *row);
    assert_eq!(json_of(&server, "bare", "[[1,2,3,4],[1,2,3,4]]"), rows);
    let envelope = r#"{"instances":[[1,2,3,4],[1,2,3,4]]}"#;
    assert_eq!(json_of(&server, "bare", envelope), json!({"predictions": rows}));
    assert_eq!(json_of(&server, "bare", r#"{"inputs":{"x":[[1,2,3,4]]}}"#), json!([row]));

    let plain = bytes(&[1.0, 2.0, 3.0, 4.0]);
    let octets = Some("application/octet-stream");
    // As curl -T, which sends no type.
    let put = send((server.http, "PUT /predictions/bare"), None, &plain);
    assert_eq!(put.good(), *row);
    assert_eq!(predict(&server, "bare", octets, &plain).good(), *row);
    assert_eq!(predict(&server, "bare", octets, &plain.repeat(2)).good(), rows);
    let file = "name=\"data\"; filename=\"x\"\r\nContent-Type: application/octet-stream";
    assert_eq!(predict(&server, "bare", FORM, &form(&[(file, &plain)])).good(), *row);
    let body = form(&[("name=\"a\"", b"[1,2,3]"), ("name=\"b\"", b"10")]);
    assert_eq!(predict(&server, "two_inputs", FORM, &body).good(), 16.0);
    let several = json!({"first": [2.0, 4.0], "second": [3.0, 4.0, 5.0]});
    assert_eq!(json_of(&server, "multi_output", "[1,2,3,4]"), several);
    let nan = predict(&server, "nan", Some("application/json"), b"[-1,0,1,NaN]");
    assert_eq!((nan.status, &*nan.text()), (200, "[NaN,Infinity,1.0,NaN]"));
    let managed = send((server.management, "POST /predictions/bare"), None, "[1,2,3,4]");
    assert_eq!(managed.good(), *row);
    assert!(managed.header("server-timing").is_some());
}

#[test]
fn labels_are_answered_as_the_image_classifier_does() {
    let server = Server::shared();
    let sample = std::fs::read_to_string("models/digits/sample.json").unwrap();
    let sample: Value = serde_json::from_str(&sample).unwrap();
    let scores = |top: &Value| -> Value {
        let entry =
            |entry: &Value| (entry["label"].as_str().unwrap().into(), entry["score"].clone());
        top.as_array().unwrap().iter().map(entry).collect::<serde_json::Map<_, _>>().into()
    };
    let native = post(server.http, "/predict/digits", sample.to_string()).good();
    let expected = scores(&native["top"]);
    let answer = predict(&server, "digits", None, sample["features"].to_string().as_bytes());
    assert_eq!(answer.good(), expected);
    assert!(answer.text().starts_with("{\"7\":"), "the best comes first: {}", answer.text());
    let rows = json!({"instances": [sample["features"], sample["features"]]}).to_string();
    let native = post(server.http, "/predict/digits", &*rows).good();
    let expected: Value = native["top"].as_array().unwrap().iter().map(scores).collect();
    let answer = predict(&server, "digits", None, rows.as_bytes());
    assert_eq!(answer.good(), json!({"predictions": expected}));
}

/// Checks a failure in TorchServe's shape.
#[track_caller]
fn failed(answer: &Answer, status: u16, class: &str) -> String {
    let body = answer.json();
    assert_eq!((answer.status, &body["type"]), (status, &json!(class)), "{body}");
    assert_eq!(body["code"], status, "{body}");
    assert_eq!(body.as_object().unwrap().len(), 3, "{body}");
    assert!(answer.header("x-request-id").is_some(), "{body}");
    body["message"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_wrong_is_told_as_an_exception() {
    let server = Server::shared();
    let json = Some("application/json");
    let octets = Some("application/octet-stream");
    let whole = form(&[("name=\"x\"", b"[1,2,3,4]")]);
    let unknown = form(&[("name=\"y\"", b"[1,2,3,4]")]);
    let one_of_two = form(&[("name=\"a\"", b"[1,2,3]")]);
    let bad = "BadRequestException";
    for (model, content_type, body, status, class, message) in [
        ("bare", json, &b""[..], 400, bad, "the body is empty"),
        ("bare", json, b"[1,2,3", 400, bad, "not valid JSON"),
        ("bare", json, b"{}", 400, bad, "the body has no members"),
        ("bare", json, b"{\"x\":[1,2,3,4]}", 400, bad, "unknown member \"x\""),
        ("bare", json, b"[1,2,3]", 400, bad, "it is known to work with x FP32 [-1, 4]"),
        ("two_inputs", json, b"[1,2,3]", 400, bad, "needs a model with one input"),
        ("bare", octets, b"12345", 400, bad, "came as 5 bytes"),
        ("bare", None, b"", 400, bad, "the body is empty"),
        ("two_inputs", octets, b"12345", 400, bad, "just one required input"),
        ("bare", FORM, b"", 400, bad, "the body is empty"),
        ("bare", FORM, b"[1,2,3,4]", 400, bad, "cut off, or has another boundary"),
        ("bare", FORM, &whole[..whole.len() - 12], 400, bad, "cut off in part \"x\""),
        ("bare", FORM, b"--XX--\r\n", 400, bad, "the form has no parts"),
        ("bare", FORM, &unknown, 400, bad, "no input \"y\""),
        ("two_inputs", FORM, &one_of_two, 400, bad, "\"b\" is missing"),
        ("bare", Some("multipart/form-data"), &whole, 400, bad, "no boundary"),
        ("bare", Some("multipart/mixed; boundary=XX"), &whole, 415, bad, "multipart/mixed"),
        ("none", json, b"[1]", 404, "ModelNotFoundException", "there is no model"),
        ("bare/9", json, b"[1]", 404, "ModelVersionNotFoundException", "no version 9"),
        ("bare/x", json, b"[1]", 404, "ModelVersionNotFoundException", "whole numbers"),
        ("bare/1/x", json, b"[1]", 404, "ResourceNotFoundException", "no such route"),
        ("raises", json, b"[-1,0,0,0]", 500, "InternalServerException", "raised"),
    ] {
        let answer = predict(&server, model, content_type, body);
        let got = failed(&answer, status, class);
        assert!(got.contains(message), "{model} {content_type:?}: {got:?} has no {message:?}");
    }
    let head = |line: &str| send((server.http, line), None, "");
    failed(&head("GET /predictions/bare"), 405, "MethodNotAllowedException");
    failed(&head("POST /ping"), 405, "MethodNotAllowedException");
    failed(&head("POST /explanations/bare"), 501, "NotImplementedException");
    failed(&head("POST /explanations/bare/1"), 501, "NotImplementedException");
}

#[test]
fn health_is_readiness() {
    let server = Settings::new(Models::new().fixture("bare").fixture("endless")).start();
    let ping = get(server.http, "/ping");
    assert_eq!((ping.status, ping.json()), (500, json!({"status": "Unhealthy"})));
    let server = Server::shared();
    for address in [server.http, server.management] {
        assert_eq!(get(address, "/ping").good(), json!({"status": "Healthy"}));
    }
}

#[test]
fn models_are_listed_by_pages_and_described() {
    let server = Server::shared();
    let mut names = Vec::new();
    let mut token = String::new();
    loop {
        let page = get(server.management, &format!("/models?limit=7{token}&x=y")).good();
        let models = page["models"].as_array().unwrap();
        assert!(models.len() <= 7 && !models.is_empty(), "{page}");
        names.extend(models.iter().map(|model| model["modelName"].as_str().unwrap().to_owned()));
        let Some(next) = page.get("nextPageToken") else { break };
        token = format!("&next_page_token={}", next.as_str().unwrap());
    }
    let all = get(server.http, "/models").good();
    let all: Vec<_> = all["models"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(json!(names), json!(all));
    let whole = get(server.management, "/models").good();
    assert!(whole.get("nextPageToken").is_none(), "{whole}");
    let bare = json!({"modelName": "bare", "modelUrl": "bare/1"});
    assert!(whole["models"].as_array().unwrap().contains(&bare), "{whole}");
    let answer = get(server.management, "/models?limit=x");
    failed(&answer, 400, "BadRequestException");
    assert_eq!(
        get(server.management, "/models?next_page_token=9999").good(),
        json!({"models": []})
    );

    let native = server.describe("slow");
    let queue = &native["versions"][0]["queue"];
    for path in ["/models/slow", "/models/slow/1", "/models/slow/all"] {
        let described = get(server.management, &format!("{path}?customized=true")).good();
        let [model] = &described.as_array().unwrap()[..] else { panic!("{path}: {described}") };
        assert_eq!(model["modelName"], "slow");
        assert_eq!(model["modelVersion"], "1");
        assert_eq!((&model["minWorkers"], &model["maxWorkers"]), (&json!(1), &json!(1)));
        assert_eq!(model["workers"][0]["status"], "READY");
        assert!(model["workers"][0]["startTime"].as_str().unwrap().ends_with('Z'), "{model}");
        assert_eq!(model["batchSize"], native["versions"][0]["batching"]["max_batch_size"]);
        let capacity = model["jobQueueStatus"]["remainingCapacity"].as_u64().unwrap();
        assert!(capacity <= queue["capacity"].as_u64().unwrap() && capacity > 0, "{model}");
    }
    for (path, class) in [
        ("/models/none", "ModelNotFoundException"),
        ("/models/none/all", "ModelNotFoundException"),
        ("/models/slow/2", "ModelVersionNotFoundException"),
        ("/models/slow/1/else", "ResourceNotFoundException"),
    ] {
        failed(&get(server.management, path), 404, class);
    }
}

#[test]
fn versions_are_made_the_default_and_unregistered() {
    let models = Models::new().fixture("raises").head("raises", "versions = [1, 2]");
    models.add_version("raises", 2, "nan");
    let server = Settings::new(models).ready();
    let manage = |line: &str| send((server.management, line), None, "");
    let served = || json_of(&server, "raises", "[1,2,3,4]")[0].as_f64().unwrap();
    // Version 1 gives twice its input, version 2 its input.
    assert_eq!(served(), 1.0);
    let done = manage("PUT /models/raises/1/set-default").good();
    let told = "Default version successfully updated for model \"raises\" to \"1\"";
    assert_eq!((done, served()), (json!({"status": told}), 2.0));
    let described = get(server.management, "/models/raises/all").good();
    assert_eq!(described.as_array().unwrap().len(), 2, "{described}");
    failed(&manage("PUT /models/raises/9/set-default"), 404, "ModelVersionNotFoundException");
    failed(&manage("PUT /models/none/1/set-default"), 404, "ModelNotFoundException");

    // The default stays as long as others are there.
    failed(&manage("DELETE /models/raises/1"), 409, "ConflictStatusException");
    let unregistered = json!({"status": "Model \"raises\" unregistered"});
    assert_eq!(manage("DELETE /models/raises/2").good(), unregistered);
    let gone = predict(&server, "raises/2", None, b"[1,2,3,4]");
    failed(&gone, 503, "ServiceUnavailableException");
    assert_eq!(manage("DELETE /models/raises?synchronous=true").good(), unregistered);
    failed(&get(server.management, "/models/raises"), 404, "ModelNotFoundException");
    assert_eq!(get(server.management, "/models").good(), json!({"models": []}));
    let gone = predict(&server, "raises", None, b"[1,2,3,4]");
    failed(&gone, 503, "ServiceUnavailableException");
    failed(&manage("DELETE /models/none"), 404, "ModelNotFoundException");
    // What the texts of 501 say to do.
    post(server.management, "/manage/models/raises/reload", "").good();
    assert_eq!(served(), 2.0, "a reload brings the model back, and its default");
    for line in
        ["POST /models?url=raises.mar", "PUT /models/raises?min_worker=2", "PUT /models/raises/1"]
    {
        let text = failed(&manage(line), 501, "NotImplementedException");
        assert!(text.contains("/manage/models/{model}/reload"), "{line}: {text}");
    }
}

#[test]
fn models_are_changed_at_the_management_address_only() {
    let server = Server::shared();
    for line in [
        "POST /models?url=x.mar",
        "PUT /models/bare",
        "DELETE /models/bare",
        "DELETE /models/bare/1",
        "PUT /models/bare/1",
        "GET /models/bare/1",
        "PUT /models/bare/1/set-default",
    ] {
        let answer = send((server.http, line), None, "");
        failed(&answer, 403, "MethodNotAllowedException");
    }
    let native = get(server.http, "/models/none").failed(404, "model_not_found");
    assert!(native["error"].is_string(), "reading is ours at the public address: {native}");
    assert_eq!(json_of(&server, "bare", "[1,2,3,4]").as_array().unwrap().len(), 2);
}
