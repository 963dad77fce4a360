//! Which plots a version has.

use super::svg::{Plot, matrix};
use crate::evaluation::summary::{Details, Summary};

/// A larger matrix cannot be read as a picture.
const MAX_CONFUSED: usize = 40;
/// Classes of lines that the page has colors for.
const N_COLORS: usize = 10;

/// A plot and its title.
pub(super) struct Chart {
    pub(super) title: &'static str,
    pub(super) svg: String,
}

/// All plots of a version.
pub(super) fn charts(summary: &Summary) -> Vec<Chart> {
    match &summary.details {
        Details::Numbers(pairs) => vec![Chart { title: "Answers by label", svg: scatter(pairs) }],
        Details::Classes { confusion, bins, curves, .. } => {
            let mut charts = Vec::new();
            if !curves.is_empty() {
                charts.push(Chart { title: "ROC", svg: roc(curves) });
            }
            if bins.iter().any(|bin| bin.rows > 0.0) {
                let points = bins
                    .iter()
                    .filter(|bin| bin.rows > 0.0)
                    .map(|bin| (bin.confidence / bin.rows, bin.right / bin.rows, bin.rows));
                charts.push(Chart {
                    title: "Calibration",
                    svg: calibration(&points.collect::<Vec<_>>()),
                });
            }
            if let Some(counts) = confusion.as_ref().filter(|counts| counts.len() <= MAX_CONFUSED) {
                charts.push(Chart {
                    title: "Confusion: is (rows), told (columns)",
                    svg: matrix(counts),
                });
            }
            charts
        }
    }
}

fn roc(curves: &[(usize, Vec<(f64, f64)>)]) -> String {
    let mut plot = Plot::new((0.0, 1.0), (0.0, 1.0), "false positive rate", "true positive rate");
    plot.line("even", &[(0.0, 0.0), (1.0, 1.0)]);
    for (class, points) in curves {
        plot.line(&format!("c{}", class % N_COLORS), points);
    }
    plot.finish()
}

/// The mean score, the share of right rows and the number of rows of each bin.
fn calibration(points: &[(f64, f64, f64)]) -> String {
    let mut plot =
        Plot::new((0.0, 1.0), (0.0, 1.0), "mean score of the class told", "share that is right");
    plot.line("even", &[(0.0, 0.0), (1.0, 1.0)]);
    let most = points.iter().map(|point| point.2).fold(1.0, f64::max);
    let line: Vec<_> = points.iter().map(|(x, y, _)| (*x, *y)).collect();
    plot.line("c0", &line);
    for (x, y, rows) in points {
        plot.dot((*x, *y), 2.0 + 6.0 * (rows / most).sqrt());
    }
    plot.finish()
}

fn scatter(pairs: &[(f64, f64)]) -> String {
    let values = pairs.iter().flat_map(|(label, answer)| [*label, *answer]);
    let values = values.filter(|value| value.is_finite());
    let ends = |(low, high): (f64, f64), value: f64| (low.min(value), high.max(value));
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), ends);
    let range = if low <= high { (low, high) } else { (0.0, 1.0) };
    let mut plot = Plot::new(range, range, "label", "answer");
    plot.line("even", &[(range.0, range.0), (range.1, range.1)]);
    for (label, answer) in pairs.iter().filter(|(_, answer)| answer.is_finite()) {
        plot.dot((*label, *answer), 2.5);
    }
    plot.finish()
}
