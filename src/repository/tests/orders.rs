//! What operators order of models that are loaded.

use super::*;
use crate::testing::until;

const ALL: &str = "versions = \"all\"\n";

/// A model `m` with versions 1, 2 and 3, all of them served.
fn three() -> House {
    let house = House::new(&[("m", "ok")]);
    house.write("m/2/model.pt", "two");
    house.write("m/3/model.pt", "three");
    house.write("m/model.toml", &format!("{ALL}{MANIFEST}"));
    house
}

fn states(repository: &Repository) -> Vec<(u64, &'static str)> {
    let status = repository.describe(&name("m")).unwrap();
    status.versions.iter().map(|it| (it.version.0, it.state.as_str())).collect()
}

fn numbered(repository: &Repository, version: u64) -> Result<ModelHandle, InferError> {
    let version = VersionSelector::Specific(Version(version));
    repository.resolve(&ModelRef { version, ..latest("m") })
}

#[track_caller]
fn refused(outcome: Result<(), RepositoryError>, code: ErrorCode, text: &str) {
    let error = outcome.unwrap_err();
    assert_eq!((error.code(), error.to_string()), (code, text.to_owned()));
}

#[test]
fn an_unloaded_model_drains_is_told_of_and_comes_back() {
    let house = three();
    let repository = house.loaded();
    let held = repository.resolve(&latest("m")).unwrap();
    repository.unload(&name("m")).unwrap();
    assert_eq!(states(&repository), [(1, "unloaded"), (2, "unloaded"), (3, "draining")]);
    for asked in [repository.resolve(&latest("m")), numbered(&repository, 3)] {
        let error = asked.unwrap_err();
        assert_eq!(error.code, ErrorCode::ModelNotReady);
        assert_eq!(error.message, "model \"m\" was unloaded");
        assert_eq!(error.retry_after, None, "only an operator can bring it back");
    }
    let status = repository.describe(&name("m")).unwrap();
    assert!(status.unloaded && status.serving.is_none() && status.problem.is_none());
    drop(held);
    assert_eq!(states(&repository), [(1, "unloaded"), (2, "unloaded"), (3, "unloaded")]);
    assert_eq!(repository.0.loader.loaded.wait(Duration::from_secs(60)), 0);
    assert_eq!(house.serving.live(), 0, "what nobody holds must be gone");
    repository.unload(&name("m")).unwrap();
    repository.reload(&name("m")).unwrap();
    assert_eq!(states(&repository), [(1, "ready"), (2, "ready"), (3, "ready")]);
    assert!(!repository.describe(&name("m")).unwrap().unloaded);
    assert_eq!(resolve(&repository, "m"), Ok(3));
}

#[test]
fn an_unloaded_model_is_not_waited_for_until_it_serves_again() {
    let house = House::new(&[("m", "ok"), ("n", "ok")]);
    let repository = house.loaded();
    repository.unload(&name("m")).unwrap();
    let unloaded = vec![name("m")];
    let expected =
        Readiness { ready: true, waiting_for: vec![], unloaded, failed: vec![], reason: None };
    assert_eq!(repository.readiness(), expected, "one order must not take the whole server away");
    house.write("m/1/model.pt", "invalid");
    assert!(repository.reload(&name("m")).is_err());
    assert_eq!(repository.readiness(), expected, "bringing it back must not either");
    let status = repository.describe(&name("m")).unwrap();
    assert!(!status.unloaded, "now it is a failure that keeps it away");
    assert_eq!(states(&repository), [(1, "failed")]);
    let error = repository.resolve(&latest("m")).unwrap_err();
    assert_eq!(error.message, "model \"m\" could not be loaded");
    house.write("m/1/model.pt", "good again");
    repository.reload(&name("m")).unwrap();
    assert_eq!(repository.readiness().unloaded, []);
    // From here on it is missed again.
    house.write("n/1/model.pt", "other");
    assert!(repository.readiness().ready);
}

#[test]
fn an_order_and_a_load_exclude_each_other() {
    let house = House::new(&[("m", "wait")]);
    let (reached, at_gate) = mpsc::channel();
    let (open, gate) = mpsc::channel();
    *house.serving.gate.lock().unwrap() = Some((reached, gate));
    let repository = house.open();
    repository.start().unwrap();
    receive("the load", &at_gate);
    let busy = "model \"m\" is being loaded or changed already";
    let m = name("m");
    refused(repository.unload(&m), ErrorCode::Conflict, busy);
    refused(repository.unload_version(&m, Version(1)), ErrorCode::Conflict, busy);
    refused(repository.set_default(&m, Version(1)), ErrorCode::Conflict, busy);
    refused(repository.clear_default(&m), ErrorCode::Conflict, busy);
    open.send(()).unwrap();
    until("the repository is ready", || repository.readiness().ready);
    let unknown = "there is no model \"x\"";
    refused(repository.unload(&name("x")), ErrorCode::ModelNotFound, unknown);
    assert!(repository.describe(&name("x")).is_none(), "an order must not make a model");
    repository.shutdown(Duration::from_secs(60));
    refused(repository.unload(&m), ErrorCode::Draining, "the server is shutting down");
}

