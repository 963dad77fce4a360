//! Tests of the room as a whole: the page, the table and the text agree.

use super::*;
use crate::capture::{Capture, CaptureOptions, FileOptions, Redaction};
use crate::engine::fake::{FakeLoader, FakeModel};
use crate::inference::{Batching, Contract, ModelSpec, Version};
use crate::quality::Quality;
use crate::quality::feedback::{Feedback, FeedbackOptions};
use crate::repository::{ModelHandle, Repository, RepositoryOptions, RepositoryParts, Verifier};
use crate::rollout::Rollouts;
use crate::scheduler::{BatchLimits, Job, Permits, Scheduler, SchedulerOptions, Warmup, Watch};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PAGE: &str = include_str!("../../docs/metrics.md");

/// Beside a model, for the series of what is watched.
const REFERENCE: &str = r#"{"model_sha256": "", "rows": 200, "labels": {"a": 200}, "evaluation": {"accuracy": 1}, "features": [
    {"name": "x", "input": "x", "of": 0, "edges": [1.0], "counts": [100, 99], "missing": 1, "min": 0.0, "max": 2.0}]}"#;

/// Metrics with one model, every reading and one HTTP response: all families have a series.
fn full() -> (Metrics, Arc<ModelMetrics>) {
    let metrics = Metrics::new(MetricsOptions {
        build: BuildInfo { version: "1.2.3".to_owned(), libtorch: "2.11.0".to_owned() },
        routes: vec!["/predict/{model}", "/metrics"],
        codes: vec!["invalid_input", "client_closed"],
        batching: vec!["safe", "off"],
    });
    let listener = "main";
    let readings: [(&'static Family, &[&'static str]); 16] = [
        (&families::READY, &[]),
        (&families::SANDBOX_LAYER, &["landlock"]),
        (&families::DRAINING, &[]),
        (&families::INFLIGHT_BYTES, &[]),
        (&families::INFLIGHT_BYTES_LIMIT, &[]),
        (&families::LOG_LINES_DROPPED, &[]),
        (&families::STORE_SYNCS, &["failed"]),
        (&families::STORE_DOWNLOADED_BYTES, &[]),
        (&families::STORE_LAST_SUCCESS, &[]),
        (&families::HTTP_CONNECTIONS, &[listener]),
        (&families::HTTP_ACCEPTED, &[listener]),
        (&families::HTTP_CLOSED, &[listener, "idle"]),
        (&families::HTTP_CLOSED, &[listener, "head_timeout"]),
        (&families::HTTP_STREAMS_RESET, &[listener]),
        (&families::HTTP_CAPACITY_WAITS, &[listener]),
        (&families::HTTP_ACCEPT_ERRORS, &[listener]),
    ];
    for (family, labels) in readings {
        metrics.read_at_scrape(family, labels, || 7);
    }
    metrics.http().record(metrics.http().route("/predict/{model}"), "POST", 200);
    metrics.register(Arc::new(events::Events::new()));
    let model = metrics.model("digits", "1");
    (metrics, model)
}

/// All who export something of versions that they have looked at.
#[derive(Debug)]
struct Watchers(Quality, Feedback);

impl Verifier for Watchers {
    fn verify(&self, candidate: &ModelHandle, folder: &Path) -> Result<(), String> {
        self.0.verify(candidate, folder)?;
        self.1.verify(candidate, folder)
    }
}

