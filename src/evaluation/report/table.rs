//! A table for people.

use super::words;
use crate::evaluation::compare::AnswerChanges;
use crate::evaluation::figures::Measured;
use crate::evaluation::summary::{Details, Evaluation, Summary, VersionComparison};
use std::fmt::Write as _;
use std::sync::Arc;

/// A matrix of more classes does not fit a terminal.
const MAX_CONFUSED: usize = 20;
/// More classes are left to the other reports.
const MAX_CLASSES: usize = 50;
/// Longest name of a class that is shown whole.
const MAX_NAME: usize = 24;

/// Everything that fits a terminal.
#[must_use]
pub fn table(found: &Evaluation) -> String {
    let Evaluation { model, data, n_rows, classes, summary, comparison, checks } = found;
    let mut text = format!("{model}/{} on {n_rows} rows of {}\n\n", summary.version, safe(data));
    add_figures(&mut text, summary, comparison.as_ref());
    if let Details::Classes { confusion, .. } = &summary.details {
        add_classes(&mut text, classes, &summary.details);
        if let Some(matrix) = confusion.as_ref().filter(|matrix| matrix.len() <= MAX_CONFUSED) {
            add_confusion(&mut text, classes, matrix);
        }
    }
    if let Some(comparison) = comparison {
        add_changes(&mut text, classes, comparison);
    }
    for note in &summary.notes {
        let _ = writeln!(text, "\nNote: {note}");
    }
    let _ = writeln!(text, "\n{}", words::method());
    for check in checks {
        let _ = writeln!(text, "{}", words::check(check));
    }
    text
}

/// Figures over all rows. Writing to a string cannot fail.
fn add_figures(text: &mut String, summary: &Summary, comparison: Option<&VersionComparison>) {
    let Some(comparison) = comparison else {
        let _ = writeln!(text, "{:<32}{:>11}   interval", "figure", "value");
        for Measured { figure, value, interval } in &summary.figures {
            let (value, interval) = (words::value(*value), words::interval(*interval));
            let _ = writeln!(text, "{:<32}{value:>11}   {interval}", figure.title);
        }
        return;
    };
    let (now, before) = (summary.version, comparison.against.version);
    let [now, before] = [now, before].map(|version| format!("version {version}"));
    let _ = writeln!(text, "{:<32}{now:>13}{before:>13}{:>13}   interval", "figure", "difference");
    let rows = summary.figures.iter().zip(&comparison.against.figures).zip(&comparison.differences);
    for ((now, before), less) in rows {
        let _ = writeln!(
            text,
            "{:<32}{:>13}{:>13}{:>13}   {}",
            now.figure.title,
            words::value(now.value),
            words::value(before.value),
            words::difference(less.value),
            words::difference_interval(less.interval)
        );
    }
}

fn add_classes(text: &mut String, names: &[Arc<str>], details: &Details) {
    let Details::Classes { classes, .. } = details else { return };
    let width = width(names);
    let _ = writeln!(
        text,
        "\n{:<width$} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "class", "precision", "recall", "F1", "ROC-AUC", "rows"
    );
    for (name, class) in names.iter().zip(classes).take(MAX_CLASSES) {
        let _ = writeln!(
            text,
            "{:<width$} {:>10.4} {:>10.4} {:>10.4} {:>10} {:>10}",
            shown(name),
            class.precision,
            class.recall,
            class.f1,
            words::value(class.roc_auc),
            class.support
        );
    }
    if names.len() > MAX_CLASSES {
        let _ = writeln!(text, "and {} more: see --json or --report", names.len() - MAX_CLASSES);
    }
}

fn add_confusion(text: &mut String, names: &[Arc<str>], matrix: &[Vec<u64>]) {
    let width = width(names);
    let cell = matrix.iter().flatten().max().map_or(1, |most| most.to_string().len());
    let column = cell.max(names.len().to_string().len() + 1) + 1;
    let _ = write!(text, "\n{:<width$}", "is ↓, told →");
    // Columns are numbered, since names are too long to stand above them.
    for place in 0..names.len() {
        let _ = write!(text, "{:>column$}", format!("#{place}"));
    }
    text.push('\n');
    for ((place, name), row) in names.iter().enumerate().zip(matrix) {
        let name = format!("#{place} {}", shown(name));
        let _ = write!(text, "{name:<width$}");
        for count in row {
            let _ = write!(text, "{count:>column$}");
        }
        text.push('\n');
    }
}

fn add_changes(text: &mut String, names: &[Arc<str>], comparison: &VersionComparison) {
    let before = comparison.against.version;
    let _ = match &comparison.changes {
        AnswerChanges::Classes { agreement, flips, mended, broken, first } => {
            let _ = writeln!(
                text,
                "\nSame class as version {before} in {:.2} % of the rows; {flips} changed it: {mended} of these were wrong \
                 and are right now, {broken} were right and are wrong now.",
                agreement * 100.0
            );
            for flip in first {
                let [label, before, now] =
                    [flip.label, flip.before, flip.now].map(|it| shown(words::class(names, it)));
                let _ = writeln!(text, "  line {}: {before} → {now}, is {label}", flip.line);
            }
            Ok(())
        }
        AnswerChanges::Numbers { largest, mean, line } => writeln!(
            text,
            "\nApart from version {before} by {} at most (line {line}), by {} in the mean.",
            words::number(*largest),
            words::number(*mean)
        ),
    };
}

fn width(names: &[Arc<str>]) -> usize {
    // The number of a class stands before its name in the matrix.
    let longest = names.iter().map(|name| shown(name).chars().count()).max().unwrap_or(0);
    (longest + names.len().to_string().len() + 2).max("is ↓, told →".chars().count())
}

/// A name that cannot make a terminal do anything, cut to what has room.
fn shown(name: &str) -> String {
    let name = safe(name);
    if name.chars().count() <= MAX_NAME {
        return name;
    }
    name.chars().take(MAX_NAME - 1).chain(['…']).collect()
}

fn safe(text: &str) -> String {
    text.chars().map(|it| if it.is_control() { '\u{fffd}' } else { it }).collect()
}
