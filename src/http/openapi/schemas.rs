//! The words in which schemas are written.

use super::operation::reference;
use serde_json::{Value, json};

pub(super) fn text() -> Value {
    json!({"type": "string"})
}

pub(super) fn nullable(mut schema: Value) -> Value {
    schema["nullable"] = json!(true);
    schema
}

pub(super) fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

/// An object with these members and no others; those that are not `optional` are always there.
pub(super) fn object(members: &[(&str, Value)], optional: &[&str]) -> Value {
    let required: Vec<_> =
        members.iter().map(|(name, _)| *name).filter(|name| !optional.contains(name)).collect();
    let mut schema = json!({
        "type": "object",
        "properties": members.iter().cloned().map(|(name, it)| (name.to_owned(), it)).collect::<serde_json::Map<_, _>>(),
        "additionalProperties": false,
    });
    // An empty list is not allowed.
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

pub(super) fn of(schema: &str) -> Value {
    reference("schemas", schema)
}

/// An answer of the native routes: what the outputs may stand under, and what stands beside them.
pub(super) fn prediction(forms: &[(&str, Value)], labels: bool) -> Value {
    let score = json!({"type": "number", "nullable": true});
    let top = list(object(&[("label", text()), ("score", score.clone())], &[]));
    let mut members = forms.to_vec();
    if labels {
        members.extend([
            ("label", text()),
            ("score", score.clone()),
            ("labels", list(text())),
            ("scores", list(score)),
            ("top", json!({"anyOf": [top, list(top.clone())]})),
        ]);
    }
    let optional: Vec<_> = members.iter().map(|(name, _)| *name).collect();
    members.extend([("model", text()), ("version", text()), ("request_id", text())]);
    object(&members, &optional)
}
