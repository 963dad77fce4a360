//! What the repository reports about models, as JSON.
//!
//! Some sentences hold words of a model file or of its code, which may have read what it should not: a raised error, what was
//! measured, where the code couples rows. They are for operators; everybody else gets a fixed text in their place.

use crate::inference::{Batching, Padding, TensorSpec};
use crate::repository::{
    FormFacts, FormFindings, LoadedStatus, ModelFailure, ModelStatus, RejectedVersion, RunTimes,
    TimedRun, TriedForm, UNKEPT, VersionState, VersionStatus,
};
use serde_json::{Value, json};
use std::time::UNIX_EPOCH;

/// A model in a list: its name, its state and the version that it serves.
pub(super) fn summary(model: &ModelStatus) -> Value {
    json!({
        "name": model.name.as_str(),
        "state": state(model),
        "version": model.serving.map(|version| version.to_string()),
        "required": model.required,
    })
}

/// The same with what operators look for first.
pub(super) fn managed(model: &ModelStatus) -> Value {
    let mut body = summary(model);
    body["default"] = default(model);
    body["rollout"] = rollout(model);
    body["labels"] = labels(model);
    body["rejected"] = rejected(Audience::Operators, model);
    body["problem"] = problem(Audience::Operators, model);
    body
}

fn default(model: &ModelStatus) -> Value {
    model.pin.map_or(
        Value::Null,
        |pin| json!({"version": pin.version.to_string(), "survives_restart": pin.kept}),
    )
}

fn rollout(model: &ModelStatus) -> Value {
    model.rollout.map_or(Value::Null, |it| {
        json!({
            "strategy": it.strategy.as_str(),
            "candidate": it.candidate.to_string(),
            "share": it.share,
        })
    })
}

fn problem(audience: Audience, model: &ModelStatus) -> Value {
    let problem = model.problem.as_ref().map(|it| audience.explanation(it));
    let unkept = (model.is_unkept && audience == Audience::Operators).then_some(UNKEPT);
    let all: Vec<_> = problem.into_iter().chain(unkept).collect();
    if all.is_empty() { Value::Null } else { json!(all.join("\n")) }
}

/// Its versions whose requests shared runs until an answer turned out to hang on that, as `model/version`.
pub(super) fn refuted(model: &ModelStatus) -> impl Iterator<Item = Value> {
    let is_refuted = |version: &&VersionStatus| {
        version.loaded.as_ref().is_some_and(|it| it.batching() == Batching::Refuted)
    };
    let versions = model.versions.iter().filter(is_refuted);
    versions.map(|version| json!(format!("{}/{}", model.name, version.version)))
}

/// Who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    Everybody,
    Operators,
}

impl Audience {
    /// A sentence that may hold words of a file, or what stands in its place.
    fn may_read<'a>(self, sentence: &'a str, fixed: &'a str) -> &'a str {
        match self {
            Self::Everybody => fixed,
            Self::Operators => sentence,
        }
    }

    fn explanation(self, failure: &ModelFailure) -> &str {
        self.may_read(failure.details(), failure.public())
    }
}

const FORM_REASON: &str = "this form is not used; the log and the management listener say more";

/// All that is known about a model, for operators.
pub(super) fn model(model: &ModelStatus) -> Value {
    model_for(Audience::Operators, model)
}

/// All that an audience may know about a model.
pub(super) fn model_for(audience: Audience, model: &ModelStatus) -> Value {
    let mut body = summary(model);
    body["default"] = default(model);
    body["rollout"] = rollout(model);
    body["labels"] = labels(model);
    body["rejected"] = rejected(audience, model);
    body["problem"] = problem(audience, model);
    body["versions"] = model.versions.iter().map(|it| version(audience, it)).collect();
    body
}

fn labels(model: &ModelStatus) -> Value {
    let labels = model.labels.iter();
    labels.map(|(label, version)| (label.to_string(), json!(version.to_string()))).collect()
}

fn rejected(audience: Audience, model: &ModelStatus) -> Value {
    model.rejected.iter().map(|it| rejection(audience, it)).collect()
}

fn rejection(audience: Audience, rejected: &RejectedVersion) -> Value {
    let RejectedVersion { version, digest, reason } = rejected;
    let reason = audience.may_read(reason, "the management listener says why");
    json!({"version": version.to_string(), "sha256": digest, "reason": reason})
}

/// One word for the whole model: `ready` as soon as a version serves.
fn state(model: &ModelStatus) -> &'static str {
    let has = |state| model.versions.iter().any(|version| version.state == state);
    if has(VersionState::Ready) {
        VersionState::Ready.as_str()
    } else if model.busy || model.versions.iter().any(|version| version.state.is_coming()) {
        VersionState::Loading.as_str()
    } else if model.unloaded {
        VersionState::Unloaded.as_str()
    } else {
        VersionState::Failed.as_str()
    }
}

