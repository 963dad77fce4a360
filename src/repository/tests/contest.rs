//! A version with a package beside its TorchScript file.

use super::house::{House, latest, name};
use super::*;
use crate::repository::file_digest;
use crate::repository::watch::Watcher;

/// What of the two files serves: whether it runs apart, its digest, and the note that says why.
fn serving(house: &House, is_trusted: bool) -> (bool, String, String) {
    let package = house.models().join("m/1/model.pt2");
    let mut parts = house.parts();
    let line = format!("m@sha256:{}", file_digest(&package).unwrap());
    parts.options.trusted = is_trusted.then(|| line.parse().unwrap()).into_iter().collect();
    let repository = Repository::open(parts).unwrap();
    let _ = repository.check();
    let status = repository.describe(&name("m")).unwrap();
    let facts = status.versions[0].loaded.clone().unwrap().facts;
    let note = facts.notes.iter().find(|it| it.contains("model.pt2")).cloned().unwrap_or_default();
    assert!(repository.resolve(&latest("m")).is_ok());
    repository.shutdown(Duration::from_secs(60));
    (facts.is_isolated, facts.digest, note)
}

fn house(script: &str, package: &str) -> House {
    let house = House::new(&[("m", script)]);
    house.write("m/1/model.pt2", package);
    house
}

#[test]
fn the_faster_of_two_files_serves_and_the_note_says_so() {
    let of = |house: &House, file| file_digest(&house.models().join("m/1").join(file)).unwrap();
    let quick = house("slow", "native");
    let (is_isolated, digest, note) = serving(&quick, true);
    assert!(note.starts_with("model.pt2 serves in place of model.pt: "), "{note}");
    assert_eq!((is_isolated, digest), (true, of(&quick, "model.pt")), "one version, one digest");
    let slow = house("ok", "slow native");
    let (is_isolated, digest, note) = serving(&slow, true);
    assert!(note.starts_with("model.pt serves, and model.pt2 beside it does not: 0.0"), "{note}");
    assert_eq!((is_isolated, digest), (false, of(&slow, "model.pt")), "{note}");
}

#[test]
fn a_package_that_nobody_vouches_for_takes_nothing_away() {
    let house = house("slow", "native");
    let (is_isolated, _, note) = serving(&house, false);
    assert!(!is_isolated && note.contains("to serve it, add \"m@sha256:"), "{note}");
    assert_eq!(house.trial.loads(), 1, "it is not even tried");
    let broken = self::house("ok", "invalid");
    assert!(serving(&broken, true).2.contains("invalid"), "nor does one that fails");
}

#[test]
fn a_change_of_either_file_is_a_change() {
    let house = house("slow", "native");
    let mut parts = house.parts();
    let line = format!("m@sha256:{}", file_digest(&house.models().join("m/1/model.pt2")).unwrap());
    parts.options.trusted = vec![line.parse().unwrap()];
    let repository = Repository::open(parts).unwrap();
    let mut watcher = Watcher::new(&repository.0).unwrap();
    watcher.waits = true;
    let _ = repository.check();
    let mut loads = || {
        for _ in 0..2 {
            watcher.look_once(&repository.0);
        }
        house.serving.loads()
    };
    let before = loads();
    assert_eq!(loads(), before, "nothing changed");
    house.write("m/1/model.pt", "ok");
    let after = loads();
    assert!(after > before, "the file beside the package that serves changed");
    house.write("m/1/model.pt2", "native, but of another kind");
    assert!(loads() > after, "the package changed");
    repository.shutdown(Duration::from_secs(60));
}
