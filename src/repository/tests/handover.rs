//! Who answers when a roll-out has been led, changed or ended, by whatever order, and after a restart.

use super::rollouts::{CANARY, canary, labeled, share};
use super::*;
use crate::repository::manifest::Decider;
use crate::repository::transition;
use crate::telemetry::events::EventKind;

const SHADOW: &str = "[rollout]\nstrategy = \"shadow\"\nsteps = [\"10% for 1m\", \"50% for 1m\"]\n";

#[test]
fn what_was_promoted_answers_after_a_restart_whatever_label_the_old_version_bears() {
    let (house, repository) = canary();
    let m = name("m");
    repository.set_label(&m, &"prod".parse().unwrap(), Version(1)).unwrap();
    repository.promote(&m, None, "good").unwrap();
    assert_eq!(share(&repository), 100);
    repository.shutdown(Duration::from_secs(60));
    let repository = house.loaded();
    assert_eq!((share(&repository), labeled(&repository, "prod")), (100, Ok(1)));
    repository.unload(&m).unwrap();
    repository.reload(&m).unwrap();
    assert_eq!((share(&repository), repository.rollout(&m).is_none()), (100, true));
}

#[test]
fn a_roll_out_whose_plan_is_taken_away_is_the_operators() {
    let (house, repository) = canary();
    house.write("m/model.toml", MANIFEST);
    repository.reload(&name("m")).unwrap();
    let rollouts = crate::rollout::Rollouts::new(repository.clone());
    (0..9).for_each(|_| rollouts.look());
    assert_eq!(share(&repository), 10, "what nobody has proved must not serve");
    let plan = repository.rollout(&name("m")).unwrap().plan;
    assert_eq!(plan.decider, Decider::Operator);
}

#[test]
fn a_shadow_answers_nobody_until_it_is_promoted() {
    let house = House::new(&[("m", "ok")]);
    house.write("m/model.toml", &format!("{MANIFEST}{SHADOW}"));
    let repository = house.loaded();
    let m = name("m");
    house.write("m/2/model.pt", "two");
    repository.reload(&m).unwrap();
    let error = repository.set_rollout_weight(&m, 0.3).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Conflict);
    assert!(error.to_string().contains("copies of 10 %, 50 % of the requests"), "{error}");
    repository.set_rollout_weight(&m, 0.5).unwrap();
    let rollout = repository.rollout(&m).unwrap();
    assert_eq!((rollout.step, rollout.weight, rollout.share()), (1, 0.0, 0.5));
    assert_eq!(share(&repository), 0);
    drop(rollout);
    repository.promote(&m, None, "good").unwrap();
    assert_eq!(share(&repository), 100);
}

#[test]
fn a_version_that_becomes_the_highest_begins_a_roll_out_although_it_bears_a_label() {
    let house = House::new(&[("m", "ok")]);
    house.write("m/model.toml", &format!("{MANIFEST}{CANARY}"));
    let repository = house.loaded();
    let m = name("m");
    repository.set_default(&m, Version(1)).unwrap();
    house.write("m/2/model.pt", "two");
    repository.set_label(&m, &"next".parse().unwrap(), Version(2)).unwrap();
    assert_eq!((share(&repository), labeled(&repository, "next")), (0, Ok(2)));
    repository.clear_default(&m).unwrap();
    assert_eq!(share(&repository), 10);
}

#[test]
fn another_file_in_the_new_version_s_place_begins_anew() {
    let (house, repository) = canary();
    let m = name("m");
    repository.advance_rollout(&m, Version(2), 1).unwrap();
    assert_eq!(share(&repository), 50);
    repository.reload(&m).unwrap();
    assert_eq!(share(&repository), 50, "the same file is where it was");
    house.write("m/2/model.pt", "another two");
    repository.reload(&m).unwrap();
    assert_eq!((share(&repository), repository.rollout(&m).unwrap().step), (10, 0));
}

/// What operators and rules were told, in short.
pub(super) fn kinds(house: &House) -> Vec<EventKind> {
    house.events.since(0).iter().map(|event| event.kind).collect()
}

