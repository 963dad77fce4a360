//! Inputs of different sizes in one run: what is padded, what is not, and whose answers come back.

use crate::harness::{Models, Server, Settings};
use serde_json::{Value, json};

fn server() -> Server {
    let rows = ["shape = [-1, -1]\n", "shape = [-1, -1]\npad = 0\n"];
    let models = Models::new()
        .fixture("attention")
        .changed("plain", "attention", ["pad = 0\n", ""])
        .changed(
            "coarse",
            "attention",
            ["description", "batching.pad_buckets = [16, 48, 96]\ndescription"],
        )
        .changed("sum", "pad_safe", rows)
        .changed("mean", "variable", rows);
    Settings::new(models).ready()
}

/// A text of this many words.
fn body(size: usize) -> Value {
    let ids: Vec<_> = (0..size).map(|place| (place * 7 + size) % 100).collect();
    json!({"inputs": {"input_ids": [ids], "attention_mask": [vec![1; size]]}})
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

/// The largest difference, relative to the largest number.
fn difference(a: &Value, b: &Value) -> f64 {
    let (a, b) = (numbers(a), numbers(b));
    assert_eq!(a.len(), b.len(), "an answer must have the size of its request");
    let scale = b.iter().fold(0.0, |most: f64, b| most.max(b.abs()));
    a.iter().zip(&b).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs())) / scale
}

#[test]
fn a_model_is_padded_where_that_changes_nothing() {
    let server = server();
    let version = |name: &str| server.describe(name)["versions"][0].clone();
    let attention = version("attention");
    assert_eq!(attention["padding"]["inputs"], json!(["input_ids", "attention_mask"]));
    let buckets: Vec<_> = (1..=8).map(|step| step * 8).collect();
    assert_eq!(attention["padding"]["buckets"], json!(buckets), "it has 64 positions");
    assert!(attention["notes"][0].as_str().unwrap().starts_with("padding goes up to 64"));
    assert_eq!(version("coarse")["padding"]["buckets"], json!([16, 48]));
    assert_eq!(version("sum")["padding"]["inputs"], json!(["x"]));
    assert_eq!(version("plain")["padding"], Value::Null);

    let mean = version("mean");
    assert_eq!((&mean["padding"], &mean["batching"]["finding"]), (&Value::Null, &json!("proved")));
    let note = mean["notes"][0].as_str().unwrap();
    assert!(note.starts_with("padding is off: an input of size"), "{note}");
    let warned = |name: &str| {
        server.log.entries().iter().any(|line| {
            line["level"] == "WARN" && line.to_string().contains(&format!("\"{name}\""))
        })
    };
    // The log is written behind.
    server.wait("the log tells of it", || warned("mean"));
    assert!(!warned("attention") && !warned("sum"));
    let answer = server.predict("mean", &json!({"features": [1, 2, 6]})).good();
    assert_eq!(answer["prediction"], json!([3.0]), "off means that answers are as they were");
}

#[test]
fn texts_of_all_lengths_at_once_get_the_answers_that_they_get_alone() {
    let server = server();
    let alone: Vec<Value> = (1..=64)
        .map(|size| server.predict("plain", &body(size)).good()["outputs"].clone())
        .collect();
    std::thread::scope(|scope| {
        for client in 0..16 {
            let (server, alone) = (&server, &alone);
            scope.spawn(move || {
                for step in 0..alone.len() {
                    let size = (step + 5 * client) % alone.len() + 1;
                    let expected = &alone[size - 1];
                    for model in ["attention", "coarse"] {
                        let answer = server.predict(model, &body(size)).good();
                        let outputs = &answer["outputs"];
                        assert_eq!(outputs["hidden"][0].as_array().unwrap().len(), size);
                        for name in ["pooled", "hidden"] {
                            let difference = difference(&outputs[name], &expected[name]);
                            assert!(difference <= 1e-5, "{model} {size} {name}: {difference}");
                        }
                    }
                }
            });
        }
    });
    let count = |name: &str, model: &str| {
        server.metric(&format!("sconce_{name}_total{{model=\"{model}\",version=\"1\"}}"))
    };
    let waste = |model| count("padding_positions", model) / count("run_positions", model);
    assert!(waste("attention") > 0.0 && waste("coarse") > waste("attention"));
    assert_eq!(count("run_positions", "plain"), 0.0, "without padding there is nothing to count");
}

#[test]
fn rows_of_one_request_are_padded_together() {
    let server = server();
    let rows = json!([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]);
    let answer = server.predict("sum", &json!({"instances": rows})).good();
    assert_eq!(answer["predictions"], json!([[6.0], [15.0]]));
    let run = server.metric("sconce_run_positions_total{model=\"sum\",version=\"1\"}");
    let padding = server.metric("sconce_padding_positions_total{model=\"sum\",version=\"1\"}");
    assert_eq!((run, padding), (16.0, 10.0), "two rows of three, each in a bucket of eight");
}
