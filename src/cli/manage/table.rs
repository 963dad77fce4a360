//! What servers answer, as tables for people.

use serde_json::Value;
use std::fmt::Write as _;

/// The models of a server.
pub(super) fn models(answer: &Value) -> String {
    let row =
        |model: &Value| [text(&model["name"]), text(&model["state"]), text(&model["version"])];
    let rows: Vec<_> = answer["models"].as_array().into_iter().flatten().map(row).collect();
    table(["MODEL", "STATE", "VERSION"], &rows)
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
    let percent = rollout["weight"].as_f64().unwrap_or_default() * 100.0;
    let mut out = format!(
        "{} of version {} beside {}: step {} of {}, {percent:.1} % of the requests\n{}\n{}\n",
        text(&rollout["strategy"]),
        text(&rollout["candidate"]),
        text(&rollout["stable"]),
        text(&rollout["step"]),
        text(&rollout["steps"]),
        text(&rollout["decision"]),
        text(&rollout["power"]),
    );
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
            {"name": "digits", "state": "ready", "version": "2"},
            {"name": "m", "state": "failed\u{1b}[31m", "version": null},
        ]});
        let expected =
            "MODEL   STATE       VERSION\ndigits  ready       2\nm       failed[31m  -\n";
        assert_eq!(models(&answer), expected);
        let answer = json!({"name": "m", "version": "1", "problem": "version 2: bad", "versions": [
            {"version": "1", "state": "ready", "reason": null},
            {"version": "2", "state": "failed", "reason": "bad\nworse"},
        ]});
        let expected = "VERSION        STATE   REASON\nm/1 (default)  ready   -\nm/2            failed  bad; worse\nproblem: version 2: bad\n";
        assert_eq!(model(&answer), expected);
        assert_eq!(rollout(&json!({"rollout": null})), "no roll-out is under way\n");
    }
}
