//! `sconce evaluate`: figures of the real program against scikit-learn's, another version beside it, and the gate.

use crate::harness::{Ended, Models, held_out, run_to_end, sconce, state_dir};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Runs it over a file of rows.
#[track_caller]
fn evaluate(models: &Models, subject: &str, data: &Path, flags: &[&str]) -> Ended {
    let mut command = sconce();
    command.args(["evaluate", subject, "--data"]).arg(data).arg("--models").arg(models.path());
    command.args(["--set", &format!("state_dir={}", state_dir().display())]).args(flags);
    run_to_end(command)
}

/// The object that `--json` prints.
#[track_caller]
fn json_of(ended: &Ended, status: i32) -> Value {
    assert_eq!(ended.status.code(), Some(status), "{}\n{}", ended.stdout, ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

/// Rows with their labels as JSON lines.
fn json_lines(rows: &Value, labels: &Value) -> String {
    let rows = rows.as_array().unwrap().iter().zip(labels.as_array().unwrap());
    rows.map(|(row, label)| format!("{}\n", json!({"features": row, "label": label}))).collect()
}

/// The same as CSV.
fn csv(rows: &Value, labels: &Value) -> String {
    let rows = rows.as_array().unwrap();
    let header: String =
        (0..rows[0].as_array().unwrap().len()).map(|it| format!("c{it},")).collect();
    let mut text = format!("{header}label\n");
    for (row, label) in rows.iter().zip(labels.as_array().unwrap()) {
        let cells: String = row.as_array().unwrap().iter().map(|cell| format!("{cell},")).collect();
        let label = label.as_str().map_or_else(|| label.to_string(), str::to_owned);
        text.push_str(&format!("{cells}{label}\n"));
    }
    text
}

#[track_caller]
fn assert_close(what: &str, got: &Value, expected: &Value) {
    match (got, expected) {
        (Value::Array(got), Value::Array(expected)) => {
            assert_eq!(got.len(), expected.len(), "{what}");
            got.iter().zip(expected).for_each(|(got, expected)| assert_close(what, got, expected));
        }
        (got, Value::Object(expected)) => {
            expected
                .iter()
                .for_each(|(key, it)| assert_close(&format!("{what}.{key}"), &got[key], it));
        }
        (got, expected) => {
            let difference = (got.as_f64().unwrap() - expected.as_f64().unwrap()).abs();
            assert!(difference <= 1e-6, "{what}: {got}, not {expected}");
        }
    }
}

/// What scikit-learn says is what the program says, from JSON lines and from CSV.
#[track_caller]
fn check_figures(models: &Models, model: &str, rows: &Value, labels: &Value) {
    let folder = TempDir::new().unwrap();
    let expected = held_out(&format!("figures/{model}.json"));
    let (lines, cells) = (json_lines(rows, labels), csv(rows, labels));
    for (file, text) in [("rows.jsonl", lines), ("rows.csv", cells)] {
        let ended = evaluate(models, model, &write(&folder, file, &text), &["--json"]);
        let found = json_of(&ended, 0);
        assert_eq!(found["rows"], rows.as_array().unwrap().len());
        let figures = expected["figures"].as_object().unwrap();
        assert_eq!(found["result"]["figures"].as_object().unwrap().len(), figures.len());
        for (name, value) in figures {
            let got = &found["result"]["figures"][name];
            assert_close(&format!("{file}: {model}.{name}"), &got["value"], value);
            let inside =
                got["low"].as_f64() <= value.as_f64() && value.as_f64() <= got["high"].as_f64();
            // A calibration error has a bias: its resamples lie above it.
            assert!(inside || name == "calibration_error", "{name}: {got}");
        }
        for part in ["classes", "confusion"].into_iter().filter(|part| expected[part].is_array()) {
            assert_close(
                &format!("{file}: {model}.{part}"),
                &found["result"][part],
                &expected[part],
            );
        }
    }
}

#[test]
fn figures_are_those_of_scikit_learn() {
    let models = Models::new().example("breast_cancer").example("digits").fixture("tabular");
    for model in ["breast_cancer", "digits"] {
        let data = held_out(&format!("held_out/{model}.json"));
        check_figures(&models, model, &data["instances"], &data["labels"]);
    }
    let (rows, labels) = (held_out("reference/tabular.json"), held_out("figures/tabular.json"));
    check_figures(&models, "tabular", &rows["instances"], &labels["labels"]);
}

#[test]
fn a_version_is_held_against_another_and_against_what_model_toml_asks() {
    let models = Models::new()
        .written("sum", "return torch.sigmoid(x.sum(1, keepdim=True))", "")
        .head("sum", "labels = [\"no\", \"<yes>\"]");
    // Version 2 says no where the first value is above 1, and is what model.toml would choose.
    let other = Models::new().written(
        "sum",
        "return torch.sigmoid(x.sum(1, keepdim=True)) * (x[:, :1] <= 1)",
        "",
    );
    fs::create_dir(models.path().join("sum/2")).unwrap();
    fs::copy(other.path().join("sum/1/model.pt"), models.path().join("sum/2/model.pt")).unwrap();
    let text = fs::read_to_string(models.path().join("sum/model.toml")).unwrap();
    let asked = format!("{text}[evaluation]\naccuracy = 0.9\nmae = 1\nlog_loss = 0.5\n");
    fs::write(models.path().join("sum/model.toml"), asked).unwrap();

    let folder = TempDir::new().unwrap();
    let row = |first: f64, label: &str| {
        format!("{{\"inputs\":{{\"x\":[[{first},0,0,0]]}},\"kind\":{label}}}\n")
    };
    let rows = [row(5.0, "\"<yes>\""), row(-5.0, "\"no\""), row(0.5, "1"), row(-0.5, "0")].concat();
    let data = write(&folder, "<rows>.jsonl", &rows);
    let report = folder.path().join("report.html");
    let flags =
        ["--label", "kind", "--against", "1", "--json", "--report", report.to_str().unwrap()];
    let ended = evaluate(&models, "sum", &data, &flags);
    let found = json_of(&ended, 1);
    assert_eq!(
        ended.stderr.trim(),
        "sum: version 2: [evaluation] of model.toml is missed: accuracy, log_loss, mae"
    );
    assert_eq!((&found["version"], &found["against"]["version"]), (&json!("2"), &json!("1")));
    assert_eq!(found["result"]["figures"]["accuracy"]["value"], 0.75);
    assert_eq!(found["against"]["result"]["figures"]["accuracy"]["value"], 1.0);
    assert_eq!(found["against"]["differences"]["accuracy"]["value"], -0.25);
    let changes = &found["against"]["changes"];
    let first = json!([{"line": 1, "label": "<yes>", "before": "<yes>", "now": "no"}]);
    assert_eq!(
        (&changes["agreement"], &changes["broken"], &changes["first"]),
        (&json!(0.75), &json!(1), &first)
    );
    assert_eq!(
        found["bounds"][0],
        json!({"figure": "accuracy", "at_least": 0.9, "value": 0.75, "met": false})
    );
    let page = fs::read_to_string(&report).unwrap();
    for part in ["<svg", "&lt;yes&gt;", "&lt;rows&gt;.jsonl", "ROC", "Calibration", "missed"] {
        assert!(page.contains(part), "{part:?} must be on the page");
    }
    assert!(
        !page.contains("<yes>") && !page.contains("<rows>"),
        "what comes from files is escaped"
    );

    // The version that model.toml would not choose passes what can be passed, and the table says so.
    let ended = evaluate(&models, "sum/1", &data, &["--label", "kind", "--against", "2"]);
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(ended.stderr.trim(), "sum: version 1: [evaluation] of model.toml is missed: mae");
    for part in [
        "sum/1 on 4 rows",
        "accuracy: expected at least 0.9, got 1.000000: met",
        "mae: expected at most 1, got no value: missed",
        "line 1: no → <yes>, is <yes>",
    ] {
        assert!(ended.stdout.contains(part), "{part:?} must be in {}", ended.stdout);
    }
}

#[test]
fn what_cannot_be_evaluated_is_told_with_its_line() {
    let models = Models::new().example("breast_cancer").fixture("raises");
    let folder = TempDir::new().unwrap();
    let check = |model: &str, text: &str, expected: &str| {
        let data = write(&folder, "rows", text);
        let ended = evaluate(&models, model, &data, &[]);
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stdout);
        // The log says it before, where a model cannot be loaded.
        let told = ended.stderr.lines().last().unwrap_or_default();
        let told = told.replace(&format!("{}", data.display()), "rows");
        assert!(told.starts_with(expected), "{told} must begin with {expected}");
        assert!(ended.stdout.is_empty(), "{}", ended.stdout);
    };
    let row = |label: &str| format!("{{\"features\":[{}1],\"label\":{label}}}\n", "1,".repeat(29));
    check("breast_cancer", "", "rows:1: the file is empty, expected labelled rows");
    let expected = "rows:2: expected a label out of \"malignant\", \"benign\" or an index from 0 to 1, got \"cat\"";
    check("breast_cancer", &(row("0") + &row("\"cat\"")), expected);
    let expected =
        "rows:1: version 1: input \"features\" has shape [1] in its one row, expected [30]";
    check("breast_cancer", "{\"features\":[1],\"label\":0}", expected);
    check(
        "breast_cancer",
        "a,b,label\n1,2,0\n",
        "rows:1: expected 30 columns beside the label for input \"features\", got 2",
    );
    let two = "{\"instances\":[[1,2,3,4],[1,2,3,4]],\"label\":0}";
    check("raises", two, "rows:1: version 1: the line has 2 rows, expected one");
    check("raises", "{\"features\":[-1,2,3,4],\"label\":0}", "rows:1: version 1: ");
    check(
        "breast_cancer/7",
        &row("0"),
        "breast_cancer: model \"breast_cancer\" could not be loaded: version 7 ",
    );
    check("nothing", &row("0"), "nothing: ");
}
