//! What a replay found: as a table, as a page, and as JSON.

use crate::capture::{Named, Replayed};
use crate::evaluation::Page;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Changes of labels that are listed.
const MAX_CHANGES: usize = 20;

const INTERVAL: &str = "The interval holds the part in 95 % of such samples (Wilson).";

/// A table for people. Writing to a string cannot fail.
pub(super) fn table(subject: &str, tolerance: f64, found: &Replayed) -> String {
    let mut text = format!("{}\n\n", title(subject, found));
    for [what, value, interval] in rows(tolerance, found) {
        let line = format!("{what:<40}{value:>12}   {interval}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let changes = changes(found);
    if !changes.is_empty() {
        let _ = writeln!(text, "\n{:<24}{:<24}{:>8}", "was", "is now", "rows");
        for [from, to, n] in &changes {
            let _ = writeln!(text, "{:<24}{:<24}{n:>8}", safe(from), safe(to));
        }
    }
    if !found.named.is_empty() {
        let _ = writeln!(text, "\nThe first of them:");
    }
    for [place, request_id, what] in named_rows(found) {
        let _ = writeln!(text, "{}: {}: {}", safe(&place), safe(&request_id), safe(&what));
    }
    for note in notes(subject, found) {
        let _ = writeln!(text, "\nNote: {}", safe(&note));
    }
    if found.flip_rate().is_some() {
        let _ = writeln!(text, "\n{INTERVAL}");
    }
    text
}

/// The same as a page.
pub(super) fn html(subject: &str, tolerance: f64, found: &Replayed) -> String {
    let mut page = Page::new(&title(subject, found));
    page.table(&["", "", "interval"], &rows(tolerance, found).map(Vec::from).collect::<Vec<_>>());
    if found.flip_rate().is_some() {
        page.paragraph(INTERVAL);
    }
    for note in notes(subject, found) {
        page.paragraph(&format!("Note: {note}"));
    }
    let changes = changes(found);
    if !changes.is_empty() {
        page.heading("Classes that changed");
        page.table(
            &["was", "is now", "rows"],
            &changes.into_iter().map(Vec::from).collect::<Vec<_>>(),
        );
    }
    if !found.named.is_empty() {
        page.heading("The first answers that changed");
        let rows: Vec<_> = named_rows(found).map(Vec::from).collect();
        page.table(&["line", "request", "what"], &rows);
    }
    page.finish()
}

fn title(subject: &str, found: &Replayed) -> String {
    let versions = found.versions.iter().map(|(version, n)| format!("version {version}: {n}"));
    let versions = versions.collect::<Vec<_>>().join(", ");
    let by = if versions.is_empty() { String::new() } else { format!(" ({versions})") };
    format!("{subject} on {} captured requests{by}", found.compared)
}

/// Each figure, its value, and its interval if it has one.
fn rows(tolerance: f64, found: &Replayed) -> impl Iterator<Item = [String; 3]> {
    let mut rows = Vec::new();
    let mut row = |what: &str, value: String, interval: String| {
        rows.push([what.to_owned(), value, interval]);
    };
    row("requests compared", found.compared.to_string(), String::new());
    row(&format!("numbers beyond {tolerance:e}"), found.beyond.to_string(), String::new());
    row("answers of another kind", found.mismatched.to_string(), String::new());
    row("not answered", found.failed.values().sum::<u64>().to_string(), String::new());
    for (title, part) in [("median", 0.5), ("99 %", 0.99), ("largest", 1.0)] {
        if let Some(difference) = found.difference(part) {
            row(&format!("difference, {title}"), format!("{difference:.3e}"), String::new());
        }
    }
    if let Some((rate, (low, high))) = found.flip_rate() {
        row("rows with a class", found.rows.to_string(), String::new());
        row("of another class now", found.flips.to_string(), String::new());
        row("part of the rows", format!("{rate:.4}"), format!("{low:.4} to {high:.4}"));
    }
    rows.into_iter()
}

/// From which class to which, and how many rows: the most frequent ones.
fn changes(found: &Replayed) -> Vec<[String; 3]> {
    let mut changes: Vec<_> = found.changes.iter().collect();
    changes.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    let row =
        |((from, to), n): (&(String, String), &u64)| [from.clone(), to.clone(), n.to_string()];
    changes.into_iter().take(MAX_CHANGES).map(row).collect()
}

/// Place, request and what changed.
fn named_rows(found: &Replayed) -> impl Iterator<Item = [String; 3]> {
    found.named.iter().map(|Named { file, line, request_id, what }| {
        let file = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        [format!("{file}:{line}"), request_id.clone(), what.clone()]
    })
}

fn notes(subject: &str, found: &Replayed) -> Vec<String> {
    let mut notes = Vec::new();
    if found.of_others > 0 {
        notes.push(format!("of other models: {} captured requests.", found.of_others));
    }
    for (why, n) in &found.left_out {
        notes.push(format!("not asked again: {n}, since {why}."));
    }
    for (code, n) in &found.failed {
        notes.push(format!("not answered: {n}, with the error {code}."));
    }
    if found.same_file > 0 {
        let n = found.same_file;
        notes.push(format!(
            "answered by the same model file before: {n} of {}; {subject} is that file.",
            found.compared
        ));
    }
    notes
}

/// The same for programs.
pub(super) fn json(subject: &str, tolerance: f64, found: &Replayed) -> Value {
    let flips = found.flip_rate();
    let changes = found.changes.iter();
    json!({
        "version": subject,
        "captured": found.lines,
        "of_other_models": found.of_others,
        "left_out": found.left_out,
        "captured_by_version": found.versions,
        "same_file": found.same_file,
        "compared": found.compared,
        "tolerance": tolerance,
        "beyond_tolerance": found.beyond,
        "of_another_kind": found.mismatched,
        "failed": found.failed,
        "difference": {
            "p50": found.difference(0.5),
            "p99": found.difference(0.99),
            "max": found.difference(1.0),
        },
        "rows": found.rows,
        "changed_rows": found.flips,
        "changed_part": flips.map(|(rate, _)| rate),
        "changed_part_interval": flips.map(|(_, (low, high))| [low, high]),
        "changes": changes
            .map(|((from, to), n)| json!({"from": from, "to": to, "rows": n}))
            .collect::<Vec<_>>(),
        "named": found.named.iter().map(named).collect::<Vec<_>>(),
    })
}

fn named(named: &Named) -> Value {
    let Named { file, line, request_id, what } = named;
    json!({"file": file, "line": line, "request_id": request_id, "what": what})
}

/// Text of clients and files, without what would move a terminal.
fn safe(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
