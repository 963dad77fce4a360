//! Captured requests: from the wire to a file, out again by `sconce replay` and `sconce export`.

use crate::harness::{Ended, Models, Settings, post_with, run_to_end, sconce, state_dir};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Everything that was captured, in the order in which it was written.
fn lines(folder: &Path) -> Vec<Value> {
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn run(models: &Models, arguments: &[&str]) -> Ended {
    let mut command = sconce();
    command.args(arguments);
    if arguments[0] == "replay" {
        command.arg("--models").arg(models.path());
        command.args(["--set", &format!("state_dir={}", state_dir().display())]);
    }
    run_to_end(command)
}

/// A model whose version 2 says something else where the first value is above 1.
fn two_versions() -> Models {
    let body = "return torch.sigmoid(x.sum(1, keepdim=True))";
    let models = Models::new()
        .written("yes_or_no", body, "")
        .head("yes_or_no", "labels = [\"no\", \"yes\"]");
    let other = Models::new().written(
        "yes_or_no",
        "return torch.sigmoid(x.sum(1, keepdim=True)) * (x[:, :1] <= 1)",
        "",
    );
    fs::create_dir(models.path().join("yes_or_no/2")).unwrap();
    fs::copy(other.path().join("yes_or_no/1/model.pt"), models.path().join("yes_or_no/2/model.pt"))
        .unwrap();
    models.head("yes_or_no", "versions = [1]")
}

#[test]
fn what_was_captured_is_replayed_and_exported() {
    let folder = TempDir::new().unwrap();
    let captured = folder.path().join("captured");
    let server = Settings::new(two_versions())
        .set(format!("capture.folder={}", captured.display()))
        .set("capture.sample_rate=1")
        .ready();
    let ask = |id: &str, path: &str, body: Value| {
        let headers = [("x-request-id", id), ("content-type", "application/json")];
        post_with(server.http, path, &headers, body.to_string())
    };
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for n in 0..50 {
        // Two of a hundred rows are answered otherwise by version 2.
        let first = if n == 17 { 2.0 } else { 0.5 };
        let rows = json!({"instances": [[first, 0.0, 0.25, 0.1], [-1.0, 0.0, 0.0, -f64::from(n)]]});
        ask(&format!("n{n}"), "/predict/yes_or_no", rows).good();
    }
    let tensor = json!({"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4.5]});
    ask("v2", "/v2/models/yes_or_no/infer", json!({"inputs": [tensor]})).good();
    ask("bad", "/predict/yes_or_no", json!({"features": [1, 2]})).failed(400, "invalid_input");
    let headers = [("x-request-id", "traced"), ("traceparent", trace)];
    post_with(server.http, "/predict/yes_or_no", &headers, "{\"features\":[0,0,0,0]}").good();
    server.wait("all are counted", || {
        server.metric("sconce_capture_records_total{outcome=\"written\"}") == 53.0
    });
    server.signal(Signal::TERM);
    assert!(server.wait_exit().success());

    let all = lines(&captured);
    let of = |id: &str| all.iter().find(|line| line["request_id"] == id).unwrap();
    assert_eq!(
        (all.len(), &of("n17")["outcome"], &of("n17")["version"]),
        (53, &json!("ok"), &json!("1"))
    );
    assert_eq!(of("n17")["inputs"][0]["data"][0], json!(2.0));
    assert_eq!(of("n17")["labels"], json!(["yes", "no"]));
    assert_eq!(
        (&of("bad")["outcome"], &of("bad")["inputs"]),
        (&json!("invalid_input"), &json!(null))
    );
    assert_eq!(of("traced")["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(of("v2")["inputs"][0]["data"], json!([1.0, 2.0, 3.0, 4.5]));

    let files = captured.to_str().unwrap();
    let replayed = |arguments: &[&str], status: i32| {
        let ended = run(&two_versions(), &[&["replay", files, "--against"], arguments].concat());
        assert_eq!(ended.status.code(), Some(status), "{}\n{}", ended.stdout, ended.stderr);
        ended
    };
    let same: Value =
        serde_json::from_str(&replayed(&["yes_or_no/1", "--json"], 0).stdout).unwrap();
    assert_eq!((&same["compared"], &same["changed_rows"]), (&json!(52), &json!(0)), "{same:#}");
    // Rows that run alone may differ in the last bit from those that ran together.
    assert!(same["difference"]["max"].as_f64().unwrap() < 1e-6, "{same:#}");
    assert_eq!(same["same_file"], json!(52));
    let other: Value =
        serde_json::from_str(&replayed(&["yes_or_no/2", "--json"], 0).stdout).unwrap();
    assert_eq!((&other["rows"], &other["changed_rows"]), (&json!(102), &json!(1)), "{other:#}");
    assert_eq!(other["changes"], json!([{"from": "yes", "to": "no", "rows": 1}]));
    assert_eq!(other["named"][0]["request_id"], "n17");
    assert_eq!(other["left_out"], json!({"it was answered with the error invalid_input": 1}));
    let page = folder.path().join("replay.html");
    let report = ["--report", page.to_str().unwrap()];
    let missed = replayed(&[&["yes_or_no/2", "--max-changed", "0.005"], &report[..]].concat(), 1);
    let page = fs::read_to_string(&page).unwrap();
    for part in [
        "<h1>yes_or_no/2 on 52 captured requests (version 1: 52)</h1>",
        "<tr><td>of another class now</td><td>1</td><td></td></tr>",
        "<tr><td>yes</td><td>no</td><td>1</td></tr>",
        "<td>n17</td><td>&quot;yes&quot; is &quot;no&quot; now</td>",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(missed.stdout.contains("\"yes\" is \"no\" now"), "{}", missed.stdout);
    assert!(
        missed.stderr.contains("0.0098 of the answers are other ones, at most 0.005 may be"),
        "{}",
        missed.stderr
    );
    let none = replayed(&["yes_or_no/3"], 1);
    assert!(none.stderr.contains("yes_or_no"), "{}", none.stderr);

    let exported = run(&two_versions(), &["export", files, "--as", "v2"]);
    let requests: Vec<Value> =
        exported.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((exported.status.code(), requests.len()), (Some(0), 52));
    assert!(exported.stderr.contains("52 requests written, 1 left out"), "{}", exported.stderr);
    assert_eq!(
        requests.iter().find(|it| it["id"] == "v2").unwrap()["inputs"][0]["data"],
        json!([1.0, 2.0, 3.0, 4.5])
    );
}
