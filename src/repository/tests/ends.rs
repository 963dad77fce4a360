//! What must not happen: a good version that is let go, a verdict on another file, what was taken away that comes back.

use super::handover::kinds;
use super::house::Scripted;
use super::rollouts::{canary, share};
use super::*;
use crate::repository::transition;

/// Holds the loads of files that wait, and gives what says that one is held and what lets it go.
fn held(loader: &Scripted) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (reached, at_gate) = mpsc::channel();
    let (open, gate) = mpsc::channel();
    *loader.gate.lock().unwrap() = Some((reached, gate));
    (at_gate, open)
}

#[test]
fn going_back_while_another_version_fails_leaves_the_old_one() {
    let (house, repository) = canary();
    let m = name("m");
    house.write("m/3/model.pt", "wait");
    let (at_gate, open) = held(&house.serving);
    let loading = repository.clone();
    let loads = std::thread::spawn(move || transition::refresh(&loading.0, &name("m")));
    receive("the load", &at_gate);
    repository.roll_back(&m, None, "it fails requests").unwrap();
    // What is loaded is not what is there any more, so the load fails.
    house.write("m/3/model.pt", "another");
    open.send(()).unwrap();
    assert!(loads.join().unwrap().is_err());
    assert_eq!(resolve(&repository, "m"), Ok(1));
}

#[test]
fn a_verdict_is_of_the_file_whose_digest_it_bears() {
    let house = House::new(&[("m", "ok")]);
    let repository = house.loaded();
    house.write("m/2/model.pt", "wait");
    let (at_gate, open) = held(&house.trial);
    let loading = repository.clone();
    let loads = std::thread::spawn(move || transition::refresh(&loading.0, &name("m")));
    receive("the trial", &at_gate);
    // It is there again when the trial is over, but was not all the time.
    let (file, aside) = (house.models().join("m/2/model.pt"), house.root.path().join("aside"));
    fs::rename(&file, &aside).unwrap();
    fs::write(&file, "raises").unwrap();
    fs::rename(&aside, &file).unwrap();
    open.send(()).unwrap();
    assert!(loads.join().unwrap().is_err());
    let expected = "version 2: the model file changed while it was tried";
    assert_eq!((reason(&repository, "m"), resolve(&repository, "m")), (expected.to_owned(), Ok(1)));
    let verdicts = || fs::read_dir(house.root.path().join("state/verdicts")).unwrap().count();
    assert_eq!(verdicts(), 1, "nothing is kept of what was tried");
    repository.reload(&name("m")).unwrap();
    assert_eq!((resolve(&repository, "m"), verdicts()), (Ok(2), 2));
}

#[derive(Debug)]
struct Panics;

impl Verifier for Panics {
    fn verify(&self, candidate: &ModelHandle, _: &Path) -> Result<(), String> {
        assert_eq!(candidate.version(), Version(1), "a fault of whoever verifies");
        Ok(())
    }
}

#[test]
fn a_panic_ends_the_load_of_one_version_alone() {
    let house = House::new(&[("m", "ok")]);
    house.write("m/2/model.pt", "two");
    let parts = RepositoryParts { verifier: Some(Arc::new(Panics)), ..house.parts() };
    let repository = Repository::open(parts).unwrap();
    let _ = repository.check();
    assert_eq!(resolve(&repository, "m"), Ok(1));
    assert_eq!(reason(&repository, "m"), "version 2: loading the version panicked");
    assert!(kinds(&house).contains(&EventKind::VersionFailed));
    // An order that panics ends too.
    assert!(repository.set_label(&name("m"), &"x".parse().unwrap(), Version(2)).is_err());
    repository.set_label(&name("m"), &"x".parse().unwrap(), Version(1)).unwrap();
}

