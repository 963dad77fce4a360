//! What servers answer, as tables for people.

use serde_json::Value;
use std::fmt::Write as _;

/// The models of a server.
pub(super) fn models(answer: &Value) -> String {
    let row = |model: &Value| {
        let [name, state, version] = ["name", "state", "version"].map(|key| text(&model[key]));
        [name, state, version, notes(model)]
    };
    let rows: Vec<_> = answer["models"].as_array().into_iter().flatten().map(row).collect();
    table(["MODEL", "STATE", "VERSION", "NOTES"], &rows)
}

/// What is not as it is by itself.
fn notes(model: &Value) -> String {
    let mut notes = decided(model);
    if let Some(problem) = model["problem"].as_str() {
        let more = if problem.contains('\n') { " …" } else { "" };
        notes.push(format!("problem: {}{more}", problem.lines().next().unwrap_or_default()));
    }
    if notes.is_empty() { "-".to_owned() } else { text(&Value::from(notes.join("; "))) }
}

/// What operators and roll-outs have decided.
fn decided(model: &Value) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(pinned) = model["default"]["version"].as_str() {
        notes.push(format!("pinned to {}", text(&pinned.into())));
    }
    if let Some(rollout) = model["rollout"].as_object() {
        let [strategy, candidate] = ["strategy", "candidate"].map(|key| text(&rollout[key]));
        let share = share(&rollout["share"], &strategy);
        notes.push(format!("{strategy} of version {candidate}: {share}"));
    }
    let own = |(label, _): &(&String, &Value)| !matches!(label.as_str(), "stable" | "canary");
    for (label, version) in model["labels"].as_object().into_iter().flatten().filter(own) {
        notes.push(format!("label {}: version {}", text(&label.as_str().into()), text(version)));
    }
    for rejected in model["rejected"].as_array().into_iter().flatten() {
        let [version, reason] = ["version", "reason"].map(|key| text(&rejected[key]));
        notes.push(format!("rejected: version {version}, {reason}"));
    }
    notes
}

/// What a new version gets.
fn share(share: &Value, strategy: &str) -> String {
    let percent = share.as_f64().unwrap_or_default() * 100.0;
    let what = if strategy == "shadow" { "copies of " } else { "" };
    format!("{what}{percent:.1} % of the requests")
}

/// One model, a line for each of its versions.
pub(super) fn model(answer: &Value) -> String {
    let name = text(&answer["name"]);
    let serving = text(&answer["version"]);
    let row = |version: &Value| {
        let number = text(&version["version"]);
        let mark = if number == serving { " (default)" } else { "" };
        [format!("{name}/{number}{mark}"), text(&version["state"]), text(&version["reason"])]
    };
    let rows: Vec<_> = answer["versions"].as_array().into_iter().flatten().map(row).collect();
    let mut out = table(["VERSION", "STATE", "REASON"], &rows);
    for note in decided(answer) {
        let _ = writeln!(out, "{note}");
    }
    if let Some(problem) = answer["problem"].as_str() {
        let _ = writeln!(out, "problem: {problem}");
    }
    out
}