#[test]
fn versions_are_unloaded_one_by_one_and_the_default_last() {
    let house = three();
    let repository = house.loaded();
    let m = name("m");
    let default =
        "version 3 of model \"m\" is its default, set another one first or unload the model";
    refused(repository.unload_version(&m, Version(3)), ErrorCode::Conflict, default);
    let unknown = "model \"m\" has no version 4";
    refused(repository.unload_version(&m, Version(4)), ErrorCode::VersionNotFound, unknown);
    repository.unload_version(&m, Version(1)).unwrap();
    assert_eq!(states(&repository), [(1, "unloaded"), (2, "ready"), (3, "ready")]);
    assert_eq!(numbered(&repository, 1).unwrap_err().code, ErrorCode::ModelNotReady);
    assert!(!repository.describe(&m).unwrap().unloaded);
    // An order for it brings it back.
    repository.set_default(&m, Version(1)).unwrap();
    assert_eq!(resolve(&repository, "m"), Ok(1));
    repository.set_default(&m, Version(3)).unwrap();
    repository.unload_version(&m, Version(1)).unwrap();
    repository.unload_version(&m, Version(2)).unwrap();
    assert_eq!(resolve(&repository, "m"), Ok(3));
    repository.unload_version(&m, Version(3)).unwrap();
    assert!(repository.describe(&m).unwrap().unloaded, "the last version takes the model with it");
    assert_eq!(repository.readiness().unloaded, [m]);
}

#[test]
fn a_default_that_was_set_holds_through_reload_and_restart() {
    let house = three();
    let repository = house.loaded();
    let m = name("m");
    let unknown = "model \"m\" has no version 4";
    refused(repository.set_default(&m, Version(4)), ErrorCode::VersionNotFound, unknown);
    assert_eq!(repository.describe(&m).unwrap().pin, None);
    repository.set_default(&m, Version(1)).unwrap();
    assert_eq!(resolve(&repository, "m"), Ok(1));
    assert_eq!(numbered(&repository, 3).unwrap().version(), Version(3), "the others go on");
    house.write("m/4/model.pt", "four");
    repository.reload(&m).unwrap();
    assert_eq!(resolve(&repository, "m"), Ok(1));
    repository.shutdown(Duration::from_secs(60));
    house.serving.loads.lock().unwrap().clear();

    let repository = house.loaded();
    assert_eq!(resolve(&repository, "m"), Ok(1));
    let pin = Some(Pin { version: Version(1), kept: true });
    assert_eq!(repository.describe(&m).unwrap().pin, pin);
    let order = ["ok", "four", "three", "two"];
    assert_eq!(*house.serving.loads.lock().unwrap(), order, "no other may answer in its place");
    repository.clear_default(&m).unwrap();
    assert_eq!(resolve(&repository, "m"), Ok(4));
    repository.shutdown(Duration::from_secs(60));
    assert_eq!(resolve(&house.loaded(), "m"), Ok(4), "what was cleared must not come back");
}

#[test]
fn a_default_that_cannot_serve_is_stood_in_for() {
    let house = three();
    let repository = house.loaded();
    let m = name("m");
    repository.set_default(&m, Version(2)).unwrap();
    // No longer among the versions of model.toml.
    house.write("m/model.toml", &format!("versions = [1, 3]\n{MANIFEST}"));
    repository.reload(&m).unwrap();
    assert_eq!(resolve(&repository, "m"), Ok(2), "what an operator set stays loaded");
    assert_eq!(repository.describe(&m).unwrap().pin.map(|pin| pin.version), Some(Version(2)));
    // It cannot be loaded after a restart.
    repository.shutdown(Duration::from_secs(60));
    house.write("m/2/model.pt", "invalid");
    let repository = house.loaded();
    assert_eq!(resolve(&repository, "m"), Ok(3));
    assert!(repository.readiness().ready);
}

#[test]
fn what_cannot_be_written_down_is_a_problem_until_it_can() {
    let house = three();
    let repository = house.loaded();
    let in_the_way = house.parts().options.state_dir.unwrap().join("models");
    std::fs::rename(&in_the_way, in_the_way.with_extension("aside")).unwrap();
    std::fs::write(&in_the_way, "").unwrap();
    let is_unkept = || repository.describe(&name("m")).unwrap().is_unkept;
    assert!(!is_unkept());
    let label = "prod".parse().unwrap();
    for version in [1, 2] {
        repository.set_label(&name("m"), &label, Version(version)).unwrap();
        assert!(is_unkept());
    }
    let events = house.parts().events.since(0);
    let told = events.iter().filter(|event| event.message == UNKEPT).count();
    assert_eq!(told, 1, "once, not with every order");
    std::fs::remove_file(&in_the_way).unwrap();
    repository.clear_default(&name("m")).unwrap();
    assert!(!is_unkept());
}

#[test]
fn without_a_folder_of_state_a_default_holds_until_the_end() {
    let house = three();
    let mut parts = house.parts();
    parts.options.state_dir = None;
    let repository = Repository::open(parts).unwrap();
    let _ = repository.check();
    repository.set_default(&name("m"), Version(1)).unwrap();
    let pin = repository.describe(&name("m")).unwrap().pin;
    assert_eq!(pin, Some(Pin { version: Version(1), kept: false }));
    assert_eq!(resolve(&repository, "m"), Ok(1));
}
