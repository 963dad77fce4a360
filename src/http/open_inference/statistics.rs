//! The statistics extension: what has been counted of each version since it was first loaded.

use crate::http::error::{Failed, JSON};
use crate::http::path::{NamePath, VersionPath, named, versioned};
use crate::http::state::App;
use crate::inference::{ModelName, ModelRef, Version, VersionSelector};
use crate::repository::ModelHandle;
use crate::telemetry::{BatchStatistics, DurationStatistics};
use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use std::time::UNIX_EPOCH;

pub(in crate::http) async fn all(State(app): State<App>) -> Result<impl IntoResponse, Failed> {
    let asked = app.clone();
    let make = move || {
        let names = asked.repository.list().into_iter().map(|model| model.name);
        document(names.flat_map(|name| handles(&asked, &name))).to_string().into_bytes()
    };
    Ok(([(CONTENT_TYPE, JSON)], app.overviews.statistics.get(make).await?))
}

pub(in crate::http) async fn model(
    State(app): State<App>,
    path: NamePath,
) -> Result<Json<Value>, Failed> {
    let model = named(path)?;
    let handles = handles(&app, &model.name);
    if handles.is_empty() {
        // Resolving says why there is none.
        return one(&app, &model);
    }
    Ok(Json(document(handles.into_iter())))
}

pub(in crate::http) async fn version(
    State(app): State<App>,
    path: VersionPath,
) -> Result<Json<Value>, Failed> {
    one(&app, &versioned(path)?)
}

fn one(app: &App, model: &ModelRef) -> Result<Json<Value>, Failed> {
    Ok(Json(document(std::iter::once(app.repository.resolve(model)?))))
}

/// The versions of a model that are loaded.
fn handles(app: &App, name: &ModelName) -> Vec<ModelHandle> {
    let status = app.repository.describe(name);
    let versions = status.iter().flat_map(|status| &status.versions);
    let specific = |version: Version| {
        let version = VersionSelector::Specific(version);
        app.repository.resolve(&ModelRef { name: name.clone(), version }).ok()
    };
    versions.filter_map(|version| specific(version.version)).collect()
}

fn document(handles: impl Iterator<Item = ModelHandle>) -> Value {
    let models: Vec<Value> = handles.map(|handle| entry(&handle)).collect();
    json!({"model_stats": models})
}

fn entry(handle: &ModelHandle) -> Value {
    let statistics = handle.metrics().statistics();
    let last = statistics.last_inference.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    // A cache of answers is not there, so nothing hits it and nothing misses it; clients read these
    // members without asking.
    let none = json!({"count": 0, "ns": 0});
    json!({
        "name": handle.name().as_str(),
        "version": handle.version().to_string(),
        "last_inference": last.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0)),
        "inference_count": statistics.inference_count,
        "execution_count": statistics.execution_count,
        "inference_stats": {
            "success": duration(&statistics.success),
            "fail": duration(&statistics.fail),
            "queue": duration(&statistics.queue),
            "compute_input": duration(&statistics.compute_input),
            "compute_infer": duration(&statistics.compute_infer),
            "compute_output": duration(&statistics.compute_output),
            "cache_hit": none,
            "cache_miss": none,
        },
        "response_stats": {},
        "batch_stats": statistics.batches.iter().map(batch).collect::<Vec<_>>(),
        "memory_usage": [memory(handle)],
    })
}

fn batch(batch: &BatchStatistics) -> Value {
    json!({
        "batch_size": batch.batch_size,
        "compute_input": duration(&batch.compute_input),
        "compute_infer": duration(&batch.compute_infer),
        "compute_output": duration(&batch.compute_output),
    })
}

fn duration(duration: &DurationStatistics) -> Value {
    json!({"count": duration.count, "ns": duration.ns})
}

fn memory(handle: &ModelHandle) -> Value {
    let facts = handle.facts();
    let device = facts.device.to_string();
    let (kind, id) = match device.strip_prefix("cuda:") {
        Some(index) => ("GPU", index.parse::<usize>().unwrap_or(0)),
        None => ("CPU", 0),
    };
    json!({"type": kind, "id": id, "byte_size": facts.memory})
}
