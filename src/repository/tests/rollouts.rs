//! New versions beside old ones: every way through a roll-out, and a restart in each of its states.

use super::*;
use crate::inference::RoutingKey;
use crate::repository::manifest::Decider;
use crate::repository::transition;
use crate::telemetry::events::EventKind;

pub(super) const CANARY: &str =
    "[rollout]\nstrategy = \"canary\"\nsteps = [\"10% for 1m\", \"50% for 1m\"]\n";

/// A model with version 1 that serves, and a canary of version 2 beside it.
pub(super) fn canary() -> (House, Repository) {
    let house = House::new(&[("m", "ok")]);
    house.write("m/model.toml", &format!("{MANIFEST}{CANARY}"));
    let repository = house.loaded();
    house.write("m/2/model.pt", "two");
    repository.reload(&name("m")).unwrap();
    (house, repository)
}

/// Of a thousand requests, how many in a hundred version 2 answers.
pub(super) fn share(repository: &Repository) -> usize {
    let answers = (0..1000).map(|_| resolve(repository, "m").unwrap());
    let n_new = answers.filter(|version| *version == 2).count();
    (n_new + 5) / 10
}

pub(super) fn labeled(repository: &Repository, label: &str) -> Result<u64, ErrorCode> {
    let version = VersionSelector::Label(label.parse().unwrap());
    let model = ModelRef { name: name("m"), version };
    repository.resolve(&model).map(|handle| handle.version().0).map_err(|error| error.code)
}

#[test]
fn a_new_version_takes_over_step_by_step() {
    let (_house, repository) = canary();
    let m = name("m");
    assert_eq!(share(&repository), 10);
    assert_eq!((labeled(&repository, "stable"), labeled(&repository, "canary")), (Ok(1), Ok(2)));
    let stable = || repository.stable(&m).unwrap().version();
    assert!((0..20).all(|_| stable() == Version(1)), "tools ask the one that serves");
    let rollout = repository.rollout(&m).unwrap();
    assert_eq!((rollout.step, rollout.weight, rollout.is_manual), (0, 0.1, false));
    drop(rollout);
    repository.advance_rollout(&m, Version(2), 1).unwrap();
    assert_eq!(share(&repository), 50);
    let key = Some(RoutingKey::of(b"a user"));
    let sticky: Vec<_> =
        (0..20).map(|_| repository.resolve_for(&latest("m"), key).unwrap().version()).collect();
    assert!(sticky.windows(2).all(|pair| pair[0] == pair[1]), "a key keeps its version");
    repository.promote(&m, None, "good").unwrap();
    assert_eq!(share(&repository), 100);
    assert!(repository.rollout(&m).is_none());
    assert_eq!(labeled(&repository, "canary"), Err(ErrorCode::VersionNotFound));
    let states: Vec<_> =
        repository.describe(&m).unwrap().versions.iter().map(|it| it.version.0).collect();
    assert_eq!(states, [2], "the old version went when nothing held it any more");
}

#[test]
fn a_version_that_is_rolled_back_does_not_come_back() {
    let (house, repository) = canary();
    let m = name("m");
    repository.roll_back(&m, None, "it fails requests").unwrap();
    assert_eq!(share(&repository), 0);
    assert!(repository.rollout(&m).is_none());
    // Neither by a reload nor by a restart.
    repository.reload(&m).unwrap();
    assert_eq!(share(&repository), 0);
    repository.shutdown(Duration::from_secs(60));
    let repository = house.loaded();
    assert_eq!((share(&repository), repository.rollout(&m).is_none()), (0, true));
    let kinds: Vec<_> = house.events.since(0).iter().map(|event| event.kind).collect();
    for kind in
        [EventKind::RolloutStarted, EventKind::VersionRejected, EventKind::RolloutRolledBack]
    {
        assert!(kinds.contains(&kind), "{kind:?} of {kinds:?}");
    }
}

