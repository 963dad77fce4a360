//! Changes of the folders, noticed by looking.

use super::*;
use crate::repository::watch::Watcher;
use crate::telemetry::events::EventKind;
use crate::testing::until;

/// A repository and its watcher, whose looks are the test's.
struct Watched {
    house: House,
    repository: Repository,
    watcher: Watcher,
}

impl Watched {
    fn new(models: &[(&str, &str)]) -> Self {
        let house = House::new(models);
        let repository = house.open();
        let mut watcher = Watcher::new(&repository.0).unwrap();
        watcher.waits = true;
        let _ = repository.check();
        Self { house, repository, watcher }
    }

    /// Looks often enough for what has changed to be acted on.
    fn look(&mut self) {
        for _ in 0..2 {
            self.watcher.look_once(&self.repository.0);
        }
    }

    fn kinds(&self) -> Vec<EventKind> {
        self.repository.0.events.since(0).iter().map(|event| event.kind).collect()
    }
}

#[test]
fn a_new_version_is_loaded_beside_and_what_is_unchanged_is_not_loaded_again() {
    let mut it = Watched::new(&[("m", "ok"), ("n", "ok")]);
    it.look();
    assert_eq!(it.house.serving.loads(), 2, "what was there at the start is known");
    it.house.write("m/2/model.pt", "two");
    it.watcher.look_once(&it.repository.0);
    assert_eq!(resolve(&it.repository, "m"), Ok(1), "a copy must be waited for");
    it.house.write("m/2/model.pt", "three");
    it.watcher.look_once(&it.repository.0);
    assert_eq!(resolve(&it.repository, "m"), Ok(1), "it has not been the same twice");
    it.look();
    assert_eq!(resolve(&it.repository, "m"), Ok(2));
    it.look();
    assert_eq!(*it.house.serving.loads.lock().unwrap(), ["ok", "ok", "three"]);
}

#[test]
fn a_version_that_fails_leaves_the_old_one_and_is_tried_when_it_changes() {
    let mut it = Watched::new(&[("m", "ok")]);
    it.house.write("m/2/model.pt", "invalid");
    it.look();
    it.look();
    assert_eq!(resolve(&it.repository, "m"), Ok(1));
    assert_eq!(reason(&it.repository, "m"), "version 2: m/2/model.pt: invalid");
    let failed = it.kinds().into_iter().filter(|kind| *kind == EventKind::VersionFailed).count();
    assert_eq!(failed, 1, "the same failure must not be repeated");
    it.house.write("m/2/model.pt", "two");
    it.look();
    assert_eq!(resolve(&it.repository, "m"), Ok(2));
    assert_eq!(reason(&it.repository, "m"), "", "a failure that is over is not told");
}

#[test]
fn models_come_and_go() {
    let mut it = Watched::new(&[("m", "ok")]);
    it.house.write("late/1/model.pt", "ok");
    it.house.write("late/model.toml", MANIFEST);
    it.look();
    assert_eq!(resolve(&it.repository, "late"), Ok(1));
    fs::rename(it.house.models().join("m"), it.house.root.path().join("away")).unwrap();
    it.look();
    assert_eq!(resolve(&it.repository, "m"), Ok(1), "what is loaded serves on");
    assert!(reason(&it.repository, "m").starts_with("the model's folder is gone"));
    fs::rename(it.house.root.path().join("away"), it.house.models().join("m")).unwrap();
    it.look();
    assert_eq!(reason(&it.repository, "m"), "");
    assert_eq!(it.house.serving.loads(), 2, "what came back unchanged needs no load");
}

