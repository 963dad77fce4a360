//! The parts of the document that do not depend on models.

use super::schemas::{list, nullable, object, of, prediction, text};
use super::{embeddings, instances, open_inference, torchserve};
use crate::inference::{AnswerForm, Batching, ErrorCode};
use crate::repository::{ALL_EXTRAS, VersionState};
use crate::telemetry::events::EventKind;
use crate::tensor::DataType;
use serde_json::{Value, json};

/// What `$ref`s point to.
pub(super) fn components() -> Value {
    let mut schemas = schemas();
    let others = [
        open_inference::schemas(),
        instances::schemas(),
        torchserve::schemas(),
        embeddings::schemas(),
    ];
    for (name, schema) in others.into_iter().flatten() {
        schemas[name] = schema;
    }
    json!({"schemas": schemas, "parameters": parameters(), "headers": headers()})
}

fn schemas() -> Value {
    let codes: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
    let states: Vec<_> = VersionState::ALL.iter().map(|state| state.as_str()).collect();
    let kinds: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let whole = json!({"type": "integer", "minimum": 0});
    let ready = [
        ("status", json!({"type": "string", "enum": ["ready", "not_ready", "draining"]})),
        ("waiting_for", list(text())),
        ("unloaded", list(text())),
        ("failed", list(text())),
        ("reason", text()),
    ];
    let summary = [
        ("name", text()),
        ("state", json!({"type": "string", "enum": states})),
        ("version", nullable(text())),
        ("required", json!({"type": "boolean"})),
    ];
    let default =
        object(&[("version", text()), ("survives_restart", json!({"type": "boolean"}))], &[]);
    let rejection = object(&[("version", text()), ("sha256", text()), ("reason", text())], &[]);
    let rollout = [
        ("strategy", json!({"type": "string", "enum": ["canary", "shadow", "replace"]})),
        ("candidate", text()),
        ("share", json!({"type": "number", "minimum": 0, "maximum": 1})),
    ];
    let managed = [
        ("default", nullable(default)),
        ("rollout", nullable(object(&rollout, &[]))),
        ("labels", json!({"type": "object", "additionalProperties": text()})),
        ("rejected", list(rejection)),
        ("problem", nullable(text())),
    ];
    let model = [("versions", list(of("Version")))];
    json!({
        "Text": text(),
        "Bytes": {"type": "string", "format": "binary"},
        "Document": {"type": "object"},
        "Error": object(
            &[
                ("error", text()),
                ("code", json!({"type": "string", "enum": codes})),
                ("request_id", text()),
                ("model", text()),
                ("input", text()),
                ("expected", text()),
                ("got", text()),
            ],
            &["model", "input", "expected", "got"],
        ),
        "Live": object(&[("status", json!({"type": "string", "enum": ["live"]}))], &[]),
        "Ready": object(&ready, &["reason"]),
        "Summary": object(
            &[
                &ready[..],
                &[("version", text()), ("uptime_seconds", whole.clone()), ("refuted", list(text())), ("sandbox_missing", list(text())), ("models", list(of("ModelSummary")))],
            ]
            .concat(),
            &["reason"],
        ),
        "ModelSummary": object(&summary, &[]),
        "Rollout": object(&[("rollout", nullable(json!({"type": "object"})))], &[]),
        "FeedbackRequest": {
            "description": "One label, or a list of them in `feedback`.",
            "oneOf": [of("Feedback"), object(&[("feedback", list(of("Feedback")))], &[])],
        },
        "Feedback": object(
            &[
                ("token", text()),
                ("version", text()),
                ("predicted", json!({})),
                ("score", json!({"type": "number", "minimum": 0, "maximum": 1})),
                ("actual", json!({})),
            ],
            &["token", "version", "predicted", "score"],
        ),
        "FeedbackReceipt": object(
            &[
                ("outcomes", json!({"type": "object", "additionalProperties": whole.clone()})),
                ("problems", list(object(&[("item", whole.clone()), ("outcome", text()), ("error", text())], &[]))),
            ],
            &[],
        ),
        "Quality": object(&[("model", text()), ("versions", list(json!({"type": "object"})))], &[]),
        "Drift": object(&[("model", text()), ("versions", list(json!({"type": "object"})))], &[]),
        "Events": object(&[("events", list(of("Event")))], &[]),
        "Event": object(
            &[
                ("id", whole.clone()),
                ("time", json!({"type": "number"})),
                ("kind", json!({"type": "string", "enum": kinds})),
                ("model", text()),
                ("version", text()),
                ("message", text()),
            ],
            &["model", "version"],
        ),
        "Models": object(&[("models", list(of("ModelSummary")))], &[]),
        "ManagedModels": object(
            &[("models", list(object(&[&summary[..], &managed].concat(), &[])))],
            &[],
        ),
        "Model": object(&[&summary[..], &managed, &model].concat(), &[]),
        "Version": version(&whole, &states),
        "Tensor": tensor(),
        "PredictRequest": {
            "description": "Exactly one of the three members; what stands in them follows from the model.",
            "oneOf": [
                object(&[("features", json!({}))], &[]),
                object(&[("instances", json!({"type": "array", "items": {}, "minItems": 1}))], &[]),
                object(&[("inputs", json!({"type": "object"}))], &[]),
            ],
        },
        "Prediction": prediction(
            &[
                ("prediction", json!({})),
                ("predictions", json!({})),
                ("outputs", json!({"type": "object"})),
            ],
            &ALL_EXTRAS.concat(),
        ),
    })
}