fn version(audience: Audience, version: &VersionStatus) -> Value {
    let since = version.since.duration_since(UNIX_EPOCH).unwrap_or_default();
    let reason = version.failure.as_ref().map(|it| audience.explanation(it));
    let mut body = json!({
        "version": version.version.to_string(),
        "state": version.state.as_str(),
        "reason": reason,
        "since": since.as_secs_f64(),
    });
    if let (Some(loaded), Some(object)) = (&version.loaded, body.as_object_mut()) {
        object.extend(self::loaded(audience, loaded));
    }
    body
}

fn loaded(audience: Audience, loaded: &LoadedStatus) -> serde_json::Map<String, Value> {
    let LoadedStatus { spec, facts, limits, scheduler, .. } = loaded;
    let members = [
        ("description", json!(facts.description)),
        ("inputs", spec.inputs.iter().map(input).collect()),
        ("outputs", spec.outputs.iter().map(tensor).collect()),
        ("answers", json!(spec.contract.form.as_str())),
        ("labels", facts.labels.iter().map(|label| &**label).collect()),
        (
            "batching",
            json!({
                "enabled": loaded.batching().is_allowed(),
                "finding": loaded.batching().as_str(),
                "reason": audience.may_read(&loaded.batching_reason(), loaded.batching().reason()),
                "max_batch_size": facts.batch_size.rows,
                "max_batch_size_reason": facts.batch_size.reason,
                "costs": facts.curve.iter().map(run).collect::<Vec<_>>(),
                "max_queue_delay_seconds": facts.max_queue_delay.as_secs_f64(),
            }),
        ),
        ("padding", facts.padding.as_deref().map_or(Value::Null, |it| padding(it, &spec.inputs))),
        ("device", json!(facts.device.to_string())),
        ("precision", json!(facts.precision.as_str())),
        ("form", form(audience, &facts.form)),
        ("memory_bytes", json!(facts.memory)),
        ("file", json!({"sha256": facts.digest, "bytes": facts.file_bytes})),
        (
            "limits",
            json!({
                "max_rows": spec.max_rows,
                "max_body_bytes": limits.max_body_bytes,
                "timeout_seconds": limits.timeout.as_secs_f64(),
            }),
        ),
        (
            "queue",
            json!({
                "waiting": scheduler.queued,
                "capacity": facts.queue_capacity,
                "max_wait_seconds": facts.max_queue_wait.map(|it| it.as_secs_f64()),
                "running": scheduler.running,
                "direct": scheduler.direct,
                "direct_ended": scheduler.direct_ended,
                "instances": scheduler.instances,
            }),
        ),
        ("format", json!(facts.format.as_str())),
        ("isolation", json!(if facts.is_isolated { "process" } else { "none" })),
        ("notes", notes(audience, &facts.notes)),
        ("load_seconds", json!(facts.load_duration.as_secs_f64())),
    ];
    members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// Notes are sentences about the model, how many of them there are is not.
fn notes(audience: Audience, notes: &[String]) -> Value {
    match (audience, notes.len()) {
        (Audience::Operators, _) | (_, 0) => json!(notes),
        (Audience::Everybody, n) => {
            json!([format!("{n} notes on it are in the log and on the management listener")])
        }
    }
}

fn padding(padding: &Padding, inputs: &[TensorSpec]) -> Value {
    let padded = inputs.iter().zip(&padding.pads).filter(|(_, pad)| pad.is_some());
    json!({
        "inputs": padded.map(|(spec, _)| &*spec.name).collect::<Vec<_>>(),
        "buckets": padding.buckets,
    })
}

fn run(run: &TimedRun) -> Value {
    json!({"rows": run.n_rows, "seconds": run.duration.as_secs_f64()})
}

/// In which form the model runs, what that is worth, and what became of the others.
fn form(audience: Audience, form: &FormFindings) -> Value {
    let facts = |facts: &FormFacts| {
        let RunTimes { min_rows, max_rows } = facts.times;
        let mut runs = vec![run(&min_rows)];
        if max_rows.n_rows != min_rows.n_rows {
            runs.push(run(&max_rows));
        }
        let changed = facts.changed.map(|(rows, all)| json!({"rows": rows, "of": all}));
        json!({
            "gain": facts.gain,
            "difference": facts.difference,
            "changed_classes": changed,
            "runs": runs,
        })
    };
    let tried = |tried: &TriedForm| {
        let mut body = match &tried.outcome {
            Ok(it) => facts(it),
            Err(reason) => json!({"reason": audience.may_read(reason, FORM_REASON)}),
        };
        body["form"] = json!(tried.form.to_string());
        body
    };
    json!({
        "chosen": form.chosen.to_string(),
        "gain": form.gain(),
        "difference": form.facts().map_or(0.0, |facts| facts.difference),
        "tried": form.tried.iter().map(tried).collect::<Vec<_>>(),
    })
}

/// An input: whether datatype and shape are the rule, or only what was seen to work.
fn input(spec: &TensorSpec) -> Value {
    let mut body = tensor(spec);
    body["declared"] = json!(spec.declared);
    body
}

/// A tensor of a specification.
pub(super) fn tensor(spec: &TensorSpec) -> Value {
    let mut body = json!({
        "name": &*spec.name,
        "datatype": spec.datatype.name(),
        "shape": spec.shape.to_wire(),
    });
    if spec.optional {
        body["optional"] = json!(true);
    }
    body
}
