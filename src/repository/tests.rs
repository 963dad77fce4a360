//! Whole stories: folders on disk, scripted engines, no libtorch.

use super::*;
use crate::engine::{Loader, Precision};
use crate::inference::{ErrorCode, InferError, ModelName, ModelRef, Version, VersionSelector};
use crate::scheduler::Permits;
use crate::telemetry::Metrics;
use crate::telemetry::events::{EventKind, Events};
use crate::tensor::DataType;
use crate::testing::receive;
use house::{House, MANIFEST, latest, name, reason, resolve};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

mod changes;
mod contest;
mod ends;
mod folders;
mod handover;
mod house;
mod orders;
mod reload;
mod rollouts;
mod sequences;
mod waiting;

#[test]
fn failing_models_leave_the_others_alone() {
    let house = House::new(&[
        ("crashes", "crash"),
        ("good", "ok"),
        ("hangs", "hang"),
        ("invalid", "invalid"),
        ("panics", "panic"),
        ("typo", "ok"),
    ]);
    house.write("typo/model.toml", "intances = 1\n");
    let repository = house.loaded();
    assert_eq!(resolve(&repository, "good"), Ok(1));
    for bad in ["crashes", "hangs", "invalid", "panics", "typo"] {
        assert_eq!(resolve(&repository, bad), Err(ErrorCode::ModelNotReady), "{bad}");
        assert!(!reason(&repository, bad).is_empty(), "{bad} must say why");
    }
    assert_eq!(reason(&repository, "invalid"), "version 1: invalid/1/model.pt: invalid");
    assert!(reason(&repository, "typo").starts_with("typo/model.toml:1: intances: unknown key"));
    let waiting: Vec<_> =
        repository.readiness().waiting_for.iter().map(ToString::to_string).collect();
    assert_eq!(waiting, ["crashes", "hangs", "invalid", "panics", "typo"]);
}

#[test]
fn a_verdict_is_a_trial_saved_but_only_when_it_is_a_fact() {
    let house = House::new(&[("a", "ok"), ("b", "invalid"), ("c", "crash"), ("d", "hang")]);
    house.loaded().shutdown(Duration::from_secs(60));
    assert_eq!((house.trial.loads(), house.serving.loads()), (4, 1));
    let repository = house.loaded();
    let loads = ["ok", "invalid", "crash", "hang", "crash", "hang"];
    assert_eq!(*house.trial.loads.lock().unwrap(), loads, "a crash is as good as never seen");
    assert_eq!(resolve(&repository, "a"), Ok(1));
    let crashed = "version 1: c/1/model.pt: crash (its memory is limited by trial.memory_bytes)";
    assert_eq!(reason(&repository, "c"), crashed);
    house.write("a/1/model.pt", "other");
    house.loaded();
    assert!(
        house.trial.loads.lock().unwrap().contains(&"other".into()),
        "another file must be tried anew"
    );
}

#[test]
fn the_form_that_the_trial_found_best_serves_and_is_remembered() {
    let house = House::new(&[("m", "fast"), ("bf16", "ok"), ("off", "fast")]);
    house.write("bf16/model.toml", &format!("precision = \"bf16\"\n{MANIFEST}"));
    house.write("off/model.toml", &format!("optimize = \"off\"\n{MANIFEST}"));
    let serves = |repository: &Repository, text: &str| {
        let status = repository.describe(&name(text)).unwrap();
        let facts = status.versions[0].loaded.clone().unwrap().facts;
        (facts.form.chosen.to_string(), facts.precision)
    };
    for _ in 0..2 {
        let repository = house.loaded();
        assert_eq!(serves(&repository, "m"), ("frozen".into(), Precision::Fp32));
        assert_eq!(serves(&repository, "bf16"), ("bf16-frozen".into(), Precision::Bf16));
        assert_eq!(serves(&repository, "off"), ("plain".into(), Precision::Fp32));
        repository.shutdown(Duration::from_secs(60));
    }
    assert_eq!(house.trial.loads(), 3, "a known form must not be looked for again");
    let forms = house.serving.forms.lock().unwrap();
    let loaded: Vec<_> = forms.iter().map(|options| options.form.to_string()).collect();
    assert_eq!(loaded, ["bf16-frozen", "frozen", "bf16-frozen", "frozen"]);
    assert!(forms.iter().all(|options| options.outputs == [DataType::Fp32]));
}

#[test]
fn readiness_waits_for_required_models_of_the_start_alone() {
    let house = House::new(&[("a", "ok"), ("b", "invalid")]);
    house.write("b/model.toml", "required = false\n");
    let repository = house.open();
    assert_eq!(repository.readiness().waiting_for, [name("a")]);
    assert_eq!(resolve(&repository, "a"), Err(ErrorCode::ModelNotReady));
    let error = repository.resolve(&latest("a")).unwrap_err();
    assert!(error.retry_after.is_some(), "a model that is being loaded is worth another try");
    let _ = repository.check();
    assert!(repository.readiness().ready, "a model that may be missing must not hold readiness");
    house.write("late/1/model.pt", "invalid");
    assert!(repository.reload(&name("late")).is_err());
    assert!(repository.readiness().ready, "a later arrival must not hold readiness");
}

