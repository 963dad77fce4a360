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
        let trouble = |it: &Trouble| {
            report.troubles.iter().any(|(name, trouble)| *name == feature.name && trouble == it)
        };
        plot(page, feature, Trouble::ALL.iter().any(trouble));
    }
    page.push_str("</div>");
}

fn plot(page: &mut String, feature: &FeatureDrift, is_in_trouble: bool) {
    let share = |counts: &[u64]| -> Vec<f64> {
        let total = counts.iter().sum::<u64>().max(1) as f64;
        counts.iter().map(|count| *count as f64 / total).collect()
    };
    let (before, now) = (share(&feature.reference), share(&feature.bins));
    let highest = before.iter().chain(&now).copied().fold(f64::MIN_POSITIVE, f64::max);
    let class = if is_in_trouble { " class=\"trouble\"" } else { "" };
    let index = match feature.psi.zip(feature.psi_limit) {
        Some((psi, limit)) => format!("{psi:.3} of {limit:.3}"),
        None => "no values".to_owned(),
    };
    let name = escape(&feature.name);
    let _ = write!(
        page,
        "<figure{class}><svg width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\"><title>{name}: index {index}, \
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
    let _ = write!(page, "</svg><figcaption>{name}<br>{index}</figcaption></figure>");
}
