//! The bodies of the Open Inference Protocol V2.

use super::schemas::{list, object, text};
use crate::tensor::DataType;
use serde_json::{Value, json};

/// The schemas that the rows of its routes name.
pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let flag = || json!({"type": "boolean"});
    let count = || json!({"type": "integer", "minimum": 0});
    let known = [("name", text()), ("datatype", datatype()), ("shape", sizes(-1))];
    let tensor = object(&known, &[]);
    let parameters = [("parameters", json!({"type": "object"}))];
    let input = object(&[&known[..], &parameters].concat(), &["parameters"]);
    let tally = || object(&[("count", count()), ("ns", count())], &[]);
    let tallies =
        |names: &[&'static str]| names.iter().map(|it| (*it, tally())).collect::<Vec<_>>();
    let phases = ["compute_input", "compute_infer", "compute_output"];
    let mut batch = tallies(&phases);
    batch.push(("batch_size", count()));
    let memory = [("type", text()), ("id", count()), ("byte_size", count())];
    let inference = [&["success", "fail", "queue"], &phases[..], &["cache_hit", "cache_miss"]];
    let version = [
        ("name", text()),
        ("version", text()),
        ("last_inference", count()),
        ("inference_count", count()),
        ("execution_count", count()),
        ("inference_stats", object(&tallies(&inference.concat()), &[])),
        ("response_stats", json!({"type": "object"})),
        ("batch_stats", list(object(&batch, &[]))),
        ("memory_usage", list(object(&memory, &[]))),
    ];
    let state = json!({"type": "string", "enum": ["LOADING", "READY", "UNLOADING", "UNAVAILABLE"]});
    let entry = [("name", text()), ("version", text()), ("state", state), ("reason", text())];
    vec![
        (
            "V2Server",
            object(&[("name", text()), ("version", text()), ("extensions", list(text()))], &[]),
        ),
        ("V2Live", object(&[("live", flag())], &[])),
        ("V2Ready", object(&[("ready", flag())], &[])),
        ("V2ModelReady", object(&[("name", text()), ("ready", flag())], &[])),
        ("V2Models", object(&[("models", list(text()))], &[])),
        (
            "V2Model",
            object(
                &[
                    ("name", text()),
                    ("versions", list(text())),
                    ("platform", text()),
                    ("inputs", list(input)),
                    ("outputs", list(tensor)),
                ],
                &[],
            ),
        ),
        (
            "V2Config",
            json!({
                "type": "object",
                "properties": {
                    "name": text(),
                    "platform": text(),
                    "max_batch_size": count(),
                    "input": list(json!({"type": "object"})),
                    "output": list(json!({"type": "object"})),
                },
                "required": ["name", "platform", "max_batch_size", "input", "output"],
            }),
        ),
        ("V2Statistics", object(&[("model_stats", list(object(&version, &[])))], &[])),
        ("V2IndexRequest", json!({"type": "object", "properties": {"ready": flag()}})),
        ("V2Index", list(object(&entry, &["version", "state", "reason"]))),
        ("V2Change", json!({"type": "object", "properties": {"parameters": {"type": "object"}}})),
        ("V2Request", request(json!({"type": "object"}))),
        ("V2Answer", answer(&text())),
    ]
}

fn datatype() -> Value {
    let names: Vec<_> = DataType::ALL.iter().map(|datatype| datatype.name()).collect();
    json!({"type": "string", "enum": names})
}

fn sizes(minimum: i64) -> Value {
    list(json!({"type": "integer", "minimum": minimum}))
}

/// A request, whose inputs are of this schema.
pub(super) fn request(input: Value) -> Value {
    let output = json!({
        "type": "object",
        "properties": {"name": text(), "parameters": {"type": "object"}},
        "required": ["name"],
    });
    json!({
        "type": "object",
        "properties": {
            "id": text(),
            "parameters": {"type": "object"},
            "inputs": {"type": "array", "items": input, "minItems": 1},
            "outputs": list(output),
        },
        "required": ["inputs"],
    })
}

/// An answer, whose outputs have these names.
pub(super) fn answer(name: &Value) -> Value {
    // What lies behind the JSON has no data in it.
    let output = object(
        &[
            ("name", name.clone()),
            ("datatype", datatype()),
            ("shape", sizes(0)),
            ("data", list(json!({}))),
            ("parameters", json!({"type": "object"})),
        ],
        &["data", "parameters"],
    );
    object(
        &[
            ("id", text()),
            ("model_name", text()),
            ("model_version", text()),
            ("outputs", list(output)),
        ],
        &["id"],
    )
}
