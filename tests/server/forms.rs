//! The form that a model is served in: tried, chosen, told, and right.

use crate::harness::{Models, Server, Settings, get, held_out};
use serde_json::{Value, json};

/// The largest difference of a model's answers from PyTorch's, relative to the largest of these.
#[track_caller]
fn difference(server: &Server, model: &str, reference: &str, row: &[usize]) -> f64 {
    let data = held_out(&format!("reference/{reference}.json"));
    let shaped = |value: &Value| {
        let mut values: Vec<Value> = value.as_array().unwrap().clone();
        for width in row.iter().skip(1).rev() {
            values = values.chunks(*width).map(|chunk| json!(chunk)).collect();
        }
        json!(values)
    };
    let rows: Vec<_> = data["instances"].as_array().unwrap().iter().map(shaped).collect();
    let numbers = |table: &Value| -> Vec<f64> {
        let rows = table.as_array().unwrap().iter();
        rows.flat_map(|row| row.as_array().unwrap()).map(|it| it.as_f64().unwrap()).collect()
    };
    let expected = numbers(&data["reference"]);
    let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    let mut worst = 0.0f64;
    for size in [1, 3, rows.len()] {
        let chunks = rows.chunks(size).flat_map(|rows| {
            let answer = server.predict(model, &json!({"instances": rows})).good();
            numbers(&answer["predictions"])
        });
        let got: Vec<_> = chunks.collect();
        assert_eq!(got.len(), expected.len(), "{model}");
        let differences = got.iter().zip(&expected).map(|(a, b)| (a - b).abs() / largest);
        worst = differences.fold(worst, f64::max);
    }
    worst
}

#[test]
fn forms_are_tried_and_the_chosen_one_is_told() {
    let server = Server::shared();
    for name in ["tabular", "images", "digits"] {
        let version = server.describe(name)["versions"][0].clone();
        let form = &version["form"];
        assert_eq!(version["precision"], "fp32", "{name}");
        let chosen = form["chosen"].as_str().unwrap();
        let tried = form["tried"].as_array().unwrap();
        let names: Vec<_> = tried.iter().map(|it| it["form"].as_str().unwrap()).collect();
        assert!(names.starts_with(&["frozen", "optimized"]), "{name}: {names:?}");
        assert_eq!(names.contains(&"channels-last-frozen"), name == "images", "{names:?}");
        assert!(chosen == "plain" || names.contains(&chosen), "{name}: {form}");
        assert!(
            form["gain"].as_f64().unwrap() >= 1.0 && form["difference"].as_f64().unwrap() < 1e-3
        );
        for tried in tried {
            assert!(tried["reason"].is_string() || tried["gain"].is_f64(), "{name}: {tried}");
        }
        let told = |line: &Value| {
            line["message"] == "model is ready"
                && line["model.name"] == name
                && line["form"] == chosen
                && line["gain"].is_string()
        };
        assert!(server.log.entries().iter().any(told), "{name}: the log must tell {chosen}");
    }
    assert_eq!(server.describe("stateful")["versions"][0]["form"]["chosen"], "plain");
    assert!(difference(&server, "images", "images", &[3, 8, 8]) <= 1e-3);
    assert!(difference(&server, "tabular", "tabular", &[20]) <= 1e-3);
}

#[test]
fn bf16_serves_answers_as_near_as_was_asked_for() {
    let models = Models::new()
        .fixture("images")
        .head("images", "precision = \"bf16\"")
        .fixture("tabular")
        .head("tabular", "precision = \"bf16\"\nmax_difference = 5e-2")
        .fixture("two_inputs")
        .head("two_inputs", "precision = \"bf16\"\noptimize = \"off\"");
    let server = Settings::new(models).ready();
    for (name, limit) in [("images", 1e-2), ("tabular", 5e-2)] {
        let version = server.describe(name)["versions"][0].clone();
        let form = &version["form"];
        assert_eq!(version["precision"], "bf16", "{name}");
        assert!(form["chosen"].as_str().unwrap().starts_with("bf16"), "{name}: {form}");
        let measured = form["difference"].as_f64().unwrap();
        assert!(measured > 0.0 && measured <= limit, "{name}: {measured}");
        for tensor in ["inputs", "outputs"] {
            assert_eq!(version[tensor][0]["datatype"], "FP32", "{name}: nobody else may notice");
        }
    }
    let images = difference(&server, "images", "images", &[3, 8, 8]);
    let tabular = difference(&server, "tabular", "tabular", &[20]);
    eprintln!("in bf16 images differ by {images:.1e} and tabular by {tabular:.1e} of the largest");
    // Other rows than those of the trial, so the limit is not theirs to the last digit.
    assert!(images > 0.0 && images <= 2e-2 && tabular > 0.0 && tabular <= 1e-1);
    let chosen = server.describe("two_inputs")["versions"][0]["form"]["chosen"].clone();
    assert!(["bf16", "bf16-autocast"].contains(&chosen.as_str().unwrap()), "{chosen}");
    let answer = server.predict("two_inputs", &json!({"inputs": {"a": [[1, 2, 3]], "b": [10]}}));
    assert_eq!(answer.good()["outputs"]["sum"], json!([16.0]));
}

#[test]
fn a_precision_that_cannot_be_had_fails_the_model_with_what_was_measured() {
    let models = Models::new()
        .fixture("images")
        .head("images", "precision = \"bf16\"\nmax_difference = 1e-6")
        .fixture("stateful")
        .head("stateful", "precision = \"bf16\"")
        .fixture("tabular")
        .head("tabular", "precision = \"fp16\"")
        .fixture("bare")
        .head("bare", "optimize = \"off\"");
    let server = Settings::new(models).start();
    let names = ["images", "stateful", "tabular", "bare"];
    server.wait_settled(&names);
    let reason = |name: &str| {
        let model = server.describe(name);
        assert_eq!(model["state"], "failed", "{name}: {model}");
        model["versions"][0]["reason"].as_str().unwrap().to_owned()
    };
    let images = reason("images");
    assert!(images.contains("max_difference = 0.000001"), "{images}");
    assert!(images.contains("an answer differs by "), "{images}");
    assert!(reason("stateful").contains("keeps state"));
    assert!(reason("tabular").contains("needs a GPU"));
    let form = &server.describe("bare")["versions"][0]["form"];
    assert_eq!((&form["chosen"], &form["tried"]), (&json!("plain"), &json!([])));
    assert_eq!(get(server.http, "/models/bare").status, 200);
}