#[test]
fn the_same_file_takes_over_at_once_and_is_never_rejected_away_from_under_a_model() {
    let house = House::new(&[("m", "ok")]);
    house.write("m/model.toml", &format!("{MANIFEST}{CANARY}"));
    let repository = house.loaded();
    let m = name("m");
    house.write("m/2/model.pt", "ok");
    repository.reload(&m).unwrap();
    assert_eq!((share(&repository), repository.rollout(&m).is_none()), (100, true));
    let error = repository.reject(&m, Version(2), "no").unwrap_err().to_string();
    assert!(error.contains("nothing can take its place"), "{error}");
    assert_eq!(resolve(&repository, "m"), Ok(2));
    // One that waits: beside a pin, or because model.toml chooses another.
    for manifest in [format!("{MANIFEST}{CANARY}"), format!("versions = [1]\n{MANIFEST}")] {
        house.write("m/model.toml", &manifest);
        repository.set_default(&m, Version(1)).unwrap();
        assert!(repository.reject(&m, Version(2), "no").is_err());
        assert_eq!(resolve(&repository, "m"), Ok(1));
        repository.clear_default(&m).unwrap();
    }
    let error = repository.roll_out(&m, Version(2)).unwrap_err();
    assert!(error.to_string().contains("the same file as version 1"), "{error}");
}

#[test]
fn what_was_promoted_answers_whatever_else_lies_in_the_folder() {
    let versions = ["", "versions = \"all\"\n", "versions = [1]\n"];
    for text in versions {
        let house = House::new(&[("m", "ok")]);
        house.write("m/model.toml", &format!("{text}{MANIFEST}{CANARY}"));
        let repository = house.loaded();
        let m = name("m");
        for (version, file) in [(2, "two"), (3, "three")] {
            house.write(&format!("m/{version}/model.pt"), file);
        }
        let _ = repository.reload(&m);
        repository.roll_out(&m, Version(2)).unwrap();
        // What comes meanwhile does not take an operator's roll-out over.
        house.write("m/4/model.pt", "four");
        let _ = repository.reload(&m);
        assert_eq!(repository.rollout(&m).unwrap().candidate.version(), Version(2), "{text:?}");
        repository.promote(&m, None, "good").unwrap();
        assert_eq!(share(&repository), 100, "{text:?}");
        repository.reload(&m).unwrap();
        repository.shutdown(Duration::from_secs(60));
        assert_eq!(resolve(&house.loaded(), "m"), Ok(2), "{text:?}");
    }
}

#[test]
fn what_was_judged_is_what_is_moved() {
    let (house, repository) = canary();
    let m = name("m");
    house.write("m/3/model.pt", "three");
    repository.reload(&m).unwrap();
    for moved in [
        repository.promote(&m, Some(Version(2)), "good"),
        repository.roll_back(&m, Some(Version(2)), "bad"),
    ] {
        assert_eq!(moved.unwrap_err().to_string(), "no roll-out of model \"m\" is under way");
    }
    assert_eq!(repository.rollout(&m).unwrap().candidate.version(), Version(3));
    let rejected = repository.describe(&m).unwrap().rejected;
    let reason = "version 3 took its place in the roll-out before it was promoted";
    let all: Vec<_> = rejected.iter().map(|it| (it.version, &*it.reason)).collect();
    assert_eq!(all, [(Version(2), reason)], "it does not come back when version 3 goes");
}

#[test]
fn a_promotion_is_one_whatever_is_wrong_with_others() {
    let (house, repository) = canary();
    let m = name("m");
    house.write("m/3/model.pt", "invalid");
    assert!(repository.reload(&m).is_err());
    repository.promote(&m, None, "good").unwrap();
    assert_eq!((share(&repository), reason(&repository, "m").is_empty()), (100, false));
}

#[test]
fn a_roll_out_follows_what_model_toml_says_of_it() {
    let (house, repository) = canary();
    let m = name("m");
    repository.advance_rollout(&m, Version(2), 1).unwrap();
    let follow = |rollout: &str| {
        house.write("m/model.toml", &format!("{MANIFEST}[rollout]\n{rollout}"));
        repository.reload(&m).unwrap();
        let rollout = repository.rollout(&m).unwrap();
        (rollout.step, share(&repository), (rollout.share() * 100.0).round() as usize)
    };
    assert_eq!(follow("strategy = \"canary\"\nsteps = [\"1% for 1m\", \"2% for 1m\"]"), (1, 2, 2));
    assert_eq!(follow("strategy = \"canary\"\nsteps = [\"30% for 1m\"]"), (0, 30, 30));
    assert_eq!(follow("strategy = \"shadow\"\nsteps = [\"70% for 1m\"]"), (0, 0, 70));
    assert_eq!(follow("strategy = \"canary\"\nsteps = [\"40% for 1m\"]"), (0, 40, 40));
    repository.set_rollout_weight(&m, 0.25).unwrap();
    assert_eq!(follow("strategy = \"canary\"\nsteps = [\"60% for 1m\"]").1, 25, "an operator's");
}

