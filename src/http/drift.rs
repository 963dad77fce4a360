//! How a model's data stand beside the references of its versions.

use super::error::Failed;
use super::path::{NamePath, named};
use super::state::App;
use crate::inference::{ModelName, ModelRef, Version, VersionSelector};
use crate::quality::{DriftReport, FeatureDrift, LabelShare, Trouble, WindowReport};
use crate::repository::VersionState;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

/// Features of a window that are listed: those that moved most.
const LISTED: usize = 10;

/// Every version that serves and has a reference, by what this replica has counted.
pub(super) async fn show(State(app): State<App>, path: NamePath) -> Result<Json<Value>, Failed> {
    let name = named(path)?.name;
    let model = app.model(&name)?;
    let ready = model.versions.iter().filter(|it| it.state == VersionState::Ready);
    let reports = ready.filter_map(|it| report(&app, &name, it.version));
    let versions: Vec<_> = reports.map(|report| document(&report)).collect();
    Ok(Json(json!({"model": name.as_str(), "versions": versions})))
}

/// How a version stands; `None` for one that does not serve, or has nothing to stand beside.
pub(super) fn report(app: &App, name: &ModelName, version: Version) -> Option<DriftReport> {
    let version = VersionSelector::Specific(version);
    let handle = app.repository.resolve(&ModelRef { name: name.clone(), version }).ok()?;
    app.quality.report(&handle)
}

/// The features of a window that are nearest to their limits, the nearest first.
pub(super) fn nearest(window: &WindowReport) -> Vec<&FeatureDrift> {
    let mut features: Vec<_> = window.features.iter().collect();
    features.sort_by(|one, other| moved(other).total_cmp(&moved(one)));
    features.truncate(LISTED);
    features
}

fn document(report: &DriftReport) -> Value {
    let troubles = report.troubles.iter();
    let trouble = |(feature, trouble): &(String, Trouble)| json!({"feature": feature, "trouble": trouble.as_str()});
    json!({
        "version": report.version.to_string(),
        "reference_rows": report.reference_rows,
        "troubles": troubles.map(trouble).collect::<Vec<_>>(),
        "windows": report.windows.iter().map(window).collect::<Vec<_>>(),
    })
}

fn window(window: &WindowReport) -> Value {
    let label = |share: &LabelShare| {
        let LabelShare { label, rows, reference_rows } = share;
        json!({"label": label, "rows": rows, "reference_rows": reference_rows})
    };
    json!({
        "window": window.window.as_str(),
        "rows": window.rows,
        "features": nearest(window).into_iter().map(feature).collect::<Vec<_>>(),
        "labels": window.labels.iter().map(label).collect::<Vec<_>>(),
        "labels_psi": window.label_psi.map(|(psi, _)| psi),
        "labels_psi_limit": window.label_psi.map(|(_, limit)| limit),
        "labels_l_infinity": window.label_l_infinity,
    })
}

/// How near to its limits a feature is, the nearest counts.
fn moved(feature: &FeatureDrift) -> f64 {
    let ratio = |trouble| feature.measured(trouble).map_or(0.0, |(value, limit)| value / limit);
    Trouble::ALL.into_iter().map(ratio).fold(0.0, f64::max)
}

fn feature(feature: &FeatureDrift) -> Value {
    json!({
        "feature": feature.name,
        "values": feature.values,
        "psi": feature.psi,
        "psi_limit": feature.psi_limit,
        "ks": feature.ks,
        "jensen_shannon": feature.jensen_shannon,
        "chi_squared": feature.chi_squared.map(|(value, _)| value),
        "degrees_of_freedom": feature.chi_squared.map(|(_, degrees)| degrees),
        "rank_mean": feature.rank.map(|(mean, _)| mean),
        "rank_z": feature.rank.and_then(|(_, z)| z),
        "out_of_range": feature.out_of_range,
        "missing": feature.missing,
        "reference_missing": feature.reference_missing,
        "bins": feature.bins,
        "reference_bins": feature.reference,
    })
}