/// The room that counts failures of loads, with a roll-out of a model under way, and who leads it.
fn repository(metrics: &Metrics) -> Repository {
    let folder = tempfile::tempdir().unwrap();
    for version in ["1", "2"] {
        fs::create_dir_all(folder.path().join("m").join(version)).unwrap();
        fs::write(folder.path().join("m").join(version).join("model.pt"), version).unwrap();
    }
    let tensor = "name = \"x\"\ndatatype = \"FP32\"\nshape = [-1, 1]\n";
    let manifest =
        format!("[[inputs]]\n{tensor}[[outputs]]\n{tensor}[rollout]\nstrategy = \"shadow\"");
    fs::write(folder.path().join("m/model.toml"), &manifest).unwrap();
    fs::write(folder.path().join("m/reference.json"), REFERENCE).unwrap();
    // One with so many features that their ranks are exported.
    fs::create_dir_all(folder.path().join("w/1")).unwrap();
    fs::write(folder.path().join("w/1/model.pt"), "w").unwrap();
    fs::write(folder.path().join("w/model.toml"), manifest.replace("-1, 1", "-1, 81")).unwrap();
    let feature = |number: usize| {
        format!(
            "{{\"name\":\"x{number}\",\"input\":\"x\",\"of\":{number},\"edges\":[],\"counts\":[200],\
             \"missing\":0,\"min\":0,\"max\":1}}"
        )
    };
    let features = (0..81).map(feature).collect::<Vec<_>>().join(",");
    let zeros = "0".repeat(64);
    let wide = format!("{{\"model_sha256\":\"{zeros}\",\"rows\":200,\"features\":[{features}]}}");
    fs::write(folder.path().join("w/reference.json"), wide).unwrap();
    // One that answers with two labels beside the one that answers with a number.
    fs::create_dir_all(folder.path().join("c/1")).unwrap();
    fs::write(folder.path().join("c/1/model.pt"), "c").unwrap();
    let tensor = tensor.replace("-1, 1", "-1, 2");
    let manifest = format!("labels = [\"a\", \"b\"]\n[[inputs]]\n{tensor}[[outputs]]\n{tensor}");
    fs::write(folder.path().join("c/model.toml"), manifest).unwrap();
    let loader = Arc::new(FakeLoader(FakeModel::echo()));
    let options = FeedbackOptions { keys_file: None, max_age: Duration::from_secs(1) };
    let feedback = Feedback::new(options).unwrap();
    metrics.register(Arc::new(feedback.clone()));
    let files = FileOptions { folder: folder.path().join("captured"), max_bytes: 1 << 20 };
    let (files, sink) = (Some(files), None);
    let capturing =
        CaptureOptions { sample_rate: 1.0, redaction: Redaction::default(), files, sink };
    metrics.register(Arc::new(Capture::start(capturing, events::Events::new()).unwrap()));
    metrics.register(Arc::new(crate::traces::to_nowhere()));
    let parts = RepositoryParts {
        options: RepositoryOptions::new(folder.path().to_owned()),
        trial_loader: loader.clone(),
        isolated_loader: loader.clone(),
        loader,
        decode_sample: Arc::new(|_, _| Ok(Vec::new())),
        permits: Permits::new(1),
        metrics: metrics.clone(),
        verifier: Some(Arc::new(Watchers(Quality::new(), feedback))),
        events: events::Events::new(),
    };
    let repository = Repository::open(parts).unwrap();
    let _ = repository.check();
    repository.roll_out(&"m".parse().unwrap(), Version(1)).unwrap();
    let rollouts = Rollouts::new(repository.clone());
    rollouts.look();
    metrics.register(Arc::new(rollouts));
    repository
}

/// The room that exports the most of a version.
fn idle_scheduler(metrics: Arc<ModelMetrics>) -> Scheduler {
    let options = SchedulerOptions {
        label: "digits/1".to_owned(),
        queue_capacity: 1,
        max_queue_wait: None,
        batch: BatchLimits { max_batch_size: 1, max_queue_delay: Duration::ZERO },
        instances: 1,
        direct: false,
        warm_up_timeout: Duration::from_secs(60),
        run_timeout: Duration::ZERO,
        stuck_grace: Duration::from_secs(1),
        watch: Watch::default(),
        max_stuck: 0,
    };
    let spec = ModelSpec {
        inputs: vec![],
        outputs: vec![],
        batching: Batching::Proved,
        max_rows: 1,
        contract: Contract::default(),
    };
    let job = Job {
        model: Arc::new(FakeModel::echo()),
        spec: Arc::new(spec),
        permits: None,
        metrics,
        padding: None,
        warmup: Warmup::default(),
    };
    Scheduler::start(options, job).unwrap()
}

/// Families of a text: name to type and labels; panics where the text breaks the format.
fn parse(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut families = BTreeMap::<String, (String, BTreeSet<String>)>::new();
    let mut helped = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut current = String::new();
    assert!(text.ends_with('\n'), "the last line must end");
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("help has a text");
            assert!(text.ends_with('.') && !text.starts_with(' '), "help is a sentence: {line}");
            assert!(helped.insert(name.to_owned()), "one help a family: {line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect("a type has a name");
            assert!(helped.contains(name), "help comes before the type: {line}");
            let new = families.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
            assert!(new.is_none(), "one type a family: {line}");
            current = name.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            assert!(value.parse::<f64>().is_ok(), "the value is a number: {line}");
            assert!(seen.insert(series), "one sample a series: {line}");
            let (name, labels) = match series.split_once('{') {
                Some((name, labels)) => (name, labels.strip_suffix('}').expect("labels end")),
                None => (series, ""),
            };
            let (kind, known) = families.get_mut(&current).expect("a type comes first");
            let plain = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix).filter(|_| kind == "histogram"));
            assert_eq!(plain.unwrap_or(name), current, "samples follow their type: {line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "counters end so: {line}");
            let names = labels.split("\",").filter(|label| !label.is_empty());
            let names = names.map(|label| label.split_once("=\"").expect("a label").0.to_owned());
            known.extend(names.filter(|name| name != "le"));
        }
    }
    families
}