#[test]
fn an_unloaded_model_stays_unloaded_when_its_versions_are_judged() {
    let house = House::new(&[("m", "ok")]);
    house.write("m/2/model.pt", "two");
    let repository = house.loaded();
    let m = name("m");
    repository.unload(&m).unwrap();
    repository.reject(&m, Version(2), "no").unwrap();
    assert_eq!(resolve(&repository, "m"), Err(ErrorCode::ModelNotReady));
    repository.accept(&m, Version(2)).unwrap();
    assert_eq!(resolve(&repository, "m"), Err(ErrorCode::ModelNotReady));
    repository.reject(&m, Version(2), "no").unwrap();
    repository.reload(&m).unwrap();
    assert_eq!(resolve(&repository, "m"), Ok(1));
}

#[test]
fn going_back_does_not_wait_for_a_load() {
    let (house, repository) = canary();
    let m = name("m");
    let (reached, at_gate) = mpsc::channel();
    let (open, gate) = mpsc::channel();
    *house.serving.gate.lock().unwrap() = Some((reached, gate));
    house.write("m/3/model.pt", "wait");
    let loading = repository.clone();
    let loads = std::thread::spawn(move || transition::refresh(&loading.0, &name("m")));
    receive("the load", &at_gate);
    assert_eq!(repository.unload(&m).unwrap_err().code(), ErrorCode::Conflict, "it goes on");
    repository.set_rollout_weight(&m, 0.0).unwrap();
    assert_eq!(share(&repository), 0);
    repository.set_rollout_weight(&m, 0.3).unwrap();
    assert_eq!(share(&repository), 30);
    repository.roll_back(&m, Some(Version(2)), "it fails requests").unwrap();
    assert_eq!(share(&repository), 0);
    assert_eq!(repository.roll_back(&m, None, "again").unwrap_err().code(), ErrorCode::Conflict);
    open.send(()).unwrap();
    loads.join().unwrap().unwrap();
    let rollout = repository.rollout(&m).unwrap();
    assert_eq!((rollout.stable.version(), rollout.candidate.version()), (Version(1), Version(3)));
    let rejected = repository.describe(&m).unwrap().rejected;
    assert_eq!(rejected.iter().map(|it| it.version.0).collect::<Vec<_>>(), [2]);
    drop(rollout);
    repository.shutdown(Duration::from_secs(60));
    assert!(!kinds(&house).contains(&EventKind::RolloutPromoted));
}

#[test]
fn what_served_is_remembered_after_every_order() {
    let house = House::new(&[("m", "ok")]);
    house.write("m/model.toml", &format!("versions = \"all\"\n{MANIFEST}{CANARY}"));
    let repository = house.loaded();
    let m = name("m");
    repository.set_default(&m, Version(1)).unwrap();
    house.write("m/2/model.pt", "two");
    repository.reload(&m).unwrap();
    repository.clear_default(&m).unwrap();
    assert_eq!(
        share(&repository),
        10,
        "what is the highest by then still has to show what it does"
    );
    repository.promote(&m, None, "good").unwrap();
    repository.shutdown(Duration::from_secs(60));
    assert_eq!(share(&house.loaded()), 100);
    // A plan that is written while the server is away finds what served last.
    house.write("m/model.toml", MANIFEST);
    house.loaded().shutdown(Duration::from_secs(60));
    house.write("m/3/model.pt", "three");
    house.loaded().shutdown(Duration::from_secs(60));
    house.write("m/model.toml", &format!("{MANIFEST}{CANARY}"));
    let repository = house.loaded();
    assert_eq!((resolve(&repository, "m"), repository.rollout(&m).is_none()), (Ok(3), true));
}

#[test]
fn what_is_rejected_while_it_is_loaded_anew_does_not_come_up() {
    let house = House::new(&[("m", "ok")]);
    house.write("m/model.toml", &format!("{MANIFEST}{CANARY}"));
    let repository = house.loaded();
    let m = name("m");
    house.write("m/2/model.pt", "wait");
    repository.reload(&m).unwrap();
    assert_eq!(share(&repository), 10);
    let (reached, at_gate) = mpsc::channel();
    let (open, gate) = mpsc::channel();
    *house.serving.gate.lock().unwrap() = Some((reached, gate));
    // Only the new one is loaded anew.
    house.write("m/2/beside.json", "{}");
    let loading = repository.clone();
    let loads = std::thread::spawn(move || transition::refresh(&loading.0, &name("m")));
    receive("the load", &at_gate);
    repository.roll_back(&m, None, "it fails requests").unwrap();
    open.send(()).unwrap();
    let _ = loads.join().unwrap();
    assert_eq!((share(&repository), repository.rollout(&m).is_none()), (0, true));
    let states = repository.describe(&m).unwrap().versions;
    let second = states.iter().find(|it| it.version == Version(2));
    assert!(second.is_none_or(|it| it.state != VersionState::Ready), "{second:?}");
    assert_eq!(reason(&repository, "m"), "", "what was wanted so is no problem");
}
