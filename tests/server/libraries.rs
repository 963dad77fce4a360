//! What models need of their host beside their file: operators of libraries, devices; and what they print.

use crate::harness::{Models, Settings, run_to_end, sconce, state_dir};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const SOURCE: &str = "tests/fixtures/own_operator.cpp";

/// The library behind the fixture `own_operator`, built once; `None`, with a word about it, where there is no
/// compiler.
fn library() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(build).as_deref()
}

fn build() -> Option<PathBuf> {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let version = Command::new(&compiler).arg("--version").stdout(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        eprintln!("left out: {} is no C++ compiler, which this test needs", compiler.display());
        return None;
    }
    // The variables that the build of this program reads, as they were then.
    let root = option_env!("LIBTORCH").unwrap_or_default();
    let include = Path::new(option_env!("LIBTORCH_INCLUDE").unwrap_or(root)).join("include");
    let lib = Path::new(option_env!("LIBTORCH_LIB").unwrap_or(root)).join("lib");
    let abi = option_env!("LIBTORCH_CXX11_ABI").unwrap_or("1");
    let built = state_dir().join("libown_operator.so");
    let mut command = Command::new(&compiler);
    command.args(["-std=c++17", "-w", "-shared", "-fPIC", "-o"]).arg(&built);
    command.arg(format!("-D_GLIBCXX_USE_CXX11_ABI={abi}")).arg("-I").arg(include);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(SOURCE));
    command.arg("-L").arg(&lib).args(["-ltorch_cpu", "-lc10"]);
    command.arg(format!("-Wl,-rpath,{}", lib.display()));
    let ended = run_to_end(command);
    assert!(ended.status.success(), "{SOURCE} must compile: {}", ended.stderr);
    Some(built)
}

fn serves(settings: Settings) {
    let server = settings.ready();
    let answer = server.predict("own_operator", &json!({"features": [1, 2, 3, 4]})).good();
    assert_eq!(answer["prediction"], json!([3.0, 6.0, 9.0, 12.0]));
}

#[test]
fn an_operator_of_a_library_is_there_in_the_trial_and_in_the_server() {
    let Some(library) = library() else { return };
    let models = || Models::new().fixture("own_operator").fixture("raises");
    let state = tempfile::tempdir().unwrap();
    let settings = || {
        let key = format!("state_dir={}", state.path().display());
        Settings::new(models()).set(key)
    };
    let server = settings().start();
    server.wait_settled(&["own_operator"]);
    assert_eq!(server.describe("own_operator")["state"], "failed");
    let reason = server.describe("own_operator")["versions"][0]["reason"].to_string();
    for word in ["operator sconce_test::triple", "`libraries`"] {
        assert!(reason.contains(word), "the reason must have {word:?}: {reason}");
    }
    drop(server);

    let with_library = || settings().set(format!("libraries={}", library.display()));
    let server = with_library().ready();
    let answer = server.predict("own_operator", &json!({"features": [1, 2, 3, 4]})).good();
    assert_eq!(answer["prediction"], json!([3.0, 6.0, 9.0, 12.0]));
    let tells = |line: &Value| line["sha256"].as_str().is_some_and(|digest| digest.len() == 64);
    assert!(server.log.entries().iter().any(tells), "the digest must be logged");
    let trials = "sconce_trials_total{outcome=\"passed\"}";
    assert_eq!(server.metric(trials), 2.0, "other libraries, other verdicts");
    drop(server);
    let again = with_library().ready();
    assert_eq!(again.metric(trials), 0.0, "the same library, the same verdicts");
    drop(again);

    // The loader's own way, which reaches the child as well.
    serves(settings().variable("LD_PRELOAD", library));
}

#[test]
fn check_and_inspect_load_libraries_too() {
    let Some(library) = library() else { return };
    let models = Models::new().fixture("own_operator");
    let path = library.display().to_string();
    let check = |libraries: &str| {
        let mut command = sconce();
        command.arg("check").arg("--models").arg(models.path()).args(["--log-level", "off"]);
        command.args(["--set", &format!("state_dir={}", state_dir().display())]);
        command.args(["--set", &format!("libraries={libraries}")]);
        run_to_end(command)
    };
    let ended = check(&path);
    assert_eq!(ended.status.code(), Some(0), "{} {}", ended.stdout, ended.stderr);
    let ended = check("");
    assert!(ended.stdout.contains("operator sconce_test::triple"), "{}", ended.stdout);
    for missing in ["no/such.so", SOURCE] {
        let ended = check(&format!("{path},{missing}"));
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stdout);
        let named = ended.stderr.starts_with("libraries: ") && ended.stderr.contains(missing);
        assert!(named && ended.stderr.lines().count() == 1, "{}", ended.stderr);
    }

    let inspect = |flags: &[&str]| {
        let mut command = sconce();
        command.arg("inspect").arg(models.path().join("own_operator/1/model.pt")).args(flags);
        run_to_end(command)
    };
    let ended = inspect(&["--library", &path]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let ended = inspect(&[]);
    assert!(ended.stderr.contains("operator sconce_test::triple"), "{}", ended.stderr);
}

#[test]
fn a_device_that_is_not_there_fails_the_load() {
    let server = Settings::new(Models::new().fixture("absent_device").fixture("raises")).start();
    server.wait_settled(&["absent_device", "raises"]);
    let reason = server.describe("absent_device")["versions"][0]["reason"].to_string();
    assert!(reason.contains("asks for device mps, which this host does not have"), "{reason}");
    let answer = server.predict("absent_device", &json!({"features": [1, 2, 3, 4]}));
    answer.failed(503, "model_not_ready");
    assert_eq!(server.describe("raises")["state"], "ready", "the other serves");
}

#[test]
fn packed_weights_count() {
    let server = Settings::new(Models::new().fixture("quantized")).ready();
    let version = server.describe("quantized")["versions"][0].clone();
    assert_eq!(version["memory_bytes"], 2 * 4 * 64 + 4 * (64 + 4), "{version}");
    server.predict("quantized", &json!({"features": [1, 2, 3, 4]})).good();
}

#[test]
fn what_models_print_is_in_the_log_and_so_many_lines_a_second() {
    let server = Settings::new(Models::new().fixture("prints")).ready();
    // As many rows as nothing before had.
    let rows = vec![[1, 2, 3, 4]; 100];
    server.predict("prints", &json!({"instances": rows})).good();
    let line = server.log.wait(|line| {
        line["message"] == "The model printed"
            && line["text"].as_str().unwrap().contains("forward [100, 4]")
    });
    assert_eq!(line["model"], "prints/1", "{line}");
    assert_eq!(server.printed.text(), "", "nobody may read the standard output");
}
