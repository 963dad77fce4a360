//! Roll-outs: begun, looked at, moved and ended by operators.

use super::error::Failed;
use super::manage::{change, change_version};
use super::path::{NamePath, VersionPath, named, segments};
use super::state::App;
use crate::inference::{ErrorCode, InferError, ModelName};
use crate::repository::{Repository, Rollout};
use crate::rollout::{Figures, LabelCounts, Report, describe, error_rate};
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

/// What is known of the roll-out under way.
pub(super) async fn show(State(app): State<App>, path: NamePath) -> Result<Json<Value>, Failed> {
    let name = named(path)?.name;
    app.model(&name)?;
    let report = app.rollouts.report(&name);
    Ok(Json(
        report.map_or_else(|| json!({"rollout": null}), |it| json!({"rollout": document(&it)})),
    ))
}

/// Loads a version of the folder beside the one that serves, and begins.
pub(super) async fn start(
    State(app): State<App>,
    path: VersionPath,
) -> Result<Json<Value>, Failed> {
    change_version(&app, path, Repository::roll_out).await
}

/// Has the new version serve alone.
pub(super) async fn promote(State(app): State<App>, path: NamePath) -> Result<Json<Value>, Failed> {
    let promote = |models: &Repository, name: &ModelName| {
        models.promote(name, None, "an operator promoted it")
    };
    change(&app, named(path)?.name, promote).await
}

/// Has the old version serve alone, and rejects the new one.
pub(super) async fn abort(State(app): State<App>, path: NamePath) -> Result<Json<Value>, Failed> {
    let abort = |models: &Repository, name: &ModelName| {
        models.roll_back(name, None, "an operator aborted it")
    };
    change(&app, named(path)?.name, abort).await
}

/// Gives the new version a share of the requests.
pub(super) async fn weight(
    State(app): State<App>,
    path: VersionPath,
) -> Result<Json<Value>, Failed> {
    let (name, percent) = segments(path)?;
    let name = super::path::model_name(&name)?;
    let weight = percent.parse::<f64>().ok().filter(|it| (0.0..=100.0).contains(it));
    let weight = weight.ok_or_else(|| {
        let message = format!("expected a percentage from 0 to 100, got {percent:?}");
        InferError::new(ErrorCode::InvalidRequest, message)
    })?;
    change(&app, name, move |models, name| models.set_rollout_weight(name, weight / 100.0)).await
}

fn document(report: &Report) -> Value {
    let Report { rollout, evidence, dropped, on_step, decision, power } = report;
    let Rollout { stable, candidate, plan, step, weight, is_manual } = rollout;
    json!({
        "stable": stable.version().to_string(),
        "candidate": candidate.version().to_string(),
        "strategy": plan.strategy.as_str(),
        "steps": describe(plan),
        "step": step + 1,
        "weight": weight,
        "share": rollout.share(),
        "set_by_operator": is_manual,
        "step_seconds": on_step.as_secs_f64(),
        "decision": decision,
        "power": power.to_string(),
        "requests": {"stable": figures(&evidence.stable), "candidate": figures(&evidence.candidate)},
        "labels": {"stable": labels(&evidence.labels[0]), "candidate": labels(&evidence.labels[1])},
        "comparison": evidence.comparison.as_ref().map(|it| json!({
            "compared": it.compared,
            "rows": it.rows,
            "mismatched": it.mismatched,
            "flips": it.flips,
            "same": it.same(),
            "largest_difference": it.largest_difference,
            "dropped": dropped,
        })),
    })
}

/// Those that came back on this step.
fn labels(labels: &LabelCounts) -> Value {
    json!({"count": labels.rows, "wrong": labels.wrong})
}

fn figures(figures: &Figures) -> Value {
    let quantile =
        |part| figures.latencies.quantile(part).map(|latency| latency.as_secs_f64() * 1e3);
    json!({
        "count": figures.requests,
        "errors": figures.errors,
        "error_rate": error_rate(figures),
        "p50_ms": quantile(0.5),
        "p95_ms": quantile(0.95),
    })
}
