//! Models that end their process, and have one of their own for that.

use crate::harness::{Models, Settings};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::json;
use std::fs;
use std::path::PathBuf;

fn deaths(cause: &str) -> String {
    format!(r#"sconce_model_deaths_total{{model="mortal",version="1",cause="{cause}"}}"#)
}

#[test]
fn a_crash_costs_its_own_request_and_no_other() {
    let models = Models::new().fixture("mortal").fixture("raises");
    let server = Settings::new(models).set("isolation.max_deaths=2").ready();
    assert_eq!(server.describe("mortal")["versions"][0]["isolation"], "process");
    assert_eq!(server.describe("raises")["versions"][0]["isolation"], "none");
    let notes = server.describe("mortal")["versions"][0]["notes"].to_string();
    assert!(notes.contains("it runs in a process of its own: "), "{notes}");
    let ask = |features: [f64; 4]| server.predict("mortal", &json!({"features": features}));
    let good = || {
        let answer = ask([1.0, 2.0, 3.0, 4.0]).good();
        assert_eq!(answer["prediction"], json!([2.0, 4.0, 6.0, 8.0]));
    };
    good();
    for _ in 0..3 {
        ask([1001.0, 2.0, 3.0, 4.0]).failed(500, "model_crashed");
        good();
        server.predict("raises", &json!({"features": [1, 2, 3, 4]})).good();
    }
    // Nothing ran beside it, so it is the cause, and its inputs are known from then on.
    assert_eq!(server.metric(&deaths("crashed")), 1.0);
    let killers = r#"sconce_model_killer_requests_total{model="mortal",version="1"}"#;
    assert_eq!(server.metric(killers), 3.0);
    server.wait("with too many deaths the version fails", || {
        // Never the same, which would be known.
        ask([1002.0, f64::from(std::process::id()), server.metric(killers), 4.0]).status == 503
    });
    let described = server.describe("mortal");
    assert_eq!(described["state"], "failed", "{described}");
    assert!(described.to_string().contains("isolation.max_deaths"), "{described}");
    ask([1001.0, 2.0, 3.0, 4.0]).failed(503, "model_not_ready");
    assert!(server.is_ready(), "the other model serves on");
    server.predict("raises", &json!({"features": [1, 2, 3, 4]})).good();
}

#[test]
fn a_run_that_a_value_keeps_going_ends_with_its_process() {
    let models = Models::new().fixture("stuck").head("stuck", "instances = 1");
    let server = Settings::new(models)
        .set("requests.timeout=2s")
        .set("limits.stuck_grace=300ms")
        .set("limits.max_stuck_runs=1")
        .ready();
    assert_eq!(server.describe("stuck")["versions"][0]["isolation"], "process");
    for n_hung in 1..=3 {
        // Never the same, which would be known.
        let hangs = json!({"features": [2000 + n_hung, 0, 0, 0]});
        server.predict("stuck", &hangs).failed(504, "deadline_exceeded");
        server.predict("stuck", &json!({"features": [1, 2, 3, 4]})).good();
    }
    let stuck = r#"sconce_stuck_runs_total{model="stuck",version="1"}"#;
    assert_eq!(server.metric(stuck), 0.0, "none is left to itself");
    assert!(server.is_ready());
}

/// The folders in /proc of the children of a process.
fn children_of(id: u32) -> Vec<PathBuf> {
    let parent = |entry: &fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter(|entry| parent(entry) == Some(id)).map(|it| it.path()).collect()
}

fn kill_children_of(id: u32) {
    for child in children_of(id) {
        let id = child.file_name().unwrap().to_str().unwrap().parse().unwrap();
        // One that is gone meanwhile is as good.
        let _ = kill_process(Pid::from_raw(id).unwrap(), Signal::KILL);
    }
}

#[test]
fn a_death_while_nothing_runs_is_noticed_and_a_shortage_of_descriptors_is_waited_for() {
    let server = Settings::new(Models::new().fixture("mortal")).ready();
    let good = || server.predict("mortal", &json!({"features": [1, 2, 3, 4]})).good();
    good();
    kill_children_of(server.id());
    server.wait("nobody asked", || server.metric(&deaths("out_of_memory")) == 1.0);
    assert!(server.is_ready());
    good();

    let pid = Pid::from_raw(server.id().cast_signed()).unwrap();
    let n_open = fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count();
    kill_children_of(server.id());
    server.wait("the second death", || server.metric(&deaths("out_of_memory")) == 2.0);
    // Enough for the connection of a request, and not for what a process needs.
    let maximum = getrlimit(Resource::Nofile).maximum;
    let few = Rlimit { current: u64::try_from(n_open + 1).ok(), maximum };
    let before = prlimit(Some(pid), Resource::Nofile, few).unwrap();
    std::thread::scope(|scope| {
        let asked = scope.spawn(good);
        server
            .log
            .wait(|line| line["message"].as_str().unwrap_or("").contains("cannot be started yet"));
        prlimit(Some(pid), Resource::Nofile, before).unwrap();
        assert_eq!(asked.join().unwrap()["prediction"], json!([2.0, 4.0, 6.0, 8.0]));
    });
    assert_eq!(server.describe("mortal")["state"], "ready");
}

#[test]
fn without_a_process_of_its_own_such_a_file_is_refused() {
    let models = Models::new().fixture("mortal");
    let server = Settings::new(models).set("isolation.none=[\"mor*\"]").start();
    server.wait_settled(&["mortal"]);
    let reason = server.describe("mortal")["versions"][0]["reason"].to_string();
    assert!(
        reason.contains("aten::_reshape_alias") && reason.contains("trusted_models"),
        "{reason}"
    );
}

#[test]
fn answers_are_the_same_in_a_process_of_its_own() {
    let row = json!({"features": [1, 2, 3, 4]});
    let asked = [
        ("tabular", json!({"features": vec![0.5; 20]})),
        ("multi_output", row.clone()),
        ("stateful", row),
        ("attention", json!({"inputs": {"input_ids": [[5, 6, 7]], "attention_mask": [[1, 1, 1]]}})),
        // Long enough to lie in memory that both processes map.
        ("variable", json!({"instances": [vec![0.25; 50_000]]})),
    ];
    let names = asked.each_ref().map(|(name, _)| *name);
    let models = || names.iter().fold(Models::new(), |models, name| models.fixture(name));
    let here = Settings::new(models()).set("isolation.mode=none").ready();
    let apart = Settings::new(models()).set("isolation.mode=process").ready();
    for (name, body) in &asked {
        assert_eq!(apart.describe(name)["versions"][0]["isolation"], "process");
        let answers = [&here, &apart].map(|server| {
            let mut answer = server.predict(name, body).good();
            answer["request_id"].take();
            answer
        });
        assert_eq!(answers[0], answers[1], "{name}");
    }
    let children = children_of(apart.id());
    assert!(children.len() >= names.len(), "{children:?}");
    apart.signal(Signal::KILL);
    apart.wait_exit();
    here.wait("a server that is killed leaves nothing behind", || {
        children.iter().all(|child| !child.exists())
    });
}
