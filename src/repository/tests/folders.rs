//! Servers that find no model, or are told where it lies.

use super::*;
use crate::repository::{Live, LiveOptions, transition};

fn naming(house: &House, folders: &[(&str, &str)]) -> LiveOptions {
    let named = folders.iter().map(|(name, folder)| {
        format!("{name}={}", house.models().join(folder).display()).parse().unwrap()
    });
    LiveOptions { named: named.collect(), ..LiveOptions::default() }
}

fn with_named(house: &House, folder: &str) -> Repository {
    let mut parts = house.parts();
    parts.options.live = Live::new(naming(house, &[("m", folder)]));
    parts.options.models = house.models().join("none");
    Repository::open(parts).unwrap()
}

#[test]
fn a_server_without_a_model_is_not_ready_until_one_came() {
    let house = House::new(&[]);
    house.write("logs/2026/x.log", "");
    let repository = house.loaded();
    let readiness = repository.readiness();
    let reason = readiness.reason.unwrap();
    assert!(!readiness.ready, "a server that can answer nothing must not be ready");
    let folder = house.models().display().to_string();
    let expected = format!("no model was found in the models folder {folder}: put NAME/1/model.pt");
    assert!(reason.starts_with(&expected), "{reason}");
    house.write("m/1/model.pt", "invalid");
    assert!(repository.reload(&name("m")).is_err());
    let readiness = repository.readiness();
    assert!(!readiness.ready, "a model that failed must not make it ready");
    assert!(readiness.reason.unwrap().starts_with("none of the models serves"));
    house.write("m/1/model.pt", "ok");
    house.write("m/model.toml", MANIFEST);
    repository.reload(&name("m")).unwrap();
    let readiness = repository.readiness();
    assert_eq!((readiness.ready, readiness.reason), (true, None));
    repository.unload(&name("m")).unwrap();
    assert!(repository.readiness().ready, "an operator wanted it so");
}

#[test]
fn what_lies_there_in_place_of_models_is_told() {
    let house = House::new(&[]);
    house.write("model.pt", "ok");
    let repository = house.loaded();
    let reason = repository.readiness().reason.unwrap();
    let advice = format!("start with --model NAME={}", house.models().display());
    assert!(reason.ends_with(&advice), "{reason}");
    assert_eq!(repository.ignored().len(), 1);
}

#[test]
fn models_that_may_be_missing_are_not_all_missing() {
    let optional = format!("required = false\n{MANIFEST}");
    let house = House::new(&[("a", "invalid"), ("b", "invalid")]);
    house.write("a/model.toml", &optional);
    house.write("b/model.toml", &optional);
    let repository = house.loaded();
    let readiness = repository.readiness();
    assert_eq!((readiness.ready, readiness.waiting_for), (false, vec![]));
    assert!(readiness.reason.unwrap().starts_with("none of the models serves"));
    house.write("b/1/model.pt", "ok");
    repository.reload(&name("b")).unwrap();
    assert!(repository.readiness().ready, "one that serves is enough");
}

#[test]
fn a_named_folder_is_served_as_its_first_version_and_reloaded() {
    let house = House::new(&[]);
    house.write("x/net.pt", "ok");
    house.write("x/model.toml", MANIFEST);
    let repository = with_named(&house, "x");
    let _ = repository.check();
    assert_eq!(resolve(&repository, "m"), Ok(1));
    assert!(repository.readiness().ready);
    fs::remove_file(house.models().join("x/net.pt")).unwrap();
    house.write("x/4/model.pt", "ok");
    repository.reload(&name("m")).unwrap();
    assert_eq!(resolve(&repository, "m"), Ok(4));
    house.write("x/5/model.pt", "invalid");
    let error = repository.reload(&name("m")).unwrap_err().to_string();
    assert!(
        error.ends_with(": version 5: m/5/model.pt: invalid"),
        "no path of the machine: {error}"
    );
}