#[test]
fn an_unknown_name_leaves_no_trace() {
    let house = House::new(&[("m", "ok")]);
    let repository = house.loaded();
    assert_eq!(repository.reload(&name("x")).unwrap_err().code(), ErrorCode::ModelNotFound);
    assert!(repository.describe(&name("x")).is_none());
    assert_eq!(resolve(&repository, "x"), Err(ErrorCode::ModelNotFound));
}

#[test]
fn all_versions_are_served_when_asked_for() {
    let house = House::new(&[("m", "ok")]);
    house.write("m/7/model.pt", "ok");
    house.write("m/model.toml", &format!("versions = \"all\"\n{MANIFEST}"));
    let repository = house.loaded();
    assert_eq!(resolve(&repository, "m"), Ok(7));
    let first = ModelRef { version: VersionSelector::Specific(Version(1)), ..latest("m") };
    assert_eq!(repository.resolve(&first).unwrap().version(), Version(1));
    assert_eq!(repository.resolve_default().unwrap().version(), Version(7));
    house.write("m/model.toml", &format!("versions = [1, 9]\n{MANIFEST}"));
    let error = repository.reload(&name("m")).unwrap_err().to_string();
    assert!(error.ends_with("version 9 is asked for by model.toml and not there"), "{error}");
    assert_eq!(resolve(&repository, "m"), Ok(1));
}

#[test]
fn one_version_can_be_loaded_whatever_model_toml_says() {
    let house = House::new(&[("m", "ok")]);
    house.write("m/7/model.pt", "ok");
    let serving = house.loaded();
    serving.set_default(&name("m"), Version(7)).unwrap();
    let only = |version| {
        let mut parts = house.parts();
        parts.options.overrides.version = Some(Version(version));
        let repository = Repository::open(parts).unwrap();
        let loaded = repository.load_alone(&name("m"));
        loaded.map(|()| resolve(&repository, "m")).map_err(|error| error.to_string())
    };
    assert_eq!(only(1), Ok(Ok(1)), "the older one must be the only one");
    assert_eq!(only(7), Ok(Ok(7)));
    let error = only(9).unwrap_err();
    assert!(error.ends_with("version 9 is asked for and not there"), "{error}");
    let pin = house.loaded().describe(&name("m")).unwrap().pin;
    assert_eq!(pin.map(|pin| pin.version), Some(Version(7)), "what was decided must be kept");
}

#[test]
fn a_sample_warms_up_and_a_wrong_one_is_told() {
    let house = House::new(&[("m", "ok"), ("n", "ok")]);
    house.write("m/sample.json", "1.5\n");
    house.write("m/model.toml", &format!("{MANIFEST}\n[batching]\nmax_batch_size = 64\n"));
    house.write("n/sample.json", "{}");
    let repository = house.loaded();
    assert_eq!(repository.resolve(&latest("m")).unwrap().sample(), Some("1.5\n"));
    let seen = Arc::clone(&house.serving.seen.lock().unwrap()[0]);
    assert_eq!(seen.rows().iter().max(), Some(&64), "the largest batch must be warmed up");
    assert_eq!(reason(&repository, "n"), "version 1: sample.json: no number");
}

#[test]
fn operators_of_concern_need_the_servers_trust() {
    let house = House::new(&[("m", "saves")]);
    let refused = reason(&house.loaded(), "m");
    let (_, advice) = refused.split_once("add \"").unwrap();
    let (trusted, _) = advice.split_once('"').unwrap();
    assert!(refused.starts_with("version 1: the file uses aten::save, which can"), "{refused}");
    assert_eq!(house.serving.loads(), 0, "a refused file must not be loaded here");
    let mut parts = house.parts();
    parts.options.trusted = vec![trusted.parse().unwrap()];
    let repository = Repository::open(parts).unwrap();
    let _ = repository.check();
    assert_eq!(resolve(&repository, "m"), Ok(1), "the advice must help");
    let mut parts = house.parts();
    parts.options.trusted = vec![trusted.replace("m@", "other@").parse().unwrap()];
    let repository = Repository::open(parts).unwrap();
    let _ = repository.check();
    assert!(reason(&repository, "m").contains("aten::save"), "trust in another model is none");
}

