//! The bodies of TorchServe's protocols.

use super::schemas::{list, object, text};
use serde_json::{Value, json};

/// The schemas that the rows of its routes name.
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
