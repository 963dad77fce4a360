//! The bodies of the protocols for embeddings: OpenAI's, and that of text-embeddings-inference.

use super::schemas::{list, object, text};
use serde_json::{Value, json};

/// The schemas that the rows of their routes name.
pub(super) fn schemas() -> Vec<(&'static str, Value)> {
    let count = json!({"type": "integer", "minimum": 0});
    let ids = json!({"type": "array", "items": count, "minItems": 1});
    let texts = json!({"type": "array", "items": text(), "minItems": 1});
    let rows = json!({"type": "array", "items": ids, "minItems": 1});
    let input = json!({"oneOf": [text(), texts, ids, rows]});
    let plain = json!({
        "type": "object",
        "properties": {"inputs": input.clone(), "normalize": {"type": "boolean", "enum": [true]}},
        "required": ["inputs"],
    });
    let request = json!({
        "type": "object",
        "properties": {
            "model": text(),
            "input": input,
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
        ("EmbedRequest", plain),
        ("EmbedAnswer", list(list(json!({"type": "number", "nullable": true})))),
        ("EmbedError", object(&[("error", text()), ("error_type", text())], &[])),
    ]
}
