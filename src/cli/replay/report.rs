//! What a replay found, as a table and as JSON.

use crate::capture::{Named, Replayed};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Changes of labels that are listed.
const MAX_CHANGES: usize = 20;

/// A table for people. Writing to a string cannot fail.
pub(super) fn table(subject: &str, tolerance: f64, found: &Replayed) -> String {
    let mut text = String::new();
    let versions = found.versions.iter().map(|(version, n)| format!("version {version}: {n}"));
    let versions = versions.collect::<Vec<_>>().join(", ");
    let by = if versions.is_empty() { String::new() } else { format!(" ({versions})") };
    let _ = writeln!(text, "{subject} on {} captured requests{by}\n", found.compared);
    let mut row = |title: &str, value: String| {
        let _ = writeln!(text, "{title:<40}{value:>12}");
    };
    row("requests compared", found.compared.to_string());
    row(&format!("numbers beyond {tolerance:e}"), found.beyond.to_string());
    row("answers of another kind", found.mismatched.to_string());
    row("not answered", found.failed.values().sum::<u64>().to_string());
    for (title, part) in [("median", 0.5), ("99 %", 0.99), ("largest", 1.0)] {
        if let Some(difference) = found.difference(part) {
            row(&format!("difference, {title}"), format!("{difference:.3e}"));
        }
    }
    if let Some((rate, (low, high))) = found.flip_rate() {
        row("rows with a class", found.rows.to_string());
        row("of another class now", found.flips.to_string());
        let _ = writeln!(text, "{:<40}{rate:>12.4}   {low:.4} to {high:.4}", "part of the rows");
    }
    let mut changes: Vec<_> = found.changes.iter().collect();
    changes.sort_by_key(|(_, n)| std::cmp::Reverse(**n));
    if !changes.is_empty() {
        let _ = writeln!(text, "\n{:<24}{:<24}{:>8}", "was", "is now", "rows");
        for ((from, to), n) in changes.iter().take(MAX_CHANGES) {
            let _ = writeln!(text, "{:<24}{:<24}{n:>8}", safe(from), safe(to));
        }
    }
    if !found.named.is_empty() {
        let _ = writeln!(text, "\nThe first of them:");
    }
    for Named { file, line, request_id, what } in &found.named {
        let file = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let _ = writeln!(text, "{}:{line}: {}: {}", safe(&file), safe(request_id), safe(what));
    }
    for note in notes(subject, found) {
        let _ = writeln!(text, "\nNote: {note}");
    }
    if found.flip_rate().is_some() {
        let _ = writeln!(text, "\nThe interval holds the part in 95 % of such samples (Wilson).");
    }
    text
}

fn notes(subject: &str, found: &Replayed) -> Vec<String> {
    let mut notes = Vec::new();
    if found.of_others > 0 {
        notes.push(format!("of other models: {} captured requests.", found.of_others));
    }
    for (why, n) in &found.left_out {
        notes.push(format!("not asked again: {n}, since {}.", safe(why)));
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