#[test]
fn the_text_holds_what_the_table_says() {
    let (metrics, model) = full();
    let scheduler = idle_scheduler(Arc::clone(&model));
    let repository = repository(&metrics);
    let expected = families::all().map(|family| {
        let labels = family.labels().iter().map(|&label| label.to_owned()).collect();
        (family.name().to_owned(), (family.type_name().to_owned(), labels))
    });
    assert_eq!(parse(&metrics.render()), expected.collect());
    drop((model, scheduler, repository));
}

#[test]
fn the_page_holds_what_the_table_says() {
    let row = |family: &Family| {
        let labels = family.labels().iter().map(|label| format!("`{label}`")).collect::<Vec<_>>();
        let (name, kind, help) = (family.name(), family.type_name(), family.help());
        format!("| `{name}` | {kind} | {} | {help} |", labels.join(", "))
    };
    let expected: Vec<String> = families::all().map(row).collect();
    let found: Vec<&str> = PAGE.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(
        found,
        expected,
        "docs/metrics.md must have exactly these rows:\n{}",
        expected.join("\n")
    );
}

#[test]
fn series_exist_at_zero_and_vanish_with_their_model() {
    let (metrics, model) = full();
    let text = metrics.render();
    for line in [
        r#"sconce_requests_total{model="digits",version="1",code="ok"} 0"#,
        r#"sconce_requests_total{model="<unknown>",version="<unknown>",code="invalid_input"} 0"#,
        r#"sconce_request_duration_seconds_bucket{model="digits",version="1",le="0.00001"} 0"#,
        r#"sconce_build_info{version="1.2.3",libtorch="2.11.0"} 1"#,
        r#"sconce_trials_total{outcome="timed_out"} 0"#,
        r#"sconce_http_connections_closed_total{listener="main",reason="idle"} 7"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    drop(model);
    assert!(!metrics.render().contains("digits"), "the series must vanish with the model");
    let again = metrics.model("digits", "1");
    again.set_ready(true);
    assert!(
        metrics.render().contains("sconce_model_ready{model=\"digits\",version=\"1\"} 1\n"),
        "a model that comes back has series again"
    );
}

#[test]
fn a_request_is_recorded_however_it_ends() {
    let (metrics, model) = full();
    let line = |text: &str| {
        let text = format!("{text}\n");
        assert!(metrics.render().contains(&text), "expected {text}in\n{}", metrics.render());
    };
    let mut answered = RequestGuard::new(model.clone(), Instant::now(), "client_closed");
    line("sconce_inflight_requests{model=\"digits\",version=\"1\"} 1");
    answered.record.phases[Phase::Compute] = Some(Duration::from_micros(700));
    answered.succeed();
    drop(answered);
    line("sconce_inflight_requests{model=\"digits\",version=\"1\"} 0");
    line("sconce_compute_duration_seconds_sum{model=\"digits\",version=\"1\"} 0.0007");
    line("sconce_requests_total{model=\"digits\",version=\"1\",code=\"ok\"} 1");
    line("sconce_decode_duration_seconds_count{model=\"digits\",version=\"1\"} 0");
    drop(RequestGuard::new(model.clone(), Instant::now(), "client_closed"));
    line("sconce_requests_total{model=\"digits\",version=\"1\",code=\"client_closed\"} 1");
    line("sconce_request_duration_seconds_count{model=\"digits\",version=\"1\"} 2");
}

#[test]
fn what_clients_name_makes_no_series() {
    let (metrics, model) = full();
    let n_series = || metrics.render().lines().filter(|line| !line.starts_with('#')).count();
    metrics.http().record(metrics.http().unmatched(), "POST", 404);
    let before = n_series();
    for _ in 0..1000 {
        metrics.record_unresolved("invalid_input");
        metrics.http().record(metrics.http().unmatched(), "POST", 404);
    }
    assert_eq!(n_series(), before);
    drop(model);
}
