//! The operations of TensorFlow Serving's protocol, which KServe calls V1, and their bodies.

use super::native::{PREDICTION, VERSION};
use super::operation::{Content, Operation, Protocol};
use super::schemas::{list, object, text};
use crate::inference::ErrorCode;
use serde_json::{Value, json};

const FOUND: &[ErrorCode] = &[ErrorCode::ModelNotFound];
const READ: &[ErrorCode] = &[ErrorCode::ModelNotFound, ErrorCode::ModelNotReady];

const fn get(gives: &'static [(u16, &'static [Content])]) -> Operation {
    Operation {
        protocol: Protocol::Instances,
        gives,
        ..Operation::new("get", "TensorFlow Serving, KServe V1")
    }
}

const STATUS: Operation =
    Operation { fails: &[FOUND], ..get(&[(200, &[Content::json("V1Status")])]) };
const METADATA: Operation =
    Operation { fails: &[READ], ..get(&[(200, &[Content::json("Document")])]) };

const PREDICT: Operation = Operation {
    method: "post",
    takes: &[Content::json("V1Request")],
    fails: &[PREDICTION],
    predicts: true,
    ..get(&[(200, &[Content::json("V1Answer")])])
};

const NEVER: Operation =
    Operation { method: "any", fails: &[&[ErrorCode::Unsupported]], ..get(&[]) };
const NO_VERB: Operation = Operation { method: "post", ..NEVER };

pub(super) const OPERATIONS: &[Operation] = &[
    get(&[(200, &[Content::json("V1Models")])]).at("/v1/models", "The names of the models."),
    STATUS.at("/v1/models/{model}", "Whether the model is ready, and the states of its versions."),
    NEVER.at("/v1/models/{model}/labels/{*rest}", "Not supported."),
    METADATA.at("/v1/models/{model}/metadata", "The model's signature."),
    Operation { fails: &[FOUND, VERSION], ..STATUS }
        .at("/v1/models/{model}/versions/{version}", "The state of this version."),
    Operation { fails: &[READ, VERSION], ..METADATA }
        .at("/v1/models/{model}/versions/{version}/metadata", "This version's signature."),
    NO_VERB.at("/v1/models/{model}/versions/{version}:classify", "Not supported."),
    NO_VERB.at("/v1/models/{model}/versions/{version}:explain", "Not supported."),
    Operation { fails: &[PREDICTION, VERSION], ..PREDICT }
        .at("/v1/models/{model}/versions/{version}:predict", "A prediction of this version."),
    NO_VERB.at("/v1/models/{model}/versions/{version}:regress", "Not supported."),
    NO_VERB.at("/v1/models/{model}:classify", "Not supported."),
    NO_VERB.at("/v1/models/{model}:explain", "Not supported."),
    PREDICT.at("/v1/models/{model}:predict", "A prediction of the model's default version."),
    NO_VERB.at("/v1/models/{model}:regress", "Not supported."),
];

/// The schemas that these operations name.
pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let state = json!({"type": "string", "enum": ["LOADING", "AVAILABLE", "UNLOADING", "END"]});
    let status = object(&[("error_code", text()), ("error_message", text())], &[]);
    let version = object(&[("version", text()), ("state", state), ("status", status)], &[]);
    let model = [
        ("name", text()),
        ("ready", json!({"type": "boolean"})),
        ("model_version_status", list(version)),
    ];
    vec![
        ("V1Models", object(&[("models", list(text()))], &[])),
        ("V1Status", object(&model, &[])),
        ("V1Request", request([json!({}), json!({})])),
        ("V1Answer", answer([json!({}), json!({})])),
    ]
}

/// A request in rows, of this schema each, or in columns.
pub(super) fn request([rows, columns]: [Value; 2]) -> Value {
    let form = |member: &str, schema: Value| {
        json!({
            "type": "object",
            "properties": {member: schema, "signature_name": text()},
            "required": [member],
        })
    };
    json!({"oneOf": [form("instances", rows), form("inputs", columns)]})
}

pub(super) fn answer([rows, columns]: [Value; 2]) -> Value {
    json!({"oneOf": [object(&[("predictions", rows)], &[]), object(&[("outputs", columns)], &[])]})
}
