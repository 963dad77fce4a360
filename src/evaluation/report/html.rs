//! What was found, as a page.

use super::charts::charts;
use super::page::{Page, escape};
use super::words;
use crate::evaluation::compare::{AnswerChanges, Flip};
use crate::evaluation::figures::Measured;
use crate::evaluation::summary::{Details, Evaluation, Summary, VersionComparison};
use std::sync::Arc;

/// More classes are left to the JSON.
const MAX_CLASSES: usize = 1000;

/// The page.
#[must_use]
pub fn html(found: &Evaluation) -> String {
    let Evaluation { model, data, n_rows, classes, summary, comparison, checks } = found;
    let title = format!("{model}/{} on {n_rows} rows", summary.version);
    let mut page = Page::new(&title);
    page.paragraph(&format!("Rows of {data}."));
    if !checks.is_empty() {
        page.heading("Asked by model.toml");
        page.markup(format_args!("<ul>"));
        for check in checks {
            let class = if check.is_met() { "met" } else { "missed" };
            let words = escape(&words::check(check));
            page.markup(format_args!("<li class=\"{class}\">{words}</li>"));
        }
        page.markup(format_args!("</ul>"));
    }
    page.heading("Figures");
    add_figures(&mut page, summary, comparison.as_ref());
    for note in &summary.notes {
        page.paragraph(note);
    }
    page.paragraph(&words::method());
    if let Some(comparison) = comparison {
        add_changes(&mut page, classes, comparison);
    }
    add_version(&mut page, summary, classes);
    if let Some(comparison) = comparison {
        add_version(&mut page, &comparison.against, classes);
    }
    page.finish()
}

fn add_figures(page: &mut Page, summary: &Summary, comparison: Option<&VersionComparison>) {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let versions = comparison.map(|comparison| {
        [summary.version, comparison.against.version].map(|it| format!("version {it}"))
    });
    let head = match &versions {
        None => vec!["figure", "value", "interval"],
        Some([now, before]) => vec!["figure", now, before, "difference", "interval"],
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
    page.table(&head, &rows);
}

fn add_changes(page: &mut Page, names: &[Arc<str>], comparison: &VersionComparison) {
    let before = comparison.against.version;
    page.heading(&format!("Against version {before}"));
    match &comparison.changes {
        AnswerChanges::Classes { agreement, flips, mended, broken, first } => {
            page.paragraph(&format!(
                "Same class in {:.2} % of the rows; {flips} changed it: {mended} of these were wrong \
                 and are right now, {broken} were right and are wrong now.",
                agreement * 100.0
            ));
            let row = |flip: &Flip| {
                let [label, before, now] = [flip.label, flip.before, flip.now]
                    .map(|it| words::class(names, it).to_owned());
                vec![flip.line.to_string(), before, now, label]
            };
            let rows: Vec<_> = first.iter().map(row).collect();
            if !rows.is_empty() {
                page.table(&["line", "was", "is told", "is"], &rows);
            }
        }
        AnswerChanges::Numbers { largest, mean, line } => {
            page.paragraph(&format!(
                "Apart by {} at most (line {line}), by {} in the mean.",
                words::number(*largest),
                words::number(*mean)
            ));
        }
    }
}

fn add_version(page: &mut Page, summary: &Summary, names: &[Arc<str>]) {
    page.heading(&format!("Version {}", summary.version));
    page.markup(format_args!("<div class=\"charts\">"));
    for chart in charts(summary) {
        page.markup(format_args!(
            "<figure>{}<figcaption>{}</figcaption></figure>",
            chart.svg, chart.title
        ));
    }
    page.markup(format_args!("</div>"));
    let Details::Classes { classes, .. } = &summary.details else { return };
    let head = ["class", "", "precision", "recall", "F1", "ROC-AUC", "rows"];
    let rows = names.iter().zip(classes).enumerate().take(MAX_CLASSES);
    let rows: Vec<_> = rows
        .map(|(place, (name, class))| {
            let [precision, recall, f1] =
                [class.precision, class.recall, class.f1].map(|it| format!("{it:.4}"));
            let (area, rows) = (words::value(class.roc_auc), class.support.to_string());
            vec![name.to_string(), format!("#{place}"), precision, recall, f1, area, rows]
        })
        .collect();
    page.table(&head, &rows);
}
