//! The bodies of TensorFlow Serving's protocol, which KServe calls V1.

use super::schemas::{list, object, text};
use serde_json::{Value, json};

/// The schemas that the rows of its routes name.
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
