//! Folders that hold no model, one model without its name, or something else.

use crate::harness::{Ended, Models, Server, Settings, get, post, run_to_end, sconce, state_dir};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const BODY: &str = r#"{"features": [1, 2, 3, 4]}"#;

fn fixture(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file)
}

/// Puts a fixture's file somewhere, whole or not at all.
fn put(fixture_file: &str, to: &Path) {
    let folder = to.parent().unwrap();
    let draft = folder.with_extension("part");
    fs::create_dir_all(&draft).unwrap();
    fs::copy(fixture(fixture_file), draft.join(to.file_name().unwrap())).unwrap();
    fs::rename(draft, folder).unwrap();
}

#[track_caller]
fn reason(server: &Server, path: &str) -> String {
    let body = get(server.http, path).json();
    assert_eq!(body["status"], "not_ready", "{body}");
    body["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_server_without_models_is_not_ready_until_one_came() {
    let models = Models::new();
    fs::create_dir_all(models.path().join("logs/2026")).unwrap();
    let server = Settings::new(models).start();
    let logged = |words: &str| server.log.text().contains(words);
    server.wait("the log must tell", || logged("the server is not ready: no model was found in"));
    let folder = server.models.path().display().to_string();
    for path in ["/health/ready", "/readyz", "/health"] {
        assert_eq!(get(server.http, path).status, 503, "{path}");
        let reason = reason(&server, path);
        assert!(reason.contains(&folder) && reason.contains("put NAME/1/model.pt"), "{reason}");
    }
    assert_eq!(get(server.http, "/v2/health/ready").status, 503);
    assert_eq!(get(server.http, "/ping").status, 500);
    assert_eq!(server.metric("sconce_ready"), 0.0);
    assert_eq!(get(server.http, "/health/live").status, 200);
    put("models/bare/1/model.pt", &server.models.path().join("bare/1/model.pt"));
    post(server.management, "/manage/models/bare/reload", "").good();
    let ready = get(server.http, "/health/ready").good();
    assert_eq!(ready["reason"], Value::Null, "{ready}");
    assert_eq!(server.metric("sconce_ready"), 1.0);
}

#[test]
fn a_folder_without_its_name_is_served_under_the_one_that_is_given() {
    let root = tempfile::tempdir().unwrap();
    let (mount, late) = (root.path().join("mount"), root.path().join("late"));
    put("models/bare/1/model.pt", &mount.join("net.pt"));
    let folders = format!("model_folders=one={},two={}", mount.display(), late.display());
    let server = Settings::new(Models::new()).set(folders).start();
    server.wait("the first must come up", || server.describe("one")["state"] == "ready");
    assert_eq!(server.predict("one", &json!({"features": [1, 2, 3, 4]})).good()["version"], "1");
    let ready = get(server.http, "/health/ready");
    assert_eq!((ready.status, &ready.json()["waiting_for"]), (503, &json!(["two"])));
    assert_eq!(server.describe("two")["state"], "loading");
    let answer = post(server.http, "/predict/two", BODY);
    answer.failed(503, "model_not_ready");
    assert!(answer.header("retry-after").is_some(), "the folder may come any moment");
    put("models/bare/1/model.pt", &late.join("model.pt"));
    server.wait_ready();
    assert_eq!(post(server.http, "/predict/two", BODY).good()["version"], "1");
    let text = server.describe("two").to_string();
    assert!(!text.contains(&*root.path().to_string_lossy()), "no path of the machine: {text}");
}

fn check(flags: &[&str], folder: &Path) -> Ended {
    let mut command = sconce();
    command.arg("check").args(flags).current_dir(folder);
    command.args(["--set", &format!("state_dir={}", state_dir().display()), "--log-level", "off"]);
    run_to_end(command)
}

#[test]
fn check_says_what_to_write_for_folders_that_are_laid_out_otherwise() {
    let root = tempfile::tempdir().unwrap();
    put("models/bare/1/model.pt", &root.path().join("mnt/model.pt"));
    let ended = check(&["--models", "mnt"], root.path());
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stdout);
    assert!(ended.stdout.contains("to serve it, start with --model NAME=mnt"), "{}", ended.stdout);
    assert!(ended.stderr.starts_with("no model was found in the models folder mnt: "));
    // As it was told, and beside another one; there is no folder of models at all.
    let again = check(&["--model", "one=mnt", "--model=two=mnt/../mnt"], root.path());
    assert_eq!(again.status.code(), Some(0), "{}", again.stderr);
    for line in ["one/1: ready", "two/1: ready"] {
        assert!(again.stdout.contains(line), "{line:?} must be in {}", again.stdout);
    }
    let absent = check(&["--model", "one=elsewhere"], root.path());
    assert_eq!(absent.status.code(), Some(1));
    assert!(absent.stdout.contains("one: the model's folder is not there"), "{}", absent.stdout);
    put("models/bare/1/model.pt", &root.path().join("models/good/1/model.pt"));
    put("models/bare/1/model.pt", &root.path().join("models/good/v2/model.pt"));
    put("models/bare/1/model.pt", &root.path().join("models/m/latest/model.pt"));
    fs::create_dir_all(root.path().join("models/logs/2026")).unwrap();
    let odd = check(&[], root.path());
    assert_eq!(odd.status.code(), Some(1));
    assert_eq!(odd.stderr.trim(), "1 of 2 models would not be served");
    for line in ["m: folder m/latest is not served: a version", "folder good/v2 is not served: a"] {
        assert!(odd.stdout.contains(line), "{line:?} must be in {}", odd.stdout);
    }
}

