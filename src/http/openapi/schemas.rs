//! The words in which schemas are written.

use super::operation::reference;
use crate::inference::{ExtraKind, ExtraSpec};
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
pub(super) fn prediction(forms: &[(&str, Value)], extras: &[ExtraSpec]) -> Value {
    let mut members = forms.to_vec();
    for extra in extras {
        let one = extra_value(extra.kind);
        let many = list(one.clone());
        if extra.name == extra.plural {
            members.push((extra.name, json!({"anyOf": [one, many]})));
        } else {
            members.extend([(extra.name, one), (extra.plural, many)]);
        }
    }
    let optional: Vec<_> = members.iter().map(|(name, _)| *name).collect();
    members.extend([("model", text()), ("version", text()), ("request_id", text())]);
    object(&members, &optional)
}

/// What one row has of a value that a step adds.
fn extra_value(kind: ExtraKind) -> Value {
    let number = json!({"type": "number", "nullable": true});
    match kind {
        ExtraKind::Text => json!({"type": "string", "nullable": true}),
        ExtraKind::Number => number,
        ExtraKind::Ranking => list(object(&[("label", text()), ("score", number)], &[])),
    }
}
