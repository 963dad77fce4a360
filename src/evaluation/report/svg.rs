//! Plots as SVG: a square with axes, and lines, points or cells in it. Nothing here comes from a file.

use std::fmt::Write as _;

/// Width and height of what is inside the axes.
const SIDE: f64 = 300.0;
/// Room for the numbers and the names of the axes.
const MARGIN: f64 = 48.0;
/// Numbers along an axis.
const N_TICKS: u32 = 5;

/// From where to where an axis goes.
pub(super) type Range = (f64, f64);

/// A square plot.
pub(super) struct Plot {
    x: Range,
    y: Range,
    text: String,
}

impl Plot {
    /// A square with axes. The names are ours, never a file's.
    pub(super) fn new(x: Range, y: Range, x_name: &str, y_name: &str) -> Self {
        let whole = SIDE + 2.0 * MARGIN;
        let mut text = format!(
            "<svg viewBox=\"0 0 {whole} {whole}\" width=\"{whole}\" height=\"{whole}\" role=\"img\">\
             <rect class=\"frame\" x=\"{MARGIN}\" y=\"{MARGIN}\" width=\"{SIDE}\" height=\"{SIDE}\"/>"
        );
        let (middle, end) = (MARGIN + SIDE / 2.0, MARGIN + SIDE);
        let (below, above) = (end + 38.0, MARGIN - 34.0);
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "<text class=\"name\" x=\"{middle}\" y=\"{below}\">{x_name}</text>\
             <text class=\"name\" x=\"{above}\" y=\"{middle}\" transform=\"rotate(-90 {above} {middle})\">{y_name}</text>"
        );
        let mut plot = Self { x, y, text };
        plot.add_ticks();
        plot
    }

    fn add_ticks(&mut self) {
        for tick in 0..=N_TICKS {
            let share = f64::from(tick) / f64::from(N_TICKS);
            let along = |(from, to): Range| from + (to - from) * share;
            let (x, y) = (along(self.x), along(self.y));
            let (left, top) = self.place((x, y));
            let (bottom, before) = (MARGIN + SIDE + 16.0, MARGIN - 6.0);
            let (x, y) = (short(x), short(y));
            let _ = write!(
                self.text,
                "<text class=\"x\" x=\"{left:.1}\" y=\"{bottom}\">{x}</text>\
                 <text class=\"y\" x=\"{before}\" y=\"{top:.1}\">{y}</text>"
            );
        }
    }

    /// Where a point lies, kept inside the square.
    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let share = |value: f64, (from, to): Range| {
            let share = if to > from { (value - from) / (to - from) } else { 0.5 };
            share.clamp(0.0, 1.0)
        };
        (MARGIN + SIDE * share(x, self.x), MARGIN + SIDE * (1.0 - share(y, self.y)))
    }

    /// Points that are joined.
    pub(super) fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        let places = points.iter().map(|point| {
            let (x, y) = self.place(*point);
            format!("{x:.1},{y:.1}")
        });
        let places: Vec<_> = places.collect();
        let _ =
            write!(self.text, "<polyline class=\"line {class}\" points=\"{}\"/>", places.join(" "));
    }

    /// A point.
    pub(super) fn dot(&mut self, point: (f64, f64), radius: f64) {
        let (x, y) = self.place(point);
        let _ = write!(
            self.text,
            "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"/>"
        );
    }

    /// The whole plot.
    pub(super) fn finish(self) -> String {
        self.text + "</svg>"
    }
}

/// A matrix of counts; a cell is as dark as its share of its row.
pub(super) fn matrix(counts: &[Vec<u64>]) -> String {
    let n = counts.len().max(1);
    let cell = (SIDE / n as f64).max(22.0);
    let whole = cell * n as f64 + 2.0 * MARGIN;
    let mut text = format!(
        "<svg viewBox=\"0 0 {whole:.0} {whole:.0}\" width=\"{whole:.0}\" height=\"{whole:.0}\" role=\"img\">"
    );
    for (row, counts) in counts.iter().enumerate() {
        let all: u64 = counts.iter().sum();
        let top = MARGIN + cell * row as f64;
        let middle = top + cell / 2.0;
        let (before, place) = (MARGIN - 6.0, MARGIN + cell * row as f64 + cell / 2.0);
        let above = MARGIN - 6.0;
        let _ = write!(
            text,
            "<text class=\"y\" x=\"{before}\" y=\"{middle:.1}\">#{row}</text>\
             <text class=\"x\" x=\"{place:.1}\" y=\"{above}\">#{row}</text>"
        );
        for (column, count) in counts.iter().enumerate() {
            let left = MARGIN + cell * column as f64;
            let share = *count as f64 / all.max(1) as f64;
            let center = left + cell / 2.0;
            let tone = if share > 0.5 { "light" } else { "dark" };
            let _ = write!(
                text,
                "<rect class=\"cell\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{cell:.1}\" height=\"{cell:.1}\" \
                 fill-opacity=\"{share:.3}\"/>\
                 <text class=\"count {tone}\" x=\"{center:.1}\" y=\"{middle:.1}\">{count}</text>"
            );
        }
    }
    text + "</svg>"
}

/// A number for an axis.
fn short(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (0.01..10_000.0).contains(&size) {
        let text = format!("{value:.2}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.1e}")
    }
}
