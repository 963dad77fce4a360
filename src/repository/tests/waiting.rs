//! Versions that lie in the folder and are not loaded, and those that are loaded and lie there no more.

use super::*;
use crate::telemetry::events::EventKind;
use std::collections::BTreeSet;

/// Two versions, of which the higher serves.
fn two() -> House {
    let house = House::new(&[("m", "ok")]);
    house.write("m/2/model.pt", "two");
    house
}

fn labeled(repository: &Repository, label: &str) -> Result<u64, ErrorCode> {
    let version = VersionSelector::Label(label.parse().unwrap());
    let model = ModelRef { name: name("m"), version };
    repository.resolve(&model).map(|handle| handle.version().0).map_err(|error| error.code)
}

fn ready(repository: &Repository) -> BTreeSet<u64> {
    let status = repository.describe(&name("m")).unwrap();
    let ready = status.versions.iter().filter(|it| it.state == VersionState::Ready);
    ready.map(|it| it.version.0).collect()
}

#[test]
fn a_version_that_waits_is_loaded_to_be_the_default_and_makes_way_again() {
    let house = two();
    let repository = house.loaded();
    let m = name("m");
    assert_eq!(ready(&repository), BTreeSet::from([2]));
    repository.set_default(&m, Version(1)).unwrap();
    assert_eq!((resolve(&repository, "m"), ready(&repository)), (Ok(1), BTreeSet::from([1])));
    repository.clear_default(&m).unwrap();
    assert_eq!((resolve(&repository, "m"), ready(&repository)), (Ok(2), BTreeSet::from([2])));
    repository.set_default(&m, Version(1)).unwrap();
    repository.shutdown(Duration::from_secs(60));
    let repository = house.loaded();
    assert_eq!(resolve(&repository, "m"), Ok(1), "a default holds after a restart");
    repository.clear_default(&m).unwrap();
    assert_eq!((resolve(&repository, "m"), ready(&repository)), (Ok(2), BTreeSet::from([2])));
    // What an operator let go comes back on order alone.
    repository.set_default(&m, Version(2)).unwrap();
    repository.unload(&m).unwrap();
    assert_eq!(repository.set_default(&m, Version(2)).unwrap_err().code(), ErrorCode::Conflict);
    repository.clear_default(&m).unwrap();
    assert_eq!(ready(&repository), BTreeSet::new());
}

#[test]
fn a_version_that_cannot_be_loaded_does_not_become_the_default() {
    let house = two();
    house.write("m/1/model.pt", "invalid");
    let repository = house.loaded();
    let error = repository.set_default(&name("m"), Version(1)).unwrap_err();
    let expected = "model \"m\" could not be loaded: version 1: m/1/model.pt: invalid";
    assert_eq!(error.to_string(), expected);
    assert_eq!(resolve(&repository, "m"), Ok(2));
    assert_eq!(repository.describe(&name("m")).unwrap().pin, None);
    let error = repository.set_default(&name("m"), Version(7)).unwrap_err();
    assert_eq!(error.to_string(), "model \"m\" has no version 7");
}

#[test]
fn a_version_that_waits_is_loaded_for_a_label_unless_it_would_answer_by_default() {
    let house = two();
    house.write("m/3/model.pt", "three");
    house.write("m/model.toml", &format!("versions = [2]\n{MANIFEST}"));
    let repository = house.loaded();
    let (m, old, next) = (name("m"), "old".parse().unwrap(), "next".parse().unwrap());
    repository.set_label(&m, &old, Version(1)).unwrap();
    assert_eq!((labeled(&repository, "old"), resolve(&repository, "m")), (Ok(1), Ok(2)));
    let error = repository.set_label(&m, &next, Version(3)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Conflict);
    assert!(error.to_string().contains("would answer by default"), "{error}");
    repository.set_default(&m, Version(2)).unwrap();
    repository.set_label(&m, &next, Version(3)).unwrap();
    assert_eq!((labeled(&repository, "next"), resolve(&repository, "m")), (Ok(3), Ok(2)));
}

#[test]
fn a_version_that_waits_can_be_rejected_before_it_is_ever_loaded() {
    let house = two();
    house.write("m/3/model.pt", "three");
    house.write("m/model.toml", &format!("versions = [1, 2]\n{MANIFEST}"));
    let repository = house.loaded();
    let m = name("m");
    repository.reject(&m, Version(3), "no").unwrap();
    house.write("m/model.toml", &format!("versions = \"all\"\n{MANIFEST}"));
    repository.reload(&m).unwrap();
    assert_eq!(ready(&repository), BTreeSet::from([1, 2]));
    // What lies there now, not what once did.
    house.write("m/model.toml", &format!("versions = [1]\n{MANIFEST}"));
    repository.reload(&m).unwrap();
    house.write("m/2/model.pt", "two again");
    repository.reject(&m, Version(2), "no").unwrap();
    house.write("m/model.toml", &format!("versions = \"all\"\n{MANIFEST}"));
    repository.reload(&m).unwrap();
    assert_eq!(ready(&repository), BTreeSet::from([1]));
    let unknown = repository.reject(&m, Version(9), "no").unwrap_err();
    assert_eq!(unknown.code(), ErrorCode::VersionNotFound);
}

