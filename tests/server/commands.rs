//! The subcommands that serve nothing: what they print, and how they end.

use crate::harness::{Ended, Models, run_to_end, sconce, state_dir};
use std::path::Path;

#[track_caller]
fn check(models: &Models) -> Ended {
    check_with(models, &[])
}

#[track_caller]
fn check_with(models: &Models, flags: &[&str]) -> Ended {
    let mut command = sconce();
    command.arg("check").arg("--models").arg(models.path());
    command.args(["--set", &format!("state_dir={}", state_dir().display()), "--log-level", "off"]);
    command.args(flags);
    run_to_end(command)
}

#[test]
fn check_tells_of_every_model_what_serve_would_do() {
    let good = Models::new().fixture("tabular").fixture("coupled").example("digits");
    let ended = check(&good);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    for line in [
        "configuration: ok",
        "tabular/1: ready from model.pt on cpu",
        "digits/1: ready",
        "batching coupled",
    ] {
        assert!(ended.stdout.contains(line), "{line:?} must be in {}", ended.stdout);
    }

    let mixed = Models::new().fixture("tabular").broken("truncated").fixture("file_reader");
    let ended = check(&mixed);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stdout);
    for line in [
        "tabular/1: ready",
        "truncated/1: failed: ",
        "file_reader/1: failed: ",
        "file_reader@sha256:",
    ] {
        assert!(ended.stdout.contains(line), "{line:?} must be in {}", ended.stdout);
    }
    assert_eq!(ended.stderr.trim(), "2 of 3 models would not be served");
}

#[test]
fn check_reads_the_keys_of_feedback_and_makes_the_folder_of_captures() {
    let models = Models::new().written("plain", "return x", "");
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("keys");
    let flag = format!("feedback.keys_file={}", file.display());
    let ended = check_with(&models, &["--set", &flag]);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stdout);
    assert!(ended.stderr.contains("there is no such file"), "{}", ended.stderr);
    std::fs::write(&file, "one, but no key\n").unwrap();
    let ended = check_with(&models, &["--set", &flag]);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stdout);
    assert!(ended.stderr.contains("feedback.keys_file"), "{}", ended.stderr);
    let flag = format!("capture.folder={}/captured", file.display());
    let ended = check_with(&models, &["--set", &flag]);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stdout);
    assert!(ended.stderr.contains("capture.folder"), "{}", ended.stderr);
    assert!(!ended.stdout.contains("configuration: ok"), "{}", ended.stdout);
}

#[test]
fn check_tells_of_names_to_redact_that_no_model_has() {
    let models = Models::new().fixture("tabular").example("digits");
    let redact = "capture.redact=[\"features\", \"digits/pixls\"]";
    let ended = check_with(&models, &["--set", redact]);
    let said = ended.stdout + &ended.stderr;
    assert!(
        said.contains("capture.redact: no model has an input or output \"digits/pixls\""),
        "{said}"
    );
    assert!(!said.contains("\"features\""), "{said}");
}

#[test]
fn inspect_shows_what_is_in_a_file() {
    let inspect = |file: &str, flags: &[&str]| {
        let mut command = sconce();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file);
        command.arg("inspect").arg(path).args(flags);
        run_to_end(command)
    };
    let ended = inspect("models/scalar_arg/1/model.pt", &[]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("k: INT64 (optional)"), "{}", ended.stdout);
    let ended = inspect("models/tabular/1/model.pt", &["--try"]);
    assert!(ended.stdout.contains("FP32 [64, 20]"), "{}", ended.stdout);
    for found in ["batching    proved: ", "times as fast as plain", "frozen: "] {
        assert!(ended.stdout.contains(found), "{found:?} must be in {}", ended.stdout);
    }
    let ended = inspect("models/file_reader/1/model.pt", &["--try"]);
    assert!(ended.stdout.contains("aten::from_file: "), "{}", ended.stdout);
    assert!(ended.stderr.starts_with("trial: the file uses aten::from_file"), "{}", ended.stderr);
    for broken in ["broken/truncated.pt", "broken/deep_code.pt", "no/such/file.pt"] {
        let ended = inspect(broken, &[]);
        assert_eq!(ended.status.code(), Some(1), "{broken}: {}", ended.stdout);
        assert_eq!(ended.stderr.lines().count(), 1, "{broken}: one line: {}", ended.stderr);
    }
}
