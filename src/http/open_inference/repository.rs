//! The repository extension: what there is, and loading and unloading it.

use crate::http::error::Failed;
use crate::http::path::{NamePath, named};
use crate::http::state::App;
use crate::http::{json_body, manage};
use crate::inference::{ErrorCode, InferError, ModelName};
use crate::repository::{Repository, RepositoryError, VersionState, VersionStatus};
use axum::Json;
use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Most bytes of these routes' bodies: files of a model are not taken in this way.
const MAX_BODY: usize = 64 * 1024;

#[derive(Default, Deserialize)]
struct IndexBody {
    /// Only what is ready.
    #[serde(default)]
    ready: bool,
}

#[derive(Default, Deserialize)]
struct ChangeBody {
    #[serde(default)]
    parameters: Map<String, Value>,
}

pub(in crate::http) async fn index(
    State(app): State<App>,
    request: Request,
) -> Result<Json<Vec<Value>>, Failed> {
    let wanted: IndexBody = json_body::read(&app, request, MAX_BODY).await?;
    let mut entries: Vec<Value> = Vec::new();
    for model in app.repository.list() {
        let name = model.name.as_str();
        let before = entries.len();
        for version in &model.versions {
            let (state, reason) = describe(version);
            if wanted.ready && state != "READY" {
                continue;
            }
            entries.push(json!({
                "name": name,
                "version": version.version.to_string(),
                "state": state,
                "reason": reason,
            }));
        }
        if entries.len() == before && model.versions.is_empty() && !wanted.ready {
            entries.push(json!({"name": name}));
        }
    }
    Ok(Json(entries))
}

/// Triton's word for a state, and why. The reason of a failure is for operators and stays with
/// them: `GET /models/{model}` tells it.
fn describe(version: &VersionStatus) -> (&'static str, &'static str) {
    match version.state {
        VersionState::Loading | VersionState::Warming | VersionState::Verifying => ("LOADING", ""),
        VersionState::Ready => ("READY", ""),
        VersionState::Draining => ("UNLOADING", "replaced"),
        VersionState::Unloaded => ("UNAVAILABLE", "unloaded"),
        VersionState::Failed => ("UNAVAILABLE", "could not be loaded"),
    }
}

/// Reads a model's folder anew, as Triton does; also for a model that came after the start.
pub(in crate::http) async fn load(
    State(app): State<App>,
    path: NamePath,
    request: Request,
) -> Result<(), Failed> {
    change(&app, path, request, |repository, name| repository.reload(name).map(drop)).await
}

pub(in crate::http) async fn unload(
    State(app): State<App>,
    path: NamePath,
    request: Request,
) -> Result<(), Failed> {
    change(&app, path, request, Repository::unload).await
}

async fn change(
    app: &App,
    path: NamePath,
    request: Request,
    transition: fn(&Repository, &ModelName) -> Result<(), RepositoryError>,
) -> Result<(), Failed> {
    let name = named(path)?.name;
    let body: ChangeBody = json_body::read(app, request, MAX_BODY).await?;
    accept(&body.parameters)?;
    // The protocol's answer has no body.
    Ok(manage::run(app, name, transition).await?)
}

/// A load by parameters would serve what no folder holds and no restart brings back.
fn accept(parameters: &Map<String, Value>) -> Result<(), InferError> {
    let Some(key) = parameters.keys().find(|key| *key != "unload_dependents") else {
        return Ok(());
    };
    let name: String = key.chars().take(32).collect();
    let (code, message) = if key == "config" || key.starts_with("file:") {
        let why = "is not supported: a model is what its folder says";
        (ErrorCode::Unsupported, format!("the parameter {name:?} {why}"))
    } else {
        (
            ErrorCode::InvalidRequest,
            format!("unknown parameter {name:?}, expected \"unload_dependents\""),
        )
    };
    Err(InferError::new(code, message))
}