#[test]
fn the_old_version_serves_alone_where_the_new_one_fails_or_goes() {
    let house = House::new(&[("m", "ok")]);
    house.write("m/model.toml", &format!("{MANIFEST}{CANARY}"));
    let repository = house.loaded();
    house.write("m/2/model.pt", "invalid");
    assert!(repository.reload(&name("m")).is_err());
    assert!(repository.rollout(&name("m")).is_none(), "what cannot be loaded is not rolled out");
    assert_eq!(resolve(&repository, "m"), Ok(1));
    house.write("m/2/model.pt", "two");
    repository.reload(&name("m")).unwrap();
    assert_eq!(share(&repository), 10);
    fs::remove_dir_all(house.models().join("m/2")).unwrap();
    repository.reload(&name("m")).unwrap();
    assert_eq!(share(&repository), 0);
    assert!(repository.rollout(&name("m")).is_none());
}

#[test]
fn a_later_version_takes_the_place_of_the_new_one() {
    let (house, repository) = canary();
    house.write("m/3/model.pt", "three");
    repository.reload(&name("m")).unwrap();
    let rollout = repository.rollout(&name("m")).unwrap();
    assert_eq!((rollout.stable.version(), rollout.candidate.version()), (Version(1), Version(3)));
}

#[test]
fn an_operator_leads_a_roll_out_of_a_model_without_a_plan() {
    let house = House::new(&[("m", "ok")]);
    let repository = house.loaded();
    let m = name("m");
    repository.set_default(&m, Version(1)).unwrap();
    house.write("m/2/model.pt", "two");
    repository.reload(&m).unwrap();
    assert_eq!(resolve(&repository, "m"), Ok(1), "the pin holds");
    assert_eq!(repository.roll_out(&m, Version(1)).unwrap_err().code(), ErrorCode::Conflict);
    assert_eq!(repository.roll_out(&m, Version(9)).unwrap_err().code(), ErrorCode::VersionNotFound);
    repository.roll_out(&m, Version(2)).unwrap();
    repository.set_rollout_weight(&m, 0.3).unwrap();
    assert_eq!(share(&repository), 30);
    assert!(repository.rollout(&m).unwrap().is_manual);
    repository.promote(&m, None, "an operator promoted it").unwrap();
    assert_eq!(repository.describe(&m).unwrap().pin.map(|pin| pin.version), Some(Version(2)));
    assert_eq!(share(&repository), 100);
    assert_eq!(repository.promote(&m, None, "again").unwrap_err().code(), ErrorCode::Conflict);
}

/// A process that ends in whatever state leaves the next one with one that can be stated: the same share of the same
/// versions, or one version alone.
#[test]
fn a_restart_goes_on_where_the_process_before_ended() {
    type Change = fn(&Repository);
    let changes: [(&str, Change, usize, bool); 6] = [
        ("begun", |_| (), 10, true),
        (
            "on the second step",
            |it| it.advance_rollout(&name("m"), Version(2), 1).unwrap(),
            50,
            true,
        ),
        ("by hand", |it| it.set_rollout_weight(&name("m"), 0.2).unwrap(), 20, true),
        ("promoted", |it| it.promote(&name("m"), None, "good").unwrap(), 100, false),
        ("rolled back", |it| it.roll_back(&name("m"), None, "bad").unwrap(), 0, false),
        ("unloaded", |it| it.unload(&name("m")).unwrap(), 10, true),
    ];
    for (state, change, expected, goes_on) in changes {
        let (house, repository) = canary();
        change(&repository);
        // Not shut down: the process is killed.
        let again = house.loaded();
        assert!(share(&again) == expected, "{state}: {}", share(&again));
        assert_eq!(again.rollout(&name("m")).is_some(), goes_on, "{state}");
        assert!(again.readiness().ready, "{state}");
        drop(repository);
    }
}

#[test]
fn a_restart_without_one_of_both_serves_the_other() {
    for (broken, serves) in [("m/2/model.pt", 1), ("m/1/model.pt", 2)] {
        let (house, repository) = canary();
        drop(repository);
        house.write(broken, "invalid");
        let again = house.loaded();
        assert_eq!(resolve(&again, "m"), Ok(serves), "{broken}");
        assert!(again.rollout(&name("m")).is_none(), "{broken}");
    }
}

