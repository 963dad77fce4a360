//! One JSON object for programs. Numbers have all their digits.

use super::words;
use crate::evaluation::bounds::BoundCheck;
use crate::evaluation::compare::{AnswerChanges, Flip};
use crate::evaluation::figures::{Bin, CONFIDENCE, ClassFigures, Measured, N_RESAMPLES, SEED};
use crate::evaluation::summary::{Details, Evaluation, Summary, VersionComparison};
use crate::repository::manifest::Bound;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Everything that was found.
#[must_use]
pub fn json(found: &Evaluation) -> Value {
    let Evaluation { model, data, n_rows, classes, summary, comparison, checks } = found;
    json!({
        "model": model.as_str(),
        "version": summary.version.to_string(),
        "data": data,
        "rows": n_rows,
        "kind": if classes.is_empty() { "regression" } else { "classification" },
        "intervals": { "share": CONFIDENCE, "resamples": N_RESAMPLES, "seed": SEED },
        "result": version(summary, classes),
        "against": comparison.as_ref().map(|it| against(it, classes)),
        "bounds": checks.iter().map(check).collect::<Vec<_>>(),
    })
}

fn version(summary: &Summary, names: &[Arc<str>]) -> Value {
    let mut value = json!({ "figures": figures(&summary.figures) });
    if let Details::Classes { classes, confusion, bins, .. } = &summary.details {
        let classes = names.iter().zip(classes).map(class);
        value["classes"] = classes.collect();
        value["confusion"] = json!(confusion);
        value["calibration"] = bins.iter().map(bin).collect();
    }
    value["notes"] = json!(summary.notes);
    value
}

fn figures(figures: &[Measured]) -> Value {
    let figure = |it: &Measured| {
        let (low, high) = it.interval.unzip();
        (it.figure.name.to_owned(), json!({ "value": it.value, "low": low, "high": high }))
    };
    Value::Object(figures.iter().map(figure).collect::<Map<_, _>>())
}

fn class((name, figures): (&Arc<str>, &ClassFigures)) -> Value {
    let ClassFigures { precision, recall, f1, support, roc_auc } = figures;
    json!({
        "label": &**name, "precision": precision, "recall": recall, "f1": f1, "support": support, "roc_auc": roc_auc,
    })
}

/// Means, since sums say nothing by themselves.
fn bin(bin: &Bin) -> Value {
    let mean = |sum: f64| (bin.rows > 0.0).then(|| sum / bin.rows);
    json!({ "rows": bin.rows as u64, "confidence": mean(bin.confidence), "accuracy": mean(bin.right) })
}

fn against(comparison: &VersionComparison, names: &[Arc<str>]) -> Value {
    let VersionComparison { against, differences, changes } = comparison;
    let mut value = json!({
        "version": against.version.to_string(),
        "result": version(against, names),
        "differences": figures(differences),
    });
    let flip = |flip: &Flip| {
        let [label, before, now] =
            [flip.label, flip.before, flip.now].map(|it| words::class(names, it));
        json!({ "line": flip.line, "label": label, "before": before, "now": now })
    };
    value["changes"] = match changes {
        AnswerChanges::Classes { agreement, flips, mended, broken, first } => json!({
            "agreement": agreement, "flips": flips, "mended": mended, "broken": broken,
            "first": first.iter().map(flip).collect::<Vec<_>>(),
        }),
        AnswerChanges::Numbers { largest, mean, line } => {
            json!({ "largest": largest, "mean": mean, "line": line })
        }
    };
    value
}

fn check(check: &BoundCheck) -> Value {
    let (kind, bound) = match check.bound {
        Bound::AtLeast(bound) => ("at_least", bound),
        Bound::AtMost(bound) => ("at_most", bound),
    };
    json!({ "figure": check.name, kind: bound, "value": check.value, "met": check.is_met() })
}
