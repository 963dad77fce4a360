//! Files that are no models, or that do harm: they fail, with a reason, and the others serve on.

use crate::harness::{Models, Server, Settings, get};
use serde_json::json;
use std::time::Instant;

/// Broken models and a word that the reason must have.
const FAILURES: &[(&str, &str)] = &[
    ("empty", ""),
    ("truncated", ""),
    ("random", ""),
    ("bit_flipped", ""),
    ("not_torchscript", ""),
    ("deep_code", "was ended by SIG"),
    ("deep_pickle", "is nested more than 512 deep"),
    ("short_record", "has 32 bytes, and its record has 4"),
    ("sparse_outside", "indices of a sparse tensor that lie outside of it"),
    ("other_class", "the code declares a __torch__.modules.Large"),
    ("writes_on_load", ""),
    ("file_reader", "aten::from_file"),
    ("file_writer", "aten::save"),
    ("no_forward", "no method \"forward\""),
    ("text_output", "returned a text"),
    ("no_file", ""),
];

/// Whether these models failed, each for its reason, in state, answer and log.
#[track_caller]
fn check_failures(server: &Server, failures: &[(&str, &str)]) {
    for (name, word) in failures {
        let model = server.describe(name);
        assert_eq!(model["state"], "failed", "{name}: {model}");
        let version = &model["versions"][0];
        let reason = version["reason"].as_str().or(model["problem"].as_str()).unwrap_or_default();
        eprintln!("{name}: {reason}");
        assert!(
            !reason.is_empty() && reason.contains(word),
            "{name} fails for a reason: {reason:?}"
        );
        assert!(!reason.contains("frame #"), "{name}: no backtrace in {reason:?}");
        let answer = server.predict(name, &json!({"features": [1, 2, 3, 4]}));
        answer.failed(503, "model_not_ready");
        let logged = server.log.entries().iter().any(|line| {
            line["level"] == "ERROR" && line.to_string().contains(&format!("\"{name}\""))
        });
        assert!(logged, "{name}: the reason must be in the log");
    }
    let ready = get(server.http, "/health/ready");
    assert_eq!(ready.status, 503, "a failed required model holds readiness");
    let waiting = ready.json()["waiting_for"].as_array().unwrap().len();
    assert_eq!(waiting, failures.len(), "{}", ready.text());
    assert_eq!(get(server.http, "/health/live").status, 200);
}

fn trials(server: &Server, outcome: &str) -> f64 {
    server.metric(&format!("sconce_trials_total{{outcome=\"{outcome}\"}}"))
}

#[test]
fn what_is_broken_fails_with_a_reason_and_the_others_serve() {
    let fixtures = ["tabular", "file_reader", "file_writer", "no_forward", "text_output"];
    let models = fixtures.iter().fold(Models::new(), |models, name| models.fixture(name));
    let broken = FAILURES.iter().map(|(name, _)| *name);
    let broken = broken.filter(|name| *name != "no_file" && !fixtures.contains(name));
    let models = broken.fold(models, |models, name| models.broken(name));
    std::fs::create_dir_all(models.path().join("no_file/1")).unwrap();
    std::os::unix::fs::symlink("nowhere", models.path().join("no_file/1/model.pt")).unwrap();
    let started = Instant::now();
    let server = Settings::new(models).start();

    let names: Vec<_> = FAILURES.iter().map(|(name, _)| *name).chain(["tabular"]).collect();
    server.wait_settled(&names);
    eprintln!("{} broken models were tried in {:?}", FAILURES.len(), started.elapsed());
    check_failures(&server, FAILURES);
    assert_eq!(server.describe("tabular")["state"], "ready");
    let good = server.predict("tabular", &json!({"features": vec![0; 20]}));
    assert_eq!(good.good()["model"], "tabular", "the others serve");
    for written in ["written-by-writes_on_load", "written-by-file_writer"] {
        assert!(!std::path::Path::new(written).exists(), "{written} must not be written");
    }
    assert_eq!(trials(&server, "crashed"), 1.0);
    check_public(&server);
}