#[test]
fn a_folder_that_could_not_be_read_when_asked_for_is_no_problem_once_it_can_be() {
    let mut it = Watched::new(&[("m", "ok"), ("n", "ok")]);
    let away = it.house.root.path().join("away");
    fs::rename(it.house.models().join("m"), &away).unwrap();
    assert!(it.repository.reload(&name("m")).is_err());
    assert!(reason(&it.repository, "m").starts_with("the model's folder is gone"));
    fs::rename(&away, it.house.models().join("m")).unwrap();
    it.look();
    assert_eq!(reason(&it.repository, "m"), "");
    assert_eq!(resolve(&it.repository, "m"), Ok(1));
    // What was let go and has no folder any more is no model, whichever came first.
    for (model, is_gone_first) in [("m", true), ("n", false)] {
        let folder = it.house.models().join(model);
        if is_gone_first {
            fs::remove_dir_all(&folder).unwrap();
        }
        it.repository.unload(&name(model)).unwrap();
        if !is_gone_first {
            assert!(it.repository.describe(&name(model)).is_some());
            fs::remove_dir_all(&folder).unwrap();
        }
        it.look();
        assert!(it.repository.describe(&name(model)).is_none(), "{model}");
    }
}

#[test]
fn what_an_operator_decided_is_not_undone() {
    let mut it = Watched::new(&[("m", "ok"), ("n", "ok"), ("o", "ok")]);
    it.repository.set_default(&name("m"), Version(1)).unwrap();
    it.repository.unload(&name("n")).unwrap();
    it.house.write("o/2/model.pt", "two");
    it.look();
    it.repository.reject(&name("o"), Version(2), "too slow").unwrap();
    assert_eq!(resolve(&it.repository, "o"), Ok(1));
    for model in ["m", "n"] {
        it.house.write(&format!("{model}/2/model.pt"), "two");
    }
    // The same file under another number.
    it.house.write("o/3/model.pt", "two");
    it.look();
    assert_eq!(resolve(&it.repository, "m"), Ok(1));
    assert_eq!(resolve(&it.repository, "n"), Err(ErrorCode::ModelNotReady));
    assert_eq!(resolve(&it.repository, "o"), Ok(1));
    let status = it.repository.describe(&name("o")).unwrap();
    let third = status.versions.iter().find(|it| it.version == Version(3)).unwrap();
    let why = "it is the file of version 2, which was rejected: too slow";
    assert_eq!(third.failure.as_ref().unwrap().details(), why);
    assert_eq!(reason(&it.repository, "o"), "", "what was wanted so is no problem");
    it.repository.shutdown(Duration::from_secs(60));
    let again = it.house.loaded();
    assert_eq!((resolve(&again, "m"), resolve(&again, "o")), (Ok(1), Ok(1)));
    again.accept(&name("o"), Version(2)).unwrap();
    assert_eq!(resolve(&again, "o"), Ok(3));
}

#[test]
fn a_version_that_nothing_can_replace_is_not_rejected() {
    let house = House::new(&[("m", "ok")]);
    let repository = house.loaded();
    let error = repository.reject(&name("m"), Version(1), "no").unwrap_err().to_string();
    assert!(error.contains("version 1 goes on, nothing can take its place"), "{error}");
    assert_eq!(resolve(&repository, "m"), Ok(1));
    assert!(repository.describe(&name("m")).unwrap().rejected.is_empty());
}

#[test]
fn a_label_holds_its_version_and_survives() {
    let house = House::new(&[("m", "ok")]);
    let repository = house.loaded();
    let (m, prod) = (name("m"), "prod".parse().unwrap());
    repository.set_label(&m, &prod, Version(1)).unwrap();
    house.write("m/2/model.pt", "two");
    repository.reload(&m).unwrap();
    let labeled = |repository: &Repository, label: &str| {
        let version = VersionSelector::Label(label.parse().unwrap());
        let model = ModelRef { name: name("m"), version };
        repository.resolve(&model).map(|handle| handle.version().0).map_err(|error| error.code)
    };
    assert_eq!((labeled(&repository, "prod"), labeled(&repository, "stable")), (Ok(1), Ok(2)));
    assert_eq!(labeled(&repository, "canary"), Err(ErrorCode::VersionNotFound));
    repository.shutdown(Duration::from_secs(60));
    let repository = house.loaded();
    assert_eq!((labeled(&repository, "prod"), resolve(&repository, "m")), (Ok(1), Ok(2)));
    let stable = "stable".parse().unwrap();
    let error = repository.set_label(&m, &stable, Version(1)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Conflict);
    repository.remove_label(&m, &prod).unwrap();
    assert_eq!(repository.remove_label(&m, &prod).unwrap_err().code(), ErrorCode::VersionNotFound);
    repository.reload(&m).unwrap();
    assert_eq!(labeled(&repository, "prod"), Err(ErrorCode::VersionNotFound));
}