#[test]
fn what_an_operator_let_go_stays_away_until_it_is_loaded_on_order() {
    let house = House::new(&[("m", "ok")]);
    house.write("m/model.toml", &format!("versions = \"all\"\n{MANIFEST}"));
    house.write("m/2/model.pt", "two");
    let repository = house.loaded();
    let m = name("m");
    repository.unload_version(&m, Version(1)).unwrap();
    let serves = |version| {
        let versions = repository.describe(&m).unwrap().versions;
        versions.iter().any(|it| it.version == version && it.state == VersionState::Ready)
    };
    house.write("m/README.md", "a note");
    house.write("m/3/model.pt", "three");
    transition::refresh(&repository.0, &m).unwrap();
    assert_eq!([1, 2, 3].map(|it| serves(Version(it))), [false, true, true]);
    repository.set_label(&m, &"old".parse().unwrap(), Version(1)).unwrap();
    assert!(serves(Version(1)), "an order for it is one");
    repository.unload_version(&m, Version(1)).unwrap();
    repository.reload(&m).unwrap();
    assert!(serves(Version(1)));
}

#[test]
fn a_version_whose_place_was_taken_in_a_roll_out_does_not_come_back() {
    let (house, repository) = canary();
    let m = name("m");
    house.write("m/3/model.pt", "three");
    repository.reload(&m).unwrap();
    repository.roll_back(&m, None, "slow").unwrap();
    repository.reload(&m).unwrap();
    assert_eq!((share(&repository), repository.rollout(&m).is_none()), (0, true));
    repository.shutdown(Duration::from_secs(60));
    let repository = house.loaded();
    assert_eq!((resolve(&repository, "m"), repository.rollout(&m).is_none()), (Ok(1), true));
    // An operator may want it all the same, and what comes later is new.
    repository.accept(&m, Version(2)).unwrap();
    assert_eq!(repository.rollout(&m).unwrap().candidate.version(), Version(2));
    house.write("m/4/model.pt", "four");
    repository.reload(&m).unwrap();
    assert_eq!(repository.rollout(&m).unwrap().candidate.version(), Version(4));
}

#[test]
fn a_new_version_that_is_tried_does_not_hold_readiness_up() {
    let (house, repository) = canary();
    repository.shutdown(Duration::from_secs(60));
    house.write("m/2/model.pt", "wait");
    let repository = house.open();
    let (at_gate, open) = held(&house.trial);
    repository.start().unwrap();
    receive("the trial", &at_gate);
    assert!(repository.readiness().ready, "{:?}", repository.readiness());
    assert_eq!(resolve(&repository, "m"), Ok(1));
    open.send(()).unwrap();
    repository.shutdown(Duration::from_secs(60));
}

#[test]
fn a_problem_ends_with_the_order_that_ends_it() {
    let house = House::new(&[("m", "ok")]);
    house.write("m/model.toml", &format!("versions = \"all\"\n{MANIFEST}"));
    house.write("m/2/model.pt", "two");
    let repository = house.loaded();
    let m = name("m");
    repository.set_default(&m, Version(1)).unwrap();
    fs::remove_dir_all(house.models().join("m/1")).unwrap();
    assert!(repository.reload(&m).is_err());
    assert!(!reason(&repository, "m").is_empty());
    repository.clear_default(&m).unwrap();
    assert_eq!(reason(&repository, "m"), "");
    house.write("m/3/model.pt", "invalid");
    assert!(repository.reload(&m).is_err());
    assert!(reason(&repository, "m").starts_with("version 3: "));
    repository.reject(&m, Version(3), "no").unwrap();
    assert_eq!(reason(&repository, "m"), "");
}

#[test]
fn a_rejected_file_in_the_place_of_one_that_serves_is_a_problem() {
    let house = House::new(&[("m", "ok")]);
    house.write("m/2/model.pt", "bad");
    let repository = house.loaded();
    let m = name("m");
    repository.reject(&m, Version(2), "wrong").unwrap();
    house.write("m/2/model.pt", "good");
    repository.reload(&m).unwrap();
    house.write("m/2/model.pt", "bad");
    assert!(repository.reload(&m).is_err());
    let expected = "version 2: its file was replaced by one that was rejected (wrong): what is loaded serves on, and not after a restart";
    assert_eq!((reason(&repository, "m"), resolve(&repository, "m")), (expected.to_owned(), Ok(2)));
    let versions = repository.describe(&m).unwrap().versions;
    assert_eq!(versions.len(), 1, "and nothing else comes up beside it: {versions:?}");
}

