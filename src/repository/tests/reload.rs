//! Loading a model anew beside what serves.

use super::*;

#[test]
fn a_reload_swaps_under_handles_and_the_last_one_unloads() {
    let house = House::new(&[("m", "ok")]);
    let repository = house.loaded();
    let old = repository.resolve(&latest("m")).unwrap();
    house.write("m/2/model.pt", "ok, too");
    let status = repository.reload(&name("m")).unwrap();
    let states: Vec<_> = status.versions.iter().map(|it| (it.version.0, it.state)).collect();
    assert_eq!(states, [(1, VersionState::Draining), (2, VersionState::Ready)]);
    assert_eq!(resolve(&repository, "m"), Ok(2));
    assert_eq!(house.serving.live(), 2, "a held version must stay loaded");
    let gone = ModelRef { version: VersionSelector::Specific(Version(1)), ..latest("m") };
    assert_eq!(repository.resolve(&gone).unwrap_err().code, ErrorCode::VersionNotFound);
    drop(old);
    assert_eq!(repository.shutdown(Duration::from_secs(60)), 0);
    assert_eq!(house.serving.live(), 0);
    assert_eq!(repository.reload(&name("m")).unwrap_err().code(), ErrorCode::Draining);
}

#[test]
fn a_reload_that_fails_leaves_what_serves() {
    let house = House::new(&[("m", "ok")]);
    let repository = house.loaded();
    house.write("m/2/model.pt", "invalid");
    let error = repository.reload(&name("m")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "model \"m\" could not be loaded: version 2: m/2/model.pt: invalid"
    );
    assert_eq!(resolve(&repository, "m"), Ok(1));
    assert!(repository.readiness().ready, "an earlier good version keeps the model ready");
    let status = repository.describe(&name("m")).unwrap();
    assert_eq!(status.versions[1].state, VersionState::Failed);
    // The same version, spoiled in place: it goes on as it was loaded.
    fs::remove_dir_all(house.models().join("m/2")).unwrap();
    house.write("m/1/model.pt", "invalid");
    assert!(repository.reload(&name("m")).is_err());
    assert_eq!(resolve(&repository, "m"), Ok(1));
    let status = repository.describe(&name("m")).unwrap();
    assert_eq!(status.versions[0].state, VersionState::Ready);
    assert!(status.versions[0].failure.is_some(), "the failed attempt must be told");
    assert_eq!(status.versions.len(), 1, "a failure that is over must not be told for ever");
    fs::remove_dir_all(house.models().join("m")).unwrap();
    assert!(repository.reload(&name("m")).is_err());
    assert_eq!(resolve(&repository, "m"), Ok(1));
}

#[test]
fn one_transition_of_a_model_at_a_time() {
    let house = House::new(&[("m", "ok")]);
    let repository = house.loaded();
    house.write("m/2/model.pt", "wait");
    let (reached, at_gate) = mpsc::channel();
    let (open, gate) = mpsc::channel();
    *house.serving.gate.lock().unwrap() = Some((reached, gate));
    let other = repository.clone();
    let reload = std::thread::spawn(move || other.reload(&name("m")).map(drop));
    receive("the load of version 2", &at_gate);
    let status = repository.describe(&name("m")).unwrap();
    assert_eq!(status.versions[1].state, VersionState::Loading);
    assert_eq!(resolve(&repository, "m"), Ok(1), "the old version serves while the new one loads");
    assert!(repository.readiness().ready, "a reload must not touch readiness");
    assert_eq!(repository.reload(&name("m")).unwrap_err().code(), ErrorCode::Conflict);
    open.send(()).unwrap();
    reload.join().unwrap().unwrap();
    assert_eq!(resolve(&repository, "m"), Ok(2));
}
