//! What a version's data look like beside its reference, as small plots of the page at `/`.

use super::drift::nearest;
use super::html::escape;
use crate::quality::{DriftReport, FeatureDrift, Trouble, Window};
use std::fmt::Write as _;

/// Size of a plot, in pixels.
const WIDTH: f64 = 120.0;
const HEIGHT: f64 = 36.0;

/// The last hour of a version, if anything was counted in it: a plot for each of the features nearest to their limits.
///
/// Grey are the shares of the reference in its bins, and before them those of the hour.
pub(super) fn drift(page: &mut String, model: &str, report: &DriftReport) {
    let Some(window) = report.windows.iter().find(|it| it.window == Window::Hour) else { return };
    let features = nearest(window);
    if features.is_empty() || window.rows == 0 {
        return;
    }
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "<p class=\"state\"><a href=\"/models/{model}/drift\">Drift</a> of version {}, {} rows of the last hour \
         beside {} of the reference:</p><div class=\"plots\">",
        report.version, window.rows, report.reference_rows
    );
    for feature in features {
        let is_of = |(name, _): &&(String, Trouble)| *name == feature.name;
        plot(page, feature, report.troubles.iter().find(is_of).map(|(_, trouble)| *trouble));
    }
    page.push_str("</div>");
    if let Some((psi, limit)) = window.label_psi {
        let class = if psi > limit { "state trouble" } else { "state" };
        let _ = write!(
            page,
            "<p class=\"{class}\">Labels of the answers: index {psi:.3} of {limit:.3}</p>"
        );
    }
}

/// What is wrong with a feature, or else its index; beside its limit.
fn caption(feature: &FeatureDrift, trouble: Option<Trouble>) -> String {
    let percent = |what: &str| {
        let (value, limit) = feature.measured(trouble?)?;
        Some(format!("{:.1} % {what}, limit {:.1} %", value * 100.0, limit * 100.0))
    };
    let told = match trouble {
        Some(Trouble::OutOfRange) => percent("out of range"),
        Some(Trouble::Missing) => percent("more missing"),
        Some(Trouble::Distribution) | None => None,
    };
    told.unwrap_or_else(|| match feature.psi.zip(feature.psi_limit) {
        Some((psi, limit)) => format!("index {psi:.3} of {limit:.3}"),
        None => "no values".to_owned(),
    })
}

fn plot(page: &mut String, feature: &FeatureDrift, trouble: Option<Trouble>) {
    let share = |counts: &[u64]| -> Vec<f64> {
        let total = counts.iter().sum::<u64>().max(1) as f64;
        counts.iter().map(|count| *count as f64 / total).collect()
    };
    let (before, now) = (share(&feature.reference), share(&feature.bins));
    let highest = before.iter().chain(&now).copied().fold(f64::MIN_POSITIVE, f64::max);
    let class = if trouble.is_some() { " class=\"trouble\"" } else { "" };
    let (index, told) = (caption(feature, None), caption(feature, trouble));
    let name = escape(&feature.name);
    let _ = write!(
        page,
        "<figure{class}><svg width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\"><title>{name}: {index}, \
         {:.1} % out of range, {:.1} % missing</title>",
        feature.out_of_range * 100.0,
        feature.missing * 100.0
    );
    let step = WIDTH / before.len().max(1) as f64;
    for (place, (before, now)) in before.iter().zip(&now).enumerate() {
        let left = place as f64 * step;
        for (share, class, inset) in [(before, "r", 0.08), (now, "w", 0.28)] {
            let height = share / highest * HEIGHT;
            let _ = write!(
                page,
                "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                left + step * inset,
                HEIGHT - height,
                step * (1.0 - 2.0 * inset)
            );
        }
    }
    let _ = write!(page, "</svg><figcaption>{name}<br>{told}</figcaption></figure>");
}
