//! A page that stands alone: no script, no font and no picture from elsewhere. What comes from files is escaped.

use super::charts::charts;
use super::words;
use crate::evaluation::compare::{Changes, Flip};
use crate::evaluation::figures::Measured;
use crate::evaluation::summary::{Comparison, Details, Evaluation, Summary};
use std::fmt::Write as _;
use std::sync::Arc;

/// More classes are left to the JSON.
const MAX_CLASSES: usize = 1000;

const STYLE: &str = include_str!("style.css");

/// The page.
#[must_use]
pub fn html(found: &Evaluation) -> String {
    let Evaluation { model, data, n_rows, classes, summary, comparison, checks } = found;
    let title = format!("{model}/{} on {n_rows} rows", summary.version);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n<h1>{}</h1>\n<p>Rows of {}.</p>\n",
        escape(&title),
        escape(&title),
        escape(data)
    );
    // Writing to a string cannot fail.
    if !checks.is_empty() {
        page.push_str("<h2>Asked by model.toml</h2>\n<ul>\n");
        for check in checks {
            let class = if check.is_met() { "met" } else { "missed" };
            let _ = writeln!(page, "<li class=\"{class}\">{}</li>", escape(&words::check(check)));
        }
        page.push_str("</ul>\n");
    }
    page.push_str("<h2>Figures</h2>\n");
    add_figures(&mut page, summary, comparison.as_ref());
    for note in &summary.notes {
        let _ = writeln!(page, "<p>{}</p>", escape(note));
    }
    let _ = writeln!(page, "<p>{}</p>", escape(&words::method()));
    if let Some(comparison) = comparison {
        add_changes(&mut page, classes, comparison);
    }
    add_version(&mut page, summary, classes);
    if let Some(comparison) = comparison {
        add_version(&mut page, &comparison.against, classes);
    }
    page.push_str("</html>\n");
    page
}

fn add_figures(page: &mut String, summary: &Summary, comparison: Option<&Comparison>) {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let head = match comparison {
        None => vec!["figure".to_owned(), "value".to_owned(), "interval".to_owned()],
        Some(comparison) => {
            let [now, before] =
                [summary.version, comparison.against.version].map(|it| format!("version {it}"));
            vec!["figure".to_owned(), now, before, "difference".to_owned(), "interval".to_owned()]
        }
    };
    for (place, Measured { figure, value, interval }) in summary.figures.iter().enumerate() {
        let mut row = vec![figure.title.to_owned(), words::value(*value)];
        match comparison {
            None => row.push(words::interval(*interval)),
            Some(comparison) => {
                let (before, less) =
                    (&comparison.against.figures[place], &comparison.differences[place]);
                row.push(words::value(before.value));
                row.push(words::difference(less.value));
                row.push(words::difference_interval(less.interval));
            }
        }
        rows.push(row);
    }
    add_table(page, &head, &rows);
}

fn add_changes(page: &mut String, names: &[Arc<str>], comparison: &Comparison) {
    let before = comparison.against.version;
    let _ = writeln!(page, "<h2>Against version {before}</h2>");
    match &comparison.changes {
        Changes::Classes { agreement, flips, mended, broken, first } => {
            let _ = writeln!(
                page,
                "<p>Same class in {:.2} % of the rows; {flips} changed it: {mended} of these were wrong \
                 and are right now, {broken} were right and are wrong now.</p>",
                agreement * 100.0
            );
            let row = |flip: &Flip| {
                let [label, before, now] = [flip.label, flip.before, flip.now]
                    .map(|it| words::class(names, it).to_owned());
                vec![flip.line.to_string(), before, now, label]
            };
            let rows: Vec<_> = first.iter().map(row).collect();
            if !rows.is_empty() {
                add_table(page, &["line", "was", "is told", "is"].map(str::to_owned), &rows);
            }
        }
        Changes::Numbers { largest, mean, line } => {
            let _ = writeln!(
                page,
                "<p>Apart by {} at most (line {line}), by {} in the mean.</p>",
                words::number(*largest),
                words::number(*mean)
            );
        }
    }
}

fn add_version(page: &mut String, summary: &Summary, names: &[Arc<str>]) {
    let _ = writeln!(page, "<h2>Version {}</h2>", summary.version);
    page.push_str("<div class=\"charts\">\n");
    for chart in charts(summary) {
        let _ = writeln!(
            page,
            "<figure>{}<figcaption>{}</figcaption></figure>",
            chart.svg, chart.title
        );
    }
    page.push_str("</div>\n");
    let Details::Classes { classes, .. } = &summary.details else { return };
    let head = ["class", "", "precision", "recall", "F1", "ROC-AUC", "rows"].map(str::to_owned);
    let rows = names.iter().zip(classes).enumerate().take(MAX_CLASSES);
    let rows: Vec<_> = rows
        .map(|(place, (name, class))| {
            let [precision, recall, f1] =
                [class.precision, class.recall, class.f1].map(|it| format!("{it:.4}"));
            let (area, rows) = (words::value(class.roc_auc), class.support.to_string());
            vec![name.to_string(), format!("#{place}"), precision, recall, f1, area, rows]
        })
        .collect();
    add_table(page, &head, &rows);
}

fn add_table(page: &mut String, head: &[String], rows: &[Vec<String>]) {
    let cells = |cells: &[String], tag: &str| {
        cells.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect::<String>()
    };
    let _ = writeln!(page, "<table>\n<tr>{}</tr>", cells(head, "th"));
    for row in rows {
        let _ = writeln!(page, "<tr>{}</tr>", cells(row, "td"));
    }
    page.push_str("</table>\n");
}

/// Text that a page shows as it is.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other if other.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}