#[test]
fn native_code_is_loaded_apart_and_only_where_it_is_trusted() {
    let house = House::new(&[]);
    house.write("m/1/model.pt2", "native");
    house.write("m/model.toml", MANIFEST);
    let isolated = Arc::new(house::Scripted::default());
    let open = |trusted: Option<&str>, mode| {
        let mut parts = house.parts();
        parts.isolated_loader = isolated.clone();
        parts.options.trusted = trusted.iter().map(|it| it.parse().unwrap()).collect();
        parts.options.isolation.mode = mode;
        let repository = Repository::open(parts).unwrap();
        let _ = repository.check();
        repository
    };
    let loads = || [house.trial.loads(), house.serving.loads(), isolated.loads()];
    let refused = reason(&open(None, Isolation::Auto), "m");
    let (_, advice) = refused.split_once("add \"").unwrap();
    let (trusted, _) = advice.split_once('"').unwrap();
    assert!(refused.starts_with("version 1: the file is native code, which can"), "{refused}");
    let refused = reason(&open(Some(trusted), Isolation::None), "m");
    assert!(refused.contains("a process of its own alone"), "{refused}");
    assert_eq!(loads(), [0, 0, 0], "not even for a trial");
    for mode in [Isolation::Auto, Isolation::Process] {
        let repository = open(Some(trusted), mode);
        assert_eq!(resolve(&repository, "m"), Ok(1), "{}", reason(&repository, "m"));
        repository.shutdown(Duration::from_secs(60));
    }
    assert_eq!(loads(), [1, 0, 2], "it is never loaded in the server");
}

#[test]
fn sizes_that_the_file_bounds_bound_requests_and_runs() {
    let house = House::new(&[("m", "bounded")]);
    house.write("m/model.toml", "optimize = \"off\"\n");
    let repository = house.loaded();
    let handle = repository.resolve(&latest("m")).unwrap();
    let spec = handle.engine_spec();
    assert_eq!(spec.inputs[0].shape.to_string(), "[-1, 1]");
    assert!(spec.inputs[0].declared, "what the file says binds requests");
    assert_eq!((spec.max_rows, spec.contract.sizes.len()), (5, 1));
    let rows = house.serving.seen.lock().unwrap()[0].rows();
    assert!(rows.iter().all(|n_rows| *n_rows <= 5), "{rows:?}");
    let rows = house.trial.seen.lock().unwrap()[0].rows();
    assert!(rows.iter().max() == Some(&5), "{rows:?}");
}

#[test]
fn a_stateful_model_is_fresh_for_its_first_request() {
    let house = House::new(&[("m", "stateful")]);
    house.write("m/sample.json", "1");
    let repository = house.loaded();
    let handle = repository.resolve(&latest("m")).unwrap();
    assert_eq!(handle.engine_spec().batching, crate::inference::Batching::Stateful);
    assert_eq!(handle.scheduler().status().instances, 1);
    assert_eq!(house.serving.seen.lock().unwrap()[0].rows(), [0; 0], "no run may come before");
}

#[test]
fn labels_must_fit_the_output() {
    let house = House::new(&[("m", "ok"), ("n", "ok")]);
    house.write("m/model.toml", &format!("labels = [\"a\", \"b\"]\n{MANIFEST}"));
    house.write("n/model.toml", &format!("labels = [\"a\", \"b\", \"c\"]\n{MANIFEST}"));
    let repository = house.loaded();
    let shape = crate::tensor::Shape::from([1, 1]);
    let tensor = crate::tensor::Tensor::from_vec(shape, vec![0.25f32]).unwrap();
    let tensors = vec![crate::inference::NamedTensor { name: "y".into(), tensor }];
    let mut outputs = crate::transform::Outputs {
        tensors,
        n_rows: 1,
        given: Vec::new(),
        extras: Vec::new(),
        parameters: Default::default(),
    };
    repository.resolve(&latest("m")).unwrap().transform().after(&mut outputs).unwrap();
    assert_eq!(outputs.extras.len(), 3, "label, score and top");
    let reason = reason(&repository, "n");
    assert!(reason.contains("labels need [-1, 3] for 3 labels"), "{reason}");
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_read_is_told_and_not_remembered() {
    let house = House::new(&[("m", "ok")]);
    let file = house.models().join("m/1/model.pt");
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("nowhere", &file).unwrap();
    let repository = house.loaded();
    assert!(reason(&repository, "m").starts_with("version 1: the model file cannot be read: "));
    assert_eq!(house.trial.loads(), 0);
    assert!(!Path::exists(&house.root.path().join("state")), "nothing is there to remember");
    fs::remove_file(&file).unwrap();
    fs::write(&file, "ok").unwrap();
    repository.reload(&name("m")).unwrap();
    assert_eq!(resolve(&repository, "m"), Ok(1));
}

#[test]
fn a_missing_models_folder_is_one_clear_error() {
    let house = House::new(&[]);
    let mut parts = house.parts();
    parts.options.models = "does/not/exist".into();
    let error = Repository::open(parts).unwrap_err().to_string();
    assert!(error.starts_with("the models folder does/not/exist cannot be read: "), "{error}");
}
