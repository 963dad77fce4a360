//! The operations of TorchServe's protocols: predictions on both listeners, and the management of
//! models on its own.

use super::native::{ORDER, PREDICTION, VERSION};
use super::operation::{Content, On, Operation, Protocol};
use super::schemas::{list, object, text};
use crate::inference::ErrorCode;
use serde_json::{Value, json};

const FOUND: &[ErrorCode] = &[ErrorCode::ModelNotFound];

const fn get(gives: &'static [(u16, &'static [Content])]) -> Operation {
    Operation { protocol: Protocol::TorchServe, gives, ..Operation::new("get", "TorchServe") }
}

const PREDICT: Operation = Operation {
    method: "post",
    takes: &[
        Content::json("TorchServeRequest"),
        Content::BYTES,
        Content { media_type: "multipart/form-data", schema: "Document" },
    ],
    fails: &[PREDICTION],
    predicts: true,
    ..get(&[(200, &[Content::json("TorchServeAnswer")])])
};
const PREDICT_VERSION: Operation = Operation { fails: &[PREDICTION, VERSION], ..PREDICT };

const MANAGE: Operation = Operation { on: On::Management, ..get(&[]) };
const DESCRIBE: Operation =
    Operation { gives: &[(200, &[Content::json("TorchServeModel")])], fails: &[FOUND], ..MANAGE };
const CHANGE: Operation =
    Operation { gives: &[(200, &[Content::json("TorchServeStatus")])], fails: &[ORDER], ..MANAGE };
const NEVER: Operation = Operation { fails: &[&[ErrorCode::Unsupported]], ..MANAGE };
const NO_EXPLANATION: Operation = Operation { method: "any", on: On::Both, ..NEVER };
/// Where the public listener's own routes take other methods, its clients are told where to ask.
const ELSEWHERE: Operation =
    Operation { on: On::Public, fails: &[&[ErrorCode::ManagementOnly]], ..NEVER };

pub(super) const OPERATIONS: &[Operation] = &[
    get(&[(200, &[Content::json("Document")])])
        .at("/api-description", "This document, where TorchServe's clients look for it."),
    Operation { method: "post", ..ELSEWHERE }.at("/models", "On the management listener only."),
    Operation { method: "put", ..ELSEWHERE }
        .at("/models/{model}", "On the management listener only."),
    Operation { method: "delete", ..ELSEWHERE }
        .at("/models/{model}", "On the management listener only."),
    NO_EXPLANATION.at("/explanations/{model}", "Not supported."),
    NO_EXPLANATION.at("/explanations/{model}/{version}", "Not supported."),
    Operation {
        query: &["limit", "next_page_token"],
        gives: &[(200, &[Content::json("TorchServeModels")])],
        ..MANAGE
    }
    .at("/models", "The models that are registered."),
    Operation { method: "post", ..NEVER }.at("/models", "Not supported: reload the model instead."),
    DESCRIBE.at("/models/{model}", "The model's default version."),
    Operation { method: "put", ..NEVER }
        .at("/models/{model}", "Not supported: set the instances in model.toml instead."),
    Operation { method: "delete", ..CHANGE }.at("/models/{model}", "Lets the model go."),
    Operation { fails: &[FOUND, VERSION], ..DESCRIBE }
        .at("/models/{model}/{version}", "This version, or every one for `all`."),
    Operation { method: "put", ..NEVER }
        .at("/models/{model}/{version}", "Not supported: set the instances in model.toml instead."),
    Operation { method: "delete", fails: &[ORDER, VERSION], ..CHANGE }
        .at("/models/{model}/{version}", "Lets this version go."),
    Operation { method: "put", fails: &[ORDER, VERSION], ..CHANGE }
        .at("/models/{model}/{version}/set-default", "Makes this version the default."),
    get(&[
        (200, &[Content::json("TorchServeStatus")]),
        (500, &[Content::json("TorchServeStatus")]),
    ])
    .at("/ping", "Whether traffic should come here."),
    PREDICT.at("/predictions/{model}", "A prediction of the model's default version."),
    Operation { method: "put", ..PREDICT }
        .at("/predictions/{model}", "A prediction of the model's default version."),
    PREDICT_VERSION.at("/predictions/{model}/{version}", "A prediction of this version."),
    Operation { method: "put", ..PREDICT_VERSION }
        .at("/predictions/{model}/{version}", "A prediction of this version."),
];

/// The schemas that these operations name.
pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let whole = json!({"type": "integer", "minimum": 0});
    let entry = [("modelName", text()), ("modelUrl", json!({"type": "string", "nullable": true}))];
    let model = json!({
        "type": "object",
        "properties": {
            "modelName": text(),
            "modelVersion": text(),
            "status": text(),
            "minWorkers": whole,
            "maxWorkers": whole,
            "workers": list(json!({"type": "object"})),
        },
        "required": ["modelName", "modelVersion", "minWorkers", "maxWorkers", "workers"],
    });
    vec![
        (
            "TorchServeError",
            object(
                &[
                    ("code", json!({"type": "integer", "minimum": 400, "maximum": 599})),
                    ("type", text()),
                    ("message", text()),
                ],
                &[],
            ),
        ),
        ("TorchServeStatus", object(&[("status", text())], &[])),
        (
            "TorchServeModels",
            object(
                &[("models", list(object(&entry, &[]))), ("nextPageToken", text())],
                &["nextPageToken"],
            ),
        ),
        ("TorchServeModel", list(model)),
        ("TorchServeRequest", json!({})),
        ("TorchServeAnswer", json!({})),
    ]
}