#[test]
fn a_label_that_goes_with_a_rejection_is_told() {
    let house = two();
    house.write("m/model.toml", &format!("versions = \"all\"\n{MANIFEST}"));
    let repository = house.loaded();
    repository.set_label(&name("m"), &"prod".parse().unwrap(), Version(2)).unwrap();
    repository.reject(&name("m"), Version(2), "no").unwrap();
    let events = repository.0.events.since(0);
    let removed = events.iter().find(|event| event.kind == EventKind::LabelRemoved).unwrap();
    assert_eq!(removed.message, "the label \"prod\" named version 2, which is rejected");
}

#[test]
fn what_serves_without_a_folder_is_a_problem_of_the_model() {
    let house = two();
    let repository = house.loaded();
    let m = name("m");
    repository.set_label(&m, &"prod".parse().unwrap(), Version(1)).unwrap();
    let (there, away) = (house.models().join("m/1"), house.root.path().join("away"));
    fs::rename(&there, &away).unwrap();
    assert!(repository.reload(&m).is_err());
    assert_eq!((labeled(&repository, "prod"), resolve(&repository, "m")), (Ok(1), Ok(2)));
    let expected = "version 1 is not in the folder any more: it serves on, and not after a restart";
    assert_eq!(reason(&repository, "m"), expected);
    fs::rename(&away, &there).unwrap();
    repository.reload(&m).unwrap();
    assert_eq!(reason(&repository, "m"), "");
    repository.set_default(&m, Version(1)).unwrap();
    repository.remove_label(&m, &"prod".parse().unwrap()).unwrap();
    fs::rename(&there, &away).unwrap();
    assert!(repository.reload(&m).is_err());
    assert_eq!(resolve(&repository, "m"), Ok(2));
    assert_eq!(reason(&repository, "m"), "version 1 was set as the default and is not there");
}

#[test]
fn what_nothing_wants_any_more_goes_at_once() {
    let house = two();
    let repository = house.loaded();
    let (m, old) = (name("m"), "old".parse().unwrap());
    repository.set_label(&m, &old, Version(1)).unwrap();
    assert_eq!(ready(&repository), BTreeSet::from([1, 2]));
    repository.remove_label(&m, &old).unwrap();
    assert_eq!(ready(&repository), BTreeSet::from([2]));
}

#[test]
fn an_order_for_a_rejected_file_says_what_to_do_first() {
    let house = two();
    let repository = house.loaded();
    let m = name("m");
    repository.reject(&m, Version(2), "too slow").unwrap();
    let expected = "version 2 of model \"m\" was rejected: too slow. Accept it first";
    for refused in [
        repository.set_default(&m, Version(2)),
        repository.set_label(&m, &"x".parse().unwrap(), Version(2)),
        repository.roll_out(&m, Version(2)),
    ] {
        let error = refused.unwrap_err();
        assert_eq!((error.code(), error.to_string()), (ErrorCode::Conflict, expected.to_owned()));
    }
    // A copy is the same file, and stands for it.
    house.write("m/3/model.pt", "two");
    repository.reload(&m).unwrap();
    assert_eq!(resolve(&repository, "m"), Ok(1));
    repository.accept(&m, Version(3)).unwrap();
    assert_eq!(resolve(&repository, "m"), Ok(3));
    let failed = repository.0.events.since(0);
    let failed = failed.iter().filter(|event| event.kind == EventKind::VersionFailed);
    let told: Vec<_> = failed.map(|event| event.message.clone()).collect();
    assert_eq!(told, ["it is the file of version 2, which was rejected: too slow"]);
}

#[test]
fn a_label_that_names_nothing_is_a_problem_of_the_model() {
    let house = two();
    let repository = house.loaded();
    repository.set_label(&name("m"), &"prod".parse().unwrap(), Version(1)).unwrap();
    repository.shutdown(Duration::from_secs(60));
    fs::remove_dir_all(house.models().join("m/1")).unwrap();
    let repository = house.loaded();
    assert_eq!((resolve(&repository, "m"), labeled(&repository, "prod").is_err()), (Ok(2), true));
    assert_eq!(reason(&repository, "m"), "the label \"prod\" names version 1, which is not there");
    let unknown = repository.set_label(&name("m"), &"x".parse().unwrap(), Version(77));
    assert_eq!(unknown.unwrap_err().code(), ErrorCode::VersionNotFound);
}

#[test]
fn what_bears_a_label_does_not_answer_by_default_while_a_model_comes_up() {
    let house = two();
    let repository = house.loaded();
    let m = name("m");
    repository.set_label(&m, &"old".parse().unwrap(), Version(1)).unwrap();
    repository.unload(&m).unwrap();
    house.serving.loads.lock().unwrap().clear();
    repository.reload(&m).unwrap();
    assert_eq!(*house.serving.loads.lock().unwrap(), ["two", "ok"]);
}