/// On the listener for predictions no word of a file stands, nor of what its code raised.
#[track_caller]
fn check_public(server: &Server) {
    for (name, word) in FAILURES {
        let model = server.describe_publicly(name);
        let reason = model["versions"][0]["reason"].as_str().or(model["problem"].as_str());
        let reason = reason.unwrap_or_default();
        assert!(
            reason.ends_with("the log and the management listener say more"),
            "{name}: {model}"
        );
        assert!(word.is_empty() || !model.to_string().contains(word), "{name}: {model}");
    }
}

/// Apart from the others, whose trials may take as long as the machine makes them.
#[test]
fn what_never_ends_is_ended() {
    let models = Models::new().broken("hang").fixture("endless");
    let server = Settings::new(models).set("trial.timeout=10s").start();
    server.wait_settled(&["hang", "endless"]);
    check_failures(&server, &[("hang", "answer within"), ("endless", "answer within")]);
    assert_eq!(trials(&server, "timed_out"), 2.0);
}

#[test]
fn what_is_not_required_does_not_hold_readiness() {
    let models = Models::new()
        .fixture("tabular")
        .broken("truncated")
        .head("truncated", "required = false")
        .fixture("file_reader")
        .head("file_reader", "required = false");
    let server = Settings::new(models).ready();
    server.wait_settled(&["truncated", "file_reader"]);
    assert_eq!(server.describe("truncated")["state"], "failed");
    assert!(server.is_ready());
    assert_eq!(server.describe("truncated")["required"], false);
    let reason =
        server.describe("file_reader")["versions"][0]["reason"].as_str().unwrap().to_owned();
    let digest = reason.split('"').find(|part| part.starts_with("file_reader@sha256:"));
    let digest =
        digest.unwrap_or_else(|| panic!("the reason says how to trust the file: {reason}"));

    let trusting = Settings::new(Models::new().fixture("file_reader").fixture("tabular"))
        .set(format!("trusted_models={digest}"))
        .ready();
    let answer = trusting.predict("file_reader", &json!({"features": [0, 0, 0, 0]})).good();
    let first = f64::from(*std::fs::read("/etc/passwd").unwrap().first().unwrap());
    assert_eq!(answer["prediction"], json!([first, first, first, first]));
}

#[test]
fn a_model_toml_with_faults_fails_that_model() {
    let models = Models::new()
        .fixture("tabular")
        .fixture("raises")
        .head("raises", "instance = 2")
        .fixture("double")
        .head("double", "trusted = true");
    let server: Server = Settings::new(models).start();
    server.wait_settled(&["tabular", "raises", "double"]);
    for (name, word) in [("raises", "instances"), ("double", "trusted")] {
        let model = server.describe(name);
        assert_eq!(model["state"], "failed", "{model}");
        assert!(model.to_string().contains(word), "{name}: {model}");
    }
    assert_eq!(server.describe("tabular")["state"], "ready");
}

#[test]
fn a_file_with_a_changed_byte_is_not_served() {
    let models = Models::new().fixture("tabular").fixture("double");
    let file = models.path().join("tabular/1/model.pt");
    let mut bytes = std::fs::read(&file).unwrap();
    // In the middle of the largest record: a weight.
    let weights = bytes.windows(8).position(|it| it == b"/data/0F" || it.starts_with(b"/data/0"));
    let at = weights.expect("an archive of TorchScript has its first weights there") + 200;
    bytes[at] ^= 0x40;
    std::fs::write(&file, bytes).unwrap();
    let server = Settings::new(models).start();
    server.wait_settled(&["tabular", "double"]);
    let model = server.describe("tabular");
    assert_eq!(model["state"], "failed", "{model}");
    let reason = model["versions"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("is damaged"), "{reason}");
}