/// A roll-out.
pub(super) fn rollout(answer: &Value) -> String {
    let rollout = &answer["rollout"];
    if rollout.is_null() {
        return "no roll-out is under way\n".to_owned();
    }
    let strategy = text(&rollout["strategy"]);
    let share = share(&rollout["share"], &strategy);
    let mut out = format!(
        "{strategy} of version {} beside {}: step {} of {}, {share}\n{}\n{}\n",
        text(&rollout["candidate"]),
        text(&rollout["stable"]),
        text(&rollout["step"]),
        text(&rollout["steps"]),
        text(&rollout["decision"]),
        text(&rollout["power"]),
    );
    if let Some(comparison) = rollout["comparison"].as_object() {
        let [rows, flips, compared, dropped, largest] =
            ["rows", "flips", "compared", "dropped", "largest_difference"]
                .map(|key| text(&comparison[key]));
        let _ = writeln!(
            out,
            "{compared} answers compared, {dropped} copies dropped: of {rows} rows with a class {flips} got another one, largest difference {largest}",
        );
    }
    let labels = |version: &str| {
        let labels = &rollout["labels"][version];
        (labels["count"].as_u64().unwrap_or_default(), labels["wrong"].as_u64().unwrap_or_default())
    };
    let [(n_old, wrong_old), (n_new, wrong_new)] = ["stable", "candidate"].map(labels);
    if n_old + n_new > 0 {
        let _ = writeln!(
            out,
            "labels: {wrong_new} of {n_new} answers of the new version are wrong, {wrong_old} of {n_old} of the old one",
        );
    }
    let of = |version: &str| {
        let figures = &rollout["requests"][version];
        let cells = ["count", "errors", "p50_ms", "p95_ms"].map(|key| text(&figures[key]));
        let [count, errors, p50, p95] = cells;
        [text(&rollout[version]), count, errors, p50, p95]
    };
    out += &table(
        ["VERSION", "REQUESTS", "ERRORS", "P50 MS", "P95 MS"],
        &[of("stable"), of("candidate")],
    );
    out
}

/// A value as people read it; control characters of a server's text do not reach the terminal.
fn text(value: &Value) -> String {
    let text = match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            format!("{:.3}", number.as_f64().unwrap_or_default())
        }
        other => other.to_string(),
    };
    text.replace('\n', "; ").chars().filter(|c| !c.is_control()).collect()
}

fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].len()]).max().unwrap_or_default()
    });
    let mut out = String::new();
    let head = head.map(str::to_owned);
    for row in std::iter::once(&head).chain(rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tables_line_up_and_show_no_control_characters() {
        let answer = json!({"models": [
            {"name": "digits", "state": "ready", "version": "2",
                "rollout": {"strategy": "shadow", "candidate": "3", "share": 0.5}},
            {"name": "m", "state": "failed\u{1b}[31m", "version": null,
                "default": {"version": "1"}, "problem": "a\nb"},
        ]});
        let expected = "\
MODEL   STATE       VERSION  NOTES
digits  ready       2        shadow of version 3: copies of 50.0 % of the requests
m       failed[31m  -        pinned to 1; problem: a …
";
        assert_eq!(models(&answer), expected);
        let answer = json!({"name": "m", "version": "1", "problem": "version 2: bad",
            "labels": {"stable": "1", "prod": "1"}, "rejected": [{"version": "3", "reason": "slow"}],
            "versions": [
            {"version": "1", "state": "ready", "reason": null},
            {"version": "2", "state": "failed", "reason": "bad\nworse"},
        ]});
        let expected = "VERSION        STATE   REASON\nm/1 (default)  ready   -\nm/2            failed  bad; worse\nlabel prod: version 1\nrejected: version 3, slow\nproblem: version 2: bad\n";
        assert_eq!(model(&answer), expected);
        assert_eq!(rollout(&json!({"rollout": null})), "no roll-out is under way\n");
        let answer = json!({"rollout": {
            "strategy": "shadow", "candidate": "2", "stable": "1", "step": 1, "steps": "100 % for 60 s",
            "share": 1.0, "decision": "waits", "power": "nothing yet",
            "comparison": {"rows": 7, "flips": 1.0, "compared": 7, "dropped": 3, "largest_difference": 0.25},
            "labels": {"stable": {"count": 9, "wrong": 1}, "candidate": {"count": 0, "wrong": 0}},
            "requests": {"stable": {"count": 9, "errors": 0, "p50_ms": 1.5, "p95_ms": 2.0}},
        }});
        let expected = "\
shadow of version 2 beside 1: step 1 of 100 % for 60 s, copies of 100.0 % of the requests
waits
nothing yet
7 answers compared, 3 copies dropped: of 7 rows with a class 1.000 got another one, largest difference 0.250
labels: 0 of 0 answers of the new version are wrong, 1 of 9 of the old one
VERSION  REQUESTS  ERRORS  P50 MS  P95 MS
1        9         0       1.500   2.000
2        -         -       -       -
";
        assert_eq!(rollout(&answer), expected);
    }
}
