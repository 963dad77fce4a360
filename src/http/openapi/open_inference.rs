//! The operations of the Open Inference Protocol V2, and the bodies that they have of their own.

use super::native::{ORDER, PREDICTION, VERSION};
use super::operation::{Content, On, Operation, Protocol};
use super::schemas::{list, object, text};
use crate::inference::ErrorCode;
use crate::tensor::DataType;
use serde_json::{Value, json};

/// Why a model cannot be told of.
const READ: &[ErrorCode] = &[ErrorCode::ModelNotFound, ErrorCode::ModelNotReady];

/// Why a body that may be missing cannot be read.
const BODY: &[ErrorCode] = &[
    ErrorCode::InvalidJson,
    ErrorCode::InvalidBody,
    ErrorCode::BodyTimeout,
    ErrorCode::BodyTooLarge,
    ErrorCode::UnsupportedMediaType,
    ErrorCode::Overloaded,
];

const fn get(gives: &'static [(u16, &'static [Content])]) -> Operation {
    Operation {
        protocol: Protocol::OpenInference,
        gives,
        ..Operation::new("get", "Open Inference Protocol V2")
    }
}

const fn model(gives: &'static [(u16, &'static [Content])]) -> Operation {
    Operation { fails: &[READ], ..get(gives) }
}

const fn version(gives: &'static [(u16, &'static [Content])]) -> Operation {
    Operation { fails: &[READ, VERSION], ..get(gives) }
}

const METADATA: &[(u16, &[Content])] = &[(200, &[Content::json("V2Model")])];
const CONFIG: &[(u16, &[Content])] = &[(200, &[Content::json("V2Config")])];
const STATISTICS: &[(u16, &[Content])] = &[(200, &[Content::json("V2Statistics")])];
const READY: &[(u16, &[Content])] =
    &[(200, &[Content::json("V2ModelReady")]), (503, &[Content::json("V2ModelReady")])];

const INFER: Operation = Operation {
    method: "post",
    takes: &[Content::json("V2Request"), Content::BYTES],
    fails: &[PREDICTION],
    predicts: true,
    ..get(&[(200, &[Content::json("V2Answer"), Content::BYTES])])
};

const NEVER: Operation =
    Operation { method: "any", fails: &[&[ErrorCode::Unsupported]], ..get(&[]) };

const CHANGE: Operation = Operation {
    method: "post",
    on: On::Management,
    takes: &[Content::json("V2Change")],
    ..get(&[(200, &[])])
};

pub(super) const OPERATIONS: &[Operation] = &[
    get(&[(200, &[Content::json("V2Server")])]).at("/v2", "Name, version and extensions."),
    NEVER.at("/v2/cudasharedmemory/{*rest}", "Not supported."),
    get(&[(200, &[Content::json("V2Live")])]).at("/v2/health/live", "Whether the process answers."),
    get(&[(200, &[Content::json("V2Ready")]), (503, &[Content::json("V2Ready")])])
        .at("/v2/health/ready", "Whether traffic should come here."),
    NEVER.at("/v2/logging", "Not supported."),
    get(&[(200, &[Content::json("V2Models")])]).at("/v2/models", "The names of the models."),
    get(STATISTICS).at("/v2/models/stats", "Statistics of every version that is loaded."),
    model(METADATA).at("/v2/models/{model}", "Versions, inputs and outputs of a model."),
    model(CONFIG).at("/v2/models/{model}/config", "The model in the words of a configuration."),
    NEVER.at("/v2/models/{model}/generate", "Not supported."),
    NEVER.at("/v2/models/{model}/generate_stream", "Not supported."),
    INFER.at("/v2/models/{model}/infer", "A prediction of the model's default version."),
    Operation { fails: &[&[ErrorCode::ModelNotFound]], ..get(READY) }
        .at("/v2/models/{model}/ready", "Whether the model answers."),
    model(STATISTICS).at("/v2/models/{model}/stats", "Statistics of the model's versions."),
    NEVER.at("/v2/models/{model}/trace/setting", "Not supported."),
    version(METADATA)
        .at("/v2/models/{model}/versions/{version}", "Inputs and outputs of this version."),
    version(CONFIG).at(
        "/v2/models/{model}/versions/{version}/config",
        "This version in the words of a configuration.",
    ),
    NEVER.at("/v2/models/{model}/versions/{version}/generate", "Not supported."),
    NEVER.at("/v2/models/{model}/versions/{version}/generate_stream", "Not supported."),
    Operation { fails: &[PREDICTION, VERSION], ..INFER }
        .at("/v2/models/{model}/versions/{version}/infer", "A prediction of this version."),
    Operation { fails: &[&[ErrorCode::ModelNotFound], VERSION], ..get(READY) }
        .at("/v2/models/{model}/versions/{version}/ready", "Whether this version answers."),
    version(STATISTICS)
        .at("/v2/models/{model}/versions/{version}/stats", "Statistics of this version."),
    Operation {
        method: "post",
        takes: &[Content::json("V2IndexRequest")],
        fails: &[BODY],
        ..get(&[(200, &[Content::json("V2Index")])])
    }
    .at("/v2/repository/index", "The models, their versions and states."),
    Operation {
        fails: &[BODY, ORDER, &[ErrorCode::ModelNotReady, ErrorCode::Unsupported]],
        ..CHANGE
    }
    .at("/v2/repository/models/{model}/load", "Reads the model's folder again."),
    Operation { fails: &[BODY, ORDER, &[ErrorCode::Unsupported]], ..CHANGE }
        .at("/v2/repository/models/{model}/unload", "Lets the model go."),
    NEVER.at("/v2/systemsharedmemory/{*rest}", "Not supported."),
    NEVER.at("/v2/trace/setting", "Not supported."),
];

/// The schemas that these operations name.
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

fn sizes(least: i64) -> Value {
    list(json!({"type": "integer", "minimum": least}))
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