/// What an operator leads no rule may end, whatever happens to the folder.
#[test]
fn one_that_was_begun_by_hand_stays_the_operators() {
    for (policy, kept) in [("\"all\"", true), ("\"latest 1\"", true), ("[2]", true)] {
        let house = House::new(&[("m", "ok")]);
        house.write("m/2/model.pt", "two");
        house.write("m/model.toml", &format!("versions = {policy}\n{MANIFEST}"));
        let repository = house.loaded();
        let m = name("m");
        repository.roll_out(&m, Version(1)).unwrap();
        repository.set_rollout_weight(&m, 0.3).unwrap();
        for restarts in [false, true] {
            let repository = if restarts {
                repository.shutdown(Duration::from_secs(60));
                house.loaded()
            } else {
                house.write("m/sample.json", "1");
                transition::refresh(&repository.0, &m).unwrap();
                repository.clone()
            };
            let rollouts = crate::rollout::Rollouts::new(repository.clone());
            (0..5).for_each(|_| rollouts.look());
            let found = repository.rollout(&m);
            assert_eq!(found.is_some(), kept, "{policy}, restarted: {restarts}");
            let found = found.unwrap();
            assert_eq!((found.stable.version(), found.weight), (Version(2), 0.3));
            assert_eq!(found.plan.decider, Decider::Operator);
        }
    }
}

#[test]
fn a_lower_version_that_is_promoted_stays() {
    let house = House::new(&[("m", "ok")]);
    house.write("m/2/model.pt", "two");
    let repository = house.loaded();
    let m = name("m");
    repository.roll_out(&m, Version(1)).unwrap();
    repository.promote(&m, None, "asked to").unwrap();
    assert_eq!(resolve(&repository, "m"), Ok(1));
    transition::refresh(&repository.0, &m).unwrap();
    assert_eq!(resolve(&repository, "m"), Ok(1));
}

/// Clients ask all the while: none may be answered by a version that is on its way out.
#[test]
fn what_is_rolled_back_answers_nobody_on_its_way_out() {
    let (_house, repository) = canary();
    let m = name("m");
    repository.set_rollout_weight(&m, 0.0).unwrap();
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asks = || {
            let mut versions = std::collections::BTreeSet::new();
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                versions.insert(resolve(&repository, "m").unwrap());
            }
            versions
        };
        let asking: Vec<_> = (0..2).map(|_| scope.spawn(asks)).collect();
        repository.roll_back(&m, None, "asked to").unwrap();
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        for asked in asking {
            assert!(asked.join().unwrap().iter().all(|version| *version == 1));
        }
    });
}

#[test]
fn a_bad_version_goes_also_when_the_folder_of_the_old_one_is_gone() {
    for gone in ["m/1", "m"] {
        let (house, repository) = canary();
        fs::remove_dir_all(house.models().join(gone)).unwrap();
        repository.roll_back(&name("m"), None, "it fails requests").unwrap();
        assert_eq!(share(&repository), 0, "{gone}");
    }
}

#[test]
fn a_version_that_came_while_the_server_was_down_begins_beside_the_one_that_served() {
    let house = House::new(&[("m", "ok")]);
    house.write("m/model.toml", &format!("{MANIFEST}{CANARY}"));
    house.loaded().shutdown(Duration::from_secs(60));
    house.write("m/2/model.pt", "two");
    let repository = house.loaded();
    assert_eq!(share(&repository), 10);
    repository.promote(&name("m"), None, "good").unwrap();
    repository.shutdown(Duration::from_secs(60));
    let repository = house.loaded();
    assert_eq!((share(&repository), repository.rollout(&name("m")).is_none()), (100, true));
}

