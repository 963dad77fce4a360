//! Unloading models and setting their default versions.

use crate::harness::{Answer, Models, Raw, Server, Settings, get, post, request};
use serde_json::{Value, json};
use std::path::Path;

const BODY: &str = r#"{"features": [1, 2, 3, 4]}"#;

/// Version 1 of `raises` doubles, version 2 gives back what it gets.
fn two_versions(state: &Path) -> Server {
    let models = Models::new().fixture("raises").fixture("tabular");
    models.add_version("raises", 2, "nan");
    Settings::new(models.head("raises", "versions = \"all\""))
        .set(format!("state_dir={}", state.display()))
        .ready()
}

fn order(server: &Server, path: &str) -> Answer {
    post(server.management, &format!("/manage/models/{path}"), "")
}

fn states(model: &Value) -> Vec<(&str, &str)> {
    let versions = model["versions"].as_array().unwrap();
    versions
        .iter()
        .map(|it| (it["version"].as_str().unwrap(), it["state"].as_str().unwrap()))
        .collect()
}

#[test]
fn an_unloaded_model_is_listed_and_comes_back_with_a_reload() {
    let state = tempfile::tempdir().unwrap();
    let server = two_versions(state.path());
    let model = order(&server, "raises/unload").good();
    assert_eq!((&model["state"], &model["version"]), (&json!("unloaded"), &Value::Null));
    let error = post(server.http, "/predict/raises", BODY).failed(503, "model_not_ready");
    assert_eq!(error["error"], "model \"raises\" was unloaded");
    post(server.http, "/predict/raises/versions/2", BODY).failed(503, "model_not_ready");
    let ready = get(server.http, "/health/ready").good();
    assert_eq!(ready["unloaded"], json!(["raises"]), "nobody waits for it: {ready}");
    assert_eq!(server.metric("sconce_ready"), 1.0);
    server.wait("its versions must go", || {
        states(&server.describe("raises")) == [("1", "unloaded"), ("2", "unloaded")]
    });
    server.wait("its series must go", || !server.metrics().contains("model=\"raises\""));
    assert_eq!(order(&server, "raises/reload").good()["state"], "ready");
    assert_eq!(post(server.http, "/predict/raises", BODY).good()["version"], "2");
}

#[test]
fn a_default_that_was_set_answers_also_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let server = two_versions(state.path());
    let version =
        |server: &Server| post(server.http, "/predict/raises", BODY).good()["version"].clone();
    assert_eq!(version(&server), "2");
    let model = order(&server, "raises/versions/1/default").good();
    assert_eq!(model["default"], json!({"version": "1", "survives_restart": true}));
    assert_eq!(version(&server), "1");
    post(server.http, "/predict/raises/versions/2", BODY).good();
    order(&server, "raises/versions/1/unload").failed(409, "conflict");
    drop(server);

    let server = two_versions(state.path());
    assert_eq!(version(&server), "1", "it outlives a process that was killed");
    let mut raw = Raw::connect(server.management);
    raw.send(&request("DELETE /manage/models/raises/default", &[], b"")).unwrap();
    assert_eq!(raw.answer().unwrap().good()["default"], Value::Null);
    assert_eq!(version(&server), "2");
    let model = order(&server, "raises/versions/1/unload").good();
    assert_eq!(model["state"], "ready", "the other version goes on: {model}");
}

#[test]
fn orders_that_make_no_sense_are_refused() {
    let server = Server::shared();
    for path in ["raises/unload", "raises/versions/1/unload", "raises/versions/1/default"] {
        post(server.http, &format!("/manage/models/{path}"), "").failed(403, "management_only");
    }
    order(&server, "no-such-model/unload").failed(404, "model_not_found");
    order(&server, "%2e%2e/unload").failed(404, "model_not_found");
    for version in ["7", "01", "x"] {
        let path = format!("scalar_out/versions/{version}");
        order(&server, &format!("{path}/default")).failed(404, "version_not_found");
        order(&server, &format!("{path}/unload")).failed(404, "version_not_found");
    }
    assert_eq!(get(server.management, "/manage/models/tabular/unload").status, 405);
}

#[test]
fn no_page_of_another_origin_changes_state() {
    let server = Settings::new(Models::new().fixture("tabular")).ready();
    let unload = "/manage/models/tabular/unload";
    let as_page = |headers: &[(&str, &str)]| {
        let headers: String =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!(
            "POST {unload} HTTP/1.1\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let mut stream = std::net::TcpStream::connect(server.management).unwrap();
        stream.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
        std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
        answer
    };
    let own = server.management.to_string();
    for headers in [
        &[("Host", &*own), ("Origin", "https://evil.example")][..],
        &[("Host", "rebound.example:8081")],
        &[("Host", &*own), ("Sec-Fetch-Site", "cross-site")],
    ] {
        let answer = as_page(headers);
        assert!(
            answer.starts_with("HTTP/1.1 403 ") && answer.contains("\"forbidden\""),
            "{answer}"
        );
        assert_eq!(server.describe("tabular")["state"], "ready", "{headers:?}");
    }
    assert!(
        as_page(&[("Host", &own), ("Origin", &format!("http://{own}"))])
            .starts_with("HTTP/1.1 200 ")
    );
}
