//! Every short sequence of what can happen to a model: once a version was ready, one is ready after each step, while the
//! folder holds a good one and no operator took it away.

use super::*;
use crate::repository::manifest::Optimize;
use crate::repository::transition;
use crate::repository::{Defaults, Live, LiveOptions};

const CANARY: &str = "[rollout]\nstrategy = \"canary\"\nsteps = [\"10% for 1m\", \"50% for 1m\"]\n";

/// What can happen. None of these lets the model go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// A file of this version is there that can be served, whatever was there before.
    Good(u64),
    /// A file of this version is there that cannot.
    Bad(u64),
    /// The folder of this version is gone.
    Gone(u64),
    /// The folder is looked at, or an operator asks for that.
    Refresh,
    /// The same, with what serves loaded anew.
    Reload,
    /// The version that answers by default is rejected.
    Reject,
    /// No version is rejected any more.
    Accept,
    /// Version 1 is pinned.
    Pin,
    /// Half of the requests go to the new version.
    Weight,
    Promote,
    RollBack,
    Restart,
}

const STEPS: &[Step] = &[
    Step::Good(2),
    Step::Bad(2),
    Step::Gone(1),
    Step::Gone(2),
    Step::Bad(1),
    Step::Refresh,
    Step::Reload,
    Step::Reject,
    Step::Accept,
    Step::Pin,
    Step::Weight,
    Step::Promote,
    Step::RollBack,
    Step::Restart,
];

struct Story {
    house: House,
    repository: Repository,
    steps: Vec<Step>,
}

impl Story {
    /// Version 1 serves. It is not known yet where version 2 is there.
    fn new(manifest: &str, has_second: bool) -> Self {
        let house = House::new(&[("m", "ok")]);
        house.write("m/model.toml", manifest);
        let repository = open(&house);
        if has_second {
            house.write("m/2/model.pt", "two");
            let _ = transition::refresh(&repository.0, &name("m"));
        }
        Self { house, repository, steps: Vec::new() }
    }

    fn take(&mut self, step: Step) {
        self.steps.push(step);
        let m = name("m");
        let was_ready = resolve(&self.repository, "m").is_ok();
        // Orders that do not apply are refused, and change nothing.
        match step {
            Step::Good(version) => self.write(version, if version == 1 { "ok" } else { "two" }),
            Step::Bad(version) => self.write(version, "invalid"),
            Step::Gone(version) => drop(fs::remove_dir_all(self.folder(version))),
            Step::Refresh => drop(transition::refresh(&self.repository.0, &m)),
            Step::Reload => drop(self.repository.reload(&m)),
            Step::Reject => {
                if let Ok(version) = resolve(&self.repository, "m") {
                    drop(self.repository.reject(&m, Version(version), "asked to"));
                }
            }
            Step::Accept => {
                for version in [1, 2] {
                    drop(self.repository.accept(&m, Version(version)));
                }
            }
            Step::Pin => drop(self.repository.set_default(&m, Version(1))),
            Step::Weight => drop(self.repository.set_rollout_weight(&m, 0.5)),
            Step::Promote => drop(self.repository.promote(&m, None, "asked to")),
            Step::RollBack => drop(self.repository.roll_back(&m, None, "asked to")),
            Step::Restart => {
                self.repository.shutdown(Duration::ZERO);
                self.repository = open(&self.house);
            }
        }
        let must_be_ready = match step {
            Step::Restart => self.holds_a_good_one(),
            _ => was_ready,
        };
        let answered: Vec<_> = (0..8).map(|_| resolve(&self.repository, "m")).collect();
        if must_be_ready {
            let steps = &self.steps;
            let status = self.repository.describe(&m);
            assert!(answered.iter().all(Result::is_ok), "{steps:?}: {answered:?}, {status:?}");
        }
    }

    /// Whether the folder holds a version that can be served and was not rejected.
    fn holds_a_good_one(&self) -> bool {
        let rejected = self.repository.describe(&name("m")).map(|it| it.rejected);
        let rejected = rejected.unwrap_or_default();
        [1, 2].into_iter().any(|version| {
            let file = self.folder(version).join("model.pt");
            let text = fs::read_to_string(&file).unwrap_or_default();
            let digest = || crate::repository::file_digest(&file).unwrap();
            ["ok", "two"].contains(&&*text) && !rejected.iter().any(|it| it.digest == digest())
        })
    }

    fn folder(&self, version: u64) -> std::path::PathBuf {
        self.house.models().join(format!("m/{version}"))
    }

    fn write(&self, version: u64, text: &str) {
        self.house.write(&format!("m/{version}/model.pt"), text);
    }
}

fn open(house: &House) -> Repository {
    let mut parts = house.parts();
    // How fast a model is does not matter here.
    let defaults = Defaults { optimize: Optimize::Off, ..Defaults::default() };
    parts.options.live = Live::new(LiveOptions { defaults, ..LiveOptions::default() });
    let repository = Repository::open(parts).unwrap();
    let _ = repository.check();
    repository
}

/// Every sequence of so many steps, with a replacement and with a roll-out.
fn check(length: u32) {
    let canary = format!("{MANIFEST}{CANARY}");
    let n = STEPS.len();
    for (manifest, has_second) in [(MANIFEST, false), (&*canary, true)] {
        for number in 0..n.pow(length) {
            let mut story = Story::new(manifest, has_second);
            (0..length).for_each(|place| story.take(STEPS[number / n.pow(place) % n]));
        }
    }
}

#[test]
fn no_two_steps_leave_a_moment_without_a_version() {
    check(2);
}

#[test]
#[ignore = "minutes; cargo test --no-default-features sequences -- --ignored"]
fn no_three_steps_leave_a_moment_without_a_version() {
    check(3);
}
