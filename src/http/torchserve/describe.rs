//! What is registered, as TorchServe tells it. A model that was unloaded is registered no more.

use crate::http::error::Failed;
use crate::http::path::{NamePath, VersionPath, model_ref, named, segments};
use crate::http::state::App;
use crate::inference::{ErrorCode, InferError, ModelName, ModelRef, Version, VersionSelector};
use crate::repository::{LoadedStatus, ModelStatus, VersionStatus};
use crate::telemetry::written_moment;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

/// Models on a page, unless fewer are asked for.
const MAX_LISTED: usize = 100;

#[derive(Deserialize)]
pub(in crate::http) struct Page {
    limit: Option<i64>,
    next_page_token: Option<i64>,
}

pub(in crate::http) async fn list(
    State(app): State<App>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Value>, Failed> {
    let Ok(Query(page)) = page else {
        let message = "the query's \"limit\" and \"next_page_token\" are whole numbers";
        return Err(InferError::new(ErrorCode::InvalidRequest, message).into());
    };
    // What is below zero or above the maximum means the same as what is missing.
    let number = |given: Option<i64>| given.and_then(|given| usize::try_from(given).ok());
    let limit = number(page.limit).filter(|limit| *limit <= MAX_LISTED).unwrap_or(MAX_LISTED);
    let start = number(page.next_page_token).unwrap_or(0);
    let mut models = app.repository.list();
    models.retain(|model| !model.unloaded);
    let end = start.saturating_add(limit).min(models.len());
    let listed = models.get(start..end).unwrap_or_default();
    let listed = listed.iter().map(|model| {
        let url = shown(model).map(|version| url(&model.name, version.version));
        json!({"modelName": model.name.as_str(), "modelUrl": url})
    });
    let mut body = json!({"models": listed.collect::<Vec<_>>()});
    if end < models.len() {
        body["nextPageToken"] = json!(end.to_string());
    }
    Ok(Json(body))
}

pub(in crate::http) async fn default(
    State(app): State<App>,
    path: NamePath,
) -> Result<Json<Vec<Value>>, Failed> {
    let model = registered(&app, &named(path)?.name)?;
    let described = shown(&model).map(|version| describe(&model, version));
    Ok(Json(described.into_iter().collect()))
}

pub(in crate::http) async fn version(
    State(app): State<App>,
    path: VersionPath,
) -> Result<Json<Vec<Value>>, Failed> {
    let (name, version) = segments(path)?;
    Ok(Json(versions(&app, &name, &version)?))
}

/// One version, or all of them.
fn versions(app: &App, name: &str, version: &str) -> Result<Vec<Value>, InferError> {
    let all = version == "all";
    let asked: ModelRef = model_ref(name, (!all).then_some(version))?;
    let model = registered(app, &asked.name)?;
    let wanted = |status: &&VersionStatus| match &asked.version {
        VersionSelector::Specific(version) => *version == status.version,
        // The path is one of all versions, or of a number.
        VersionSelector::Default | VersionSelector::Label(_) => true,
    };
    let described: Vec<_> =
        model.versions.iter().filter(wanted).map(|version| describe(&model, version)).collect();
    if described.is_empty() && !all {
        let message = format!("model {:?} has no version {version}", model.name);
        return Err(InferError::new(ErrorCode::VersionNotFound, message).with_model(&model.name));
    }
    Ok(described)
}

fn registered(app: &App, name: &ModelName) -> Result<ModelStatus, InferError> {
    let model = app.repository.describe(name).filter(|model| !model.unloaded);
    model.ok_or_else(|| {
        let message = format!("there is no model {name:?}, or it was unloaded");
        InferError::new(ErrorCode::ModelNotFound, message)
    })
}

/// The version that a model is described by: its default one, or the highest that there is.
fn shown(model: &ModelStatus) -> Option<&VersionStatus> {
    let serving = model.versions.iter().find(|version| Some(version.version) == model.serving);
    serving.or(model.versions.last())
}

/// Where the version lies in the folder of models.
fn url(name: &ModelName, version: Version) -> String {
    format!("{name}/{version}")
}

fn describe(model: &ModelStatus, version: &VersionStatus) -> Value {
    let mut body = json!({
        "modelName": model.name.as_str(),
        "modelVersion": version.version.to_string(),
        "modelUrl": url(&model.name, version.version),
        "runtime": "libtorch",
        "status": version.state.as_str(),
        "minWorkers": 0,
        "maxWorkers": 0,
        "workers": [],
    });
    if let Some(loaded) = &version.loaded {
        for (key, value) in self::loaded(version, loaded) {
            body[key] = value;
        }
    }
    body
}

/// What is known of a version that is there. An instance is a thread of the server, so all have its
/// process's number, and the weights, which they share, count for each.
fn loaded(version: &VersionStatus, loaded: &LoadedStatus) -> [(&'static str, Value); 9] {
    let LoadedStatus { facts, limits, scheduler, .. } = loaded;
    let device = facts.device.to_string();
    let since = written_moment(version.since);
    let worker = |number: usize| {
        json!({
            "id": number.to_string(),
            "startTime": since,
            "status": "READY",
            "memoryUsage": facts.memory,
            "pid": std::process::id(),
            "gpu": device != "cpu",
            "gpuUsage": "N/A",
        })
    };
    [
        ("minWorkers", json!(scheduler.instances)),
        ("maxWorkers", json!(scheduler.instances)),
        ("batchSize", json!(facts.batch_size.rows)),
        ("maxBatchDelay", json!(facts.max_queue_delay.as_millis() as u64)),
        ("responseTimeout", json!(limits.timeout.as_secs_f64().ceil() as u64)),
        ("clientTimeoutInMills", json!(limits.timeout.as_millis() as u64)),
        ("deviceType", json!(device)),
        ("workers", (0..scheduler.instances).map(worker).collect()),
        (
            "jobQueueStatus",
            json!({
                "remainingCapacity": facts.queue_capacity.saturating_sub(scheduler.queued),
                "pendingRequests": scheduler.queued,
            }),
        ),
    ]
}