#[test]
fn a_file_in_the_folders_place_is_served() {
    let house = House::new(&[]);
    house.write("net.pt", "ok");
    let repository = with_named(&house, "net.pt");
    let _ = repository.check();
    assert_eq!(resolve(&repository, "m"), Ok(1));
    house.write("net.pt", "invalid");
    let error = repository.reload(&name("m")).unwrap_err().to_string();
    assert!(error.ends_with(": version 1: m: invalid"), "no path of the machine: {error}");
}

#[test]
fn a_folder_that_comes_late_is_waited_for() {
    let house = House::new(&[]);
    let repository = with_named(&house, "late");
    let late = transition::load_all(&repository.0);
    assert_eq!(late, [name("m")]);
    assert_eq!(repository.readiness().waiting_for, [name("m")]);
    let error = repository.resolve(&latest("m")).unwrap_err();
    assert!(error.retry_after.is_some(), "it is worth another try");
    assert_eq!(
        reason(&repository, "m"),
        "the model's folder is not there or empty, and is waited for"
    );
    house.write("late/model.pt", "ok");
    house.write("late/model.toml", MANIFEST);
    transition::load_late(&repository.0, late);
    assert_eq!(resolve(&repository, "m"), Ok(1));
    assert!(repository.readiness().ready);
    assert_eq!(reason(&repository, "m"), "");
}

#[test]
fn waiting_for_a_folder_ends_with_the_server() {
    let house = House::new(&[]);
    let repository = with_named(&house, "never");
    let late = transition::load_all(&repository.0);
    repository.shutdown(Duration::ZERO);
    transition::load_late(&repository.0, late);
}

#[test]
fn models_that_are_named_no_more_go_and_others_come() {
    let house = House::new(&[]);
    for folder in ["x/1", "y/1", "y/2"] {
        house.write(&format!("{folder}/model.pt"), "ok");
    }
    house.write("x/model.toml", MANIFEST);
    house.write("y/model.toml", MANIFEST);
    let mut parts = house.parts();
    parts.options.live = Live::new(naming(&house, &[("a", "x"), ("b", "x")]));
    parts.options.models = house.models().join("none");
    parts.options.watch = FolderWatch::Off;
    let repository = Repository::open(parts).unwrap();
    let _ = repository.check();
    let held = repository.resolve(&latest("a")).unwrap();
    repository.change(naming(&house, &[("b", "y"), ("c", "x")]));
    assert_eq!(resolve(&repository, "a"), Err(ErrorCode::ModelNotFound));
    assert_eq!((resolve(&repository, "b"), resolve(&repository, "c")), (Ok(2), Ok(1)));
    assert!(repository.readiness().ready, "nobody waits for a model that was taken from the list");
    assert_eq!(held.version().0, 1, "who holds it finishes on it");
    assert!(house.events.since(0).iter().any(|event| event.kind == EventKind::ModelUnloaded));
    // One that an operator let go stays away.
    repository.unload(&name("b")).unwrap();
    repository.change(naming(&house, &[("b", "x"), ("c", "x")]));
    assert_eq!(resolve(&repository, "b"), Err(ErrorCode::ModelNotReady));
}

#[test]
fn other_defaults_are_loaded_beside_what_serves() {
    let house = House::new(&[("m", "ok")]);
    let repository = house.loaded();
    let before = repository.resolve(&latest("m")).unwrap();
    repository.change(LiveOptions::default());
    let same = repository.resolve(&latest("m")).unwrap();
    assert!(same.is_same_load(&before), "what would come out the same is not loaded anew");
    let timeout = Duration::from_secs(7);
    let defaults = Defaults { timeout, ..Defaults::default() };
    repository.change(LiveOptions { defaults, ..LiveOptions::default() });
    assert_eq!(repository.resolve(&latest("m")).unwrap().limits().timeout, timeout);
    assert_eq!(before.limits().timeout, Defaults::default().timeout);
}