/// Files of another kind, and what must be told of them.
const OTHERS: &[(&str, &[u8], &str)] = &[
    ("lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "run git lfs pull"),
    ("page", b"<!DOCTYPE html><title>Sign in</title>", "an HTML page"),
    ("onnx", b"\x08\x08\x12\x07pytorch\x1a\x062.13.0:\x80\x01", "an ONNX model"),
    ("gguf", b"GGUF\x03\0\0\0", "a GGUF file"),
];

#[test]
fn a_file_that_is_something_else_is_named_before_any_trial() {
    let files = ["exported", "saved_old", "not_torchscript", "truncated", "empty"];
    let models = files.iter().fold(Models::new().fixture("bare"), |it, name| it.broken(name));
    for (name, bytes, _) in OTHERS {
        let file = models.path().join(name).join("1/model.pt");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
    let state = tempfile::tempdir().unwrap();
    let server = Settings::new(models).set(format!("state_dir={}", state.path().display())).start();
    let of_files = [
        "an archive of torch.export and not TorchScript: export the model in Python with",
        "torch.save wrote in its old format",
        "torch.save writes, weights or",
        "a zip archive without its end",
        "the file is empty: copy or",
    ];
    let others = OTHERS.iter().map(|(name, _, told)| (*name, *told));
    let mut told: Vec<_> = files.into_iter().zip(of_files).chain(others).collect();
    server.wait("every model must come to its end", || {
        told.iter().all(|(name, _)| server.describe(name)["state"] == "failed")
    });
    server.wait("the good one must serve", || server.describe("bare")["state"] == "ready");
    for (name, words) in told.drain(..) {
        let version = server.describe(name)["versions"][0].clone();
        let reason = version["reason"].as_str().unwrap();
        assert!(reason.starts_with("the file is ") && reason.contains(words), "{name}: {reason}");
    }
    let tried: f64 = ["passed", "failed", "crashed", "timed_out"]
        .iter()
        .map(|outcome| server.metric(&format!("sconce_trials_total{{outcome=\"{outcome}\"}}")))
        .sum();
    assert_eq!(tried, 1.0, "only the good file must be tried");
    let mut command = sconce();
    command.arg("inspect").arg(fixture("broken/exported.pt"));
    let ended = run_to_end(command);
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("the file is an archive of torch.export"), "{}", ended.stderr);
}
