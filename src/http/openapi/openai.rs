//! The bodies of OpenAI's protocol for embeddings.

use super::schemas::{list, object, text};
use serde_json::{Value, json};

/// The schemas that the row of its route names.
pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let count = json!({"type": "integer", "minimum": 0});
    let ids = json!({"type": "array", "items": count, "minItems": 1});
    let texts = json!({"type": "array", "items": text(), "minItems": 1});
    let rows = json!({"type": "array", "items": ids, "minItems": 1});
    let request = json!({
        "type": "object",
        "properties": {
            "model": text(),
            "input": {"oneOf": [text(), texts, ids, rows]},
            "encoding_format": {"type": "string", "enum": ["float", "base64"]},
            "dimensions": {"type": "integer", "minimum": 1},
        },
        "required": ["input"],
    });
    let vector = json!({"oneOf": [{"type": "array", "items": {"type": "number", "nullable": true}}, text()]});
    let item = [("object", text()), ("index", count.clone()), ("embedding", vector)];
    let usage = object(&[("prompt_tokens", count.clone()), ("total_tokens", count)], &[]);
    let answer = [
        ("object", text()),
        ("data", list(object(&item, &[]))),
        ("model", text()),
        ("usage", usage),
    ];
    let error = json!({
        "type": "object",
        "properties": {
            "message": text(),
            "type": text(),
            "param": {"type": "string", "nullable": true},
            "code": text(),
        },
        "required": ["message", "type", "param", "code"],
    });
    vec![
        ("EmbeddingsRequest", request),
        ("Embeddings", object(&answer, &[])),
        ("OpenAiError", object(&[("error", error)], &[])),
    ]
}