#[test]
fn sums_links_and_memory_are_looked_at_before_anything_runs() {
    let house = House::new(&[("m", "ok"), ("n", "ok"), ("o", "ok")]);
    house.write("m/1/SHA256SUMS", &format!("{}  model.pt\n", "0".repeat(64)));
    house.write("../outside.pt", "ok");
    fs::remove_file(house.models().join("n/1/model.pt")).unwrap();
    std::os::unix::fs::symlink("../../../outside.pt", house.models().join("n/1/model.pt")).unwrap();
    let mut parts = house.parts();
    parts.options.free_memory = FreeMemory::new(|| Some(1));
    let repository = Repository::open(parts).unwrap();
    let _ = repository.check();
    assert!(
        reason(&repository, "m").contains("SHA256SUMS says 0000"),
        "{}",
        reason(&repository, "m")
    );
    assert!(
        reason(&repository, "n").contains("a link leads out of"),
        "{}",
        reason(&repository, "n")
    );
    assert!(reason(&repository, "o").contains("1 are free"), "{}", reason(&repository, "o"));
    assert_eq!(house.serving.loads(), 0);
}

#[test]
fn a_good_lower_version_serves_where_the_highest_is_broken() {
    let house = House::new(&[("m", "ok")]);
    house.write("m/2/model.pt", "crash");
    let repository = house.loaded();
    assert_eq!(resolve(&repository, "m"), Ok(1));
    assert!(repository.readiness().ready);
    assert!(reason(&repository, "m").starts_with("version 2: "));
}

#[test]
fn a_failure_is_not_tried_again_before_its_files_change() {
    let mut it = Watched::new(&[("m", "ok")]);
    for version in [2, 3, 4] {
        it.house.write(&format!("m/{version}/model.pt"), "invalid");
        it.look();
    }
    let failed = |it: &Watched| {
        it.kinds().into_iter().filter(|kind| *kind == EventKind::VersionFailed).count()
    };
    assert_eq!(failed(&it), 3, "each is told once");
    let problem = reason(&it.repository, "m");
    assert_eq!(problem.lines().count(), 3, "and each is still a problem: {problem}");
    it.house.write("m/3/model.pt", "three");
    it.look();
    assert_eq!((resolve(&it.repository, "m"), failed(&it)), (Ok(3), 3));
    // On order everything is tried.
    assert!(it.repository.reload(&name("m")).is_err());
    assert_eq!(failed(&it), 4);
}

#[test]
fn a_log_in_a_folder_is_not_looked_at() {
    let mut it = Watched::new(&[("m", "ok")]);
    it.house.write("m/2/model.pt", "two");
    for line in 0..3 {
        it.house.write("m/train.log", &line.to_string());
        it.house.write("m/1/run.log.1", &line.to_string());
        it.watcher.look_once(&it.repository.0);
    }
    assert_eq!(resolve(&it.repository, "m"), Ok(2));
    it.house.write("m/train.log", "more");
    it.look();
    let changed = it.kinds().into_iter().filter(|kind| *kind == EventKind::FilesChanged).count();
    assert_eq!(changed, 1);
}

#[test]
fn a_model_that_takes_long_does_not_keep_others_waiting() {
    let mut it = Watched::new(&[("m", "ok"), ("n", "ok")]);
    let (reached, at_gate) = mpsc::channel();
    let (open, gate) = mpsc::channel();
    *it.house.serving.gate.lock().unwrap() = Some((reached, gate));
    it.watcher.waits = false;
    it.house.write("m/2/model.pt", "wait");
    it.look();
    receive("the load", &at_gate);
    it.watcher.waits = true;
    it.house.write("n/2/model.pt", "two");
    it.look();
    assert_eq!((resolve(&it.repository, "m"), resolve(&it.repository, "n")), (Ok(1), Ok(2)));
    open.send(()).unwrap();
    until("the version is there", || resolve(&it.repository, "m") == Ok(2));
    // What it came to is taken up.
    it.look();
    it.look();
    assert_eq!(it.house.serving.loads(), 4, "nothing is loaded again");
}