fn tensor() -> Value {
    let names: Vec<_> = DataType::ALL.iter().map(|datatype| datatype.name()).collect();
    let dimension = json!({"type": "integer", "minimum": -1});
    object(
        &[
            ("name", text()),
            ("datatype", json!({"type": "string", "enum": names})),
            ("shape", nullable(list(dimension))),
            ("optional", json!({"type": "boolean"})),
            ("declared", json!({"type": "boolean"})),
        ],
        &["optional", "declared"],
    )
}

/// What is known about a version; all but the first four only once it is loaded.
fn version(whole: &Value, states: &[&str]) -> Value {
    let seconds = json!({"type": "number", "minimum": 0});
    let findings: Vec<_> = Batching::ALL.iter().map(|batching| batching.as_str()).collect();
    let forms: Vec<_> = AnswerForm::ALL.iter().map(|form| form.as_str()).collect();
    let always = [
        ("version", text()),
        ("state", json!({"type": "string", "enum": states})),
        ("reason", nullable(text())),
        ("since", seconds.clone()),
    ];
    let batching = [
        ("enabled", json!({"type": "boolean"})),
        ("finding", json!({"type": "string", "enum": findings})),
        ("reason", text()),
        ("max_batch_size", whole.clone()),
        ("max_batch_size_reason", text()),
        ("costs", list(object(&[("rows", whole.clone()), ("seconds", seconds.clone())], &[]))),
        ("max_queue_delay_seconds", seconds.clone()),
    ];
    let loaded = [
        ("description", nullable(text())),
        ("inputs", list(of("Tensor"))),
        ("outputs", list(of("Tensor"))),
        ("answers", json!({"type": "string", "enum": forms})),
        ("labels", list(text())),
        ("batching", object(&batching, &[])),
        (
            "padding",
            nullable(object(&[("inputs", list(text())), ("buckets", list(whole.clone()))], &[])),
        ),
        ("device", text()),
        ("precision", text()),
        ("form", json!({"type": "object"})),
        ("memory_bytes", whole.clone()),
        ("file", object(&[("sha256", text()), ("bytes", whole.clone())], &[])),
        (
            "limits",
            object(
                &[
                    ("max_rows", whole.clone()),
                    ("max_body_bytes", whole.clone()),
                    ("timeout_seconds", seconds.clone()),
                ],
                &[],
            ),
        ),
        (
            "queue",
            object(
                &[
                    ("waiting", whole.clone()),
                    ("capacity", whole.clone()),
                    ("max_wait_seconds", nullable(seconds.clone())),
                    ("running", whole.clone()),
                    ("direct", json!({"type": "boolean"})),
                    ("direct_ended", nullable(text())),
                    ("instances", whole.clone()),
                ],
                &[],
            ),
        ),
        ("format", json!({"type": "string", "enum": ["torchscript", "aot_inductor"]})),
        ("isolation", json!({"type": "string", "enum": ["process", "none"]})),
        ("notes", list(text())),
        ("load_seconds", seconds),
    ];
    let optional: Vec<_> = loaded.iter().map(|(name, _)| *name).collect();
    object(&[&always[..], &loaded].concat(), &optional)
}

fn parameters() -> Value {
    let in_path = |name: &str, schema: Value| json!({"name": name, "in": "path", "required": true, "schema": schema});
    let in_header = |name: &str, description: &str, schema: Value| json!({"name": name, "in": "header", "description": description, "schema": schema});
    json!({
        "Percent": in_path("percent", json!({"type": "number", "minimum": 0, "maximum": 100})),
        "Label": in_path("label", json!({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"})),
        "Model": in_path("model", json!({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"})),
        "Version": in_path("version", json!({"type": "string", "pattern": "^(0|[1-9][0-9]{0,19})$"})),
        "Rest": in_path("rest", text()),
        "RequestId": in_header(
            "X-Request-Id",
            "Kept, returned and logged where it is 1 to 128 visible ASCII characters; otherwise one is made.",
            text(),
        ),
        "Timeout": in_header(
            "X-Request-Timeout-Ms",
            "Milliseconds to wait for the answer; can only shorten the server's own limit.",
            json!({"type": "integer", "minimum": 1}),
        ),
        "Feedback": in_header(
            "sconce-feedback",
            "`1` asks for a token in the answer's header of this name, to send labels back with.",
            text(),
        ),
        "TraceParent": in_header("traceparent", "The caller's trace (W3C Trace Context).", text()),
    })
}

fn headers() -> Value {
    let header =
        |description: &str, schema: Value| json!({"description": description, "schema": schema});
    json!({
        "RequestId": header("The id of this request.", text()),
        "ServerTiming": header("Milliseconds in each phase of the prediction.", text()),
        "RetryAfter": header(
            "Seconds after which to try again, where that may help.",
            json!({"type": "integer", "minimum": 1}),
        ),
    })
}