#[test]
fn orders_for_a_model_that_was_unloaded_say_so() {
    let house = House::new(&[("m", "ok")]);
    house.write("m/2/model.pt", "two");
    let repository = house.loaded();
    let m = name("m");
    repository.unload(&m).unwrap();
    for refused in [
        repository.set_default(&m, Version(1)),
        repository.set_label(&m, &"x".parse().unwrap(), Version(2)),
        repository.roll_out(&m, Version(1)),
    ] {
        assert_eq!(refused.unwrap_err().to_string(), "model \"m\" was unloaded: load it first");
    }
    let number = repository.set_label(&m, &"7".parse().unwrap(), Version(1)).unwrap_err();
    assert_eq!(number.code(), ErrorCode::InvalidRequest);
}

#[test]
fn the_label_and_the_pin_of_a_rejected_copy_go_with_it() {
    let house = House::new(&[("m", "ok")]);
    house.write("m/model.toml", &format!("versions = \"all\"\n{MANIFEST}"));
    house.write("m/2/model.pt", "two");
    house.write("m/3/model.pt", "two");
    let repository = house.loaded();
    let m = name("m");
    repository.set_default(&m, Version(3)).unwrap();
    repository.set_label(&m, &"prod".parse().unwrap(), Version(3)).unwrap();
    repository.reject(&m, Version(2), "no").unwrap();
    let status = repository.describe(&m).unwrap();
    assert_eq!((status.pin, status.labels.contains_key(&"prod".parse().unwrap())), (None, false));
    assert_eq!(resolve(&repository, "m"), Ok(1));
}

#[test]
fn what_model_toml_does_not_say_does_not_change_a_roll_out_by_hand() {
    let house = House::new(&[("m", "ok")]);
    let repository = house.loaded();
    let m = name("m");
    repository.set_default(&m, Version(1)).unwrap();
    house.write("m/2/model.pt", "two");
    repository.roll_out(&m, Version(2)).unwrap();
    house.write("m/3/model.pt", "three");
    repository.reload(&m).unwrap();
    assert!(!kinds(&house).contains(&EventKind::RolloutStep));
}

#[derive(Debug)]
struct Content;

impl Verifier for Content {
    fn verify(&self, _: &ModelHandle, _: &Path) -> Result<(), String> {
        Ok(())
    }
}

/// Who verifies a version reads what lies beside it.
#[test]
fn a_link_beside_a_version_does_not_lead_out_of_the_models_folder() {
    let house = House::new(&[("m", "ok"), ("other", "ok")]);
    let outside = tempfile::NamedTempFile::new().unwrap();
    let link = |to: &std::path::Path, from: &str| {
        std::os::unix::fs::symlink(to, house.models().join(from)).unwrap();
    };
    house.write("other/reference.txt", "theirs");
    link(&house.models().join("other/reference.txt"), "other/1/inside.json");
    link(outside.path(), "m/1/reference.json");
    let load = || {
        let parts = RepositoryParts { verifier: Some(Arc::new(Content)), ..house.parts() };
        let repository = Repository::open(parts).unwrap();
        let _ = repository.check();
        repository
    };
    let repository = load();
    assert_eq!(resolve(&repository, "other"), Ok(1));
    let why = reason(&repository, "m");
    assert!(why.contains("m/1/reference.json: "), "{why}");
    repository.shutdown(Duration::from_secs(60));
    std::fs::remove_file(house.models().join("m/1/reference.json")).unwrap();
    link(outside.path(), "m/reference.json");
    let repository = load();
    let why = reason(&repository, "m");
    assert!(why.contains("m/reference.json: "), "{why}");
}