/// A canary that was superseded was never approved.
#[test]
fn going_back_leads_to_the_version_that_served_and_to_no_other() {
    for policy in ["", "versions = \"all\"\n"] {
        let house = House::new(&[("m", "ok")]);
        house.write("m/model.toml", &format!("{policy}{MANIFEST}{CANARY}"));
        let repository = house.loaded();
        let m = name("m");
        house.write("m/2/model.pt", "two");
        transition::refresh(&repository.0, &m).unwrap();
        house.write("m/3/model.pt", "three");
        transition::refresh(&repository.0, &m).unwrap();
        let rollout = repository.rollout(&m).unwrap();
        assert_eq!(
            (rollout.stable.version(), rollout.candidate.version()),
            (Version(1), Version(3))
        );
        drop(rollout);
        repository.roll_back(&m, None, "it fails requests").unwrap();
        let answers: Vec<_> = (0..100).map(|_| resolve(&repository, "m").unwrap()).collect();
        assert!(answers.iter().all(|version| *version == 1), "{policy}: {answers:?}");
    }
}

#[test]
fn who_pins_a_version_has_chosen() {
    let (house, repository) = canary();
    let m = name("m");
    repository.set_default(&m, Version(1)).unwrap();
    assert!(repository.rollout(&m).is_none());
    assert_eq!(share(&repository), 0);
    transition::refresh(&repository.0, &m).unwrap();
    repository.shutdown(Duration::from_secs(60));
    let repository = house.loaded();
    assert_eq!((share(&repository), repository.rollout(&m).is_none()), (0, true));
    let status = repository.describe(&m).unwrap();
    assert_eq!(status.pin.map(|pin| pin.version), Some(Version(1)));
}

#[test]
fn what_lies_beside_a_version_is_read_again_when_it_changes() {
    let house = House::new(&[("m", "ok")]);
    let repository = house.loaded();
    let before = repository.resolve(&latest("m")).unwrap();
    transition::refresh(&repository.0, &name("m")).unwrap();
    assert!(repository.resolve(&latest("m")).unwrap().is_same_load(&before));
    house.write("m/1/golden.jsonl", "{}");
    transition::refresh(&repository.0, &name("m")).unwrap();
    assert!(!repository.resolve(&latest("m")).unwrap().is_same_load(&before));
}

#[test]
fn the_share_of_a_step_is_that_step() {
    let (_house, repository) = canary();
    let m = name("m");
    repository.set_rollout_weight(&m, 0.5).unwrap();
    let rollout = repository.rollout(&m).unwrap();
    assert_eq!((rollout.step, rollout.weight, rollout.is_manual), (1, 0.5, true));
    drop(rollout);
    repository.set_rollout_weight(&m, 0.3).unwrap();
    assert_eq!(repository.rollout(&m).unwrap().step, 1);
}

#[test]
fn what_is_not_in_the_folder_any_more_is_not_promoted() {
    let (house, repository) = canary();
    fs::remove_dir_all(house.models().join("m/2")).unwrap();
    assert!(repository.promote(&name("m"), None, "good").is_err());
    assert_eq!(share(&repository), 10);
}

#[test]
fn a_copy_under_another_number_is_rejected_with_it() {
    for policy in ["", "versions = \"all\"\n"] {
        let house = House::new(&[("m", "ok")]);
        house.write("m/2/model.pt", "bad");
        house.write("m/3/model.pt", "bad");
        house.write("m/model.toml", &format!("{policy}{MANIFEST}"));
        let repository = house.loaded();
        repository.reject(&name("m"), Version(3), "wrong").unwrap();
        assert_eq!(resolve(&repository, "m"), Ok(1), "{policy}");
        repository.shutdown(Duration::from_secs(60));
        assert_eq!(resolve(&house.loaded(), "m"), Ok(1), "{policy}");
    }
}

/// A pipe would be waited for without end.
#[test]
fn what_is_no_plain_file_beside_a_version_is_an_error() {
    let house = House::new(&[("m", "ok")]);
    for file in ["golden.jsonl", "SHA256SUMS"] {
        let path = house.models().join("m/1").join(file);
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        let read = crate::repository::read_plain(&path, 10);
        assert!(read.is_err(), "{file}: {read:?}");
    }
    let repository = house.loaded();
    assert_eq!(reason(&repository, "m"), "version 1: SHA256SUMS: the link leads nowhere");
    let pipe = house.models().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let error = crate::repository::read_plain(&pipe, 10).unwrap_err();
    assert_eq!(error.to_string(), "not a plain file");
}
