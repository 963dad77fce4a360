//! A model that is read again while it is asked.

use crate::harness::{Models, Server, Settings, get, post};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const BODY: &str = r#"{"features": [1, 2, 3, 4]}"#;

/// Tells the clients to end, also when the test fails: they are waited for.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn reload(server: &Server, model: &str) -> crate::harness::Answer {
    post(server.management, &format!("/manage/models/{model}/reload"), "")
}

#[test]
fn a_reload_swaps_versions_under_load_without_a_failure() {
    let server = Settings::new(Models::new().fixture("raises")).ready();
    let (done, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let versions = std::thread::scope(|scope| {
        let client = |_| {
            scope.spawn(|| {
                let mut versions = BTreeMap::<String, usize>::new();
                while !done.load(Ordering::SeqCst) {
                    let answer = post(server.http, "/predict/raises", BODY).good();
                    let version = answer["version"].as_str().unwrap();
                    // Version 2 gives its input, version 1 twice its input.
                    let expected = if version == "1" {
                        json!([2.0, 4.0, 6.0, 8.0])
                    } else {
                        json!([1.0, 2.0, 3.0, 4.0])
                    };
                    assert_eq!(answer["prediction"], expected, "version {version}");
                    *versions.entry(version.to_owned()).or_default() += 1;
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                versions
            })
        };
        let clients: Vec<_> = (0..4).map(client).collect();
        let _ends = SetOnDrop(&done);
        let more = |n: usize| {
            let so_far = answered.load(Ordering::SeqCst);
            let some_ended = || clients.iter().any(|client| client.is_finished());
            server.wait("requests must be answered", || {
                some_ended() || answered.load(Ordering::SeqCst) >= so_far + n
            });
        };
        more(50);
        server.models.add_version("raises", 2, "nan");
        let status = reload(&server, "raises");
        let swapped = status.good();
        more(50);
        let again = reload(&server, "raises");
        more(50);
        done.store(true, Ordering::SeqCst);
        assert_eq!(swapped["version"], "2", "{swapped}");
        again.good();
        clients.into_iter().flat_map(|client| client.join().unwrap()).fold(
            BTreeMap::<String, usize>::new(),
            |mut sum, (version, n)| {
                *sum.entry(version).or_default() += n;
                sum
            },
        )
    });
    eprintln!("answers by version: {versions:?}");
    assert!(versions["1"] >= 50 && versions["2"] >= 100, "{versions:?}");
    assert_eq!(post(server.http, "/predict/raises", BODY).good()["version"], "2");
    post(server.http, "/predict/raises/versions/1", BODY).failed(404, "version_not_found");
    server.wait("the series of the old version must go", || {
        !server.metrics().contains("model=\"raises\",version=\"1\"")
    });
}

#[test]
fn a_reload_that_fails_leaves_what_serves() {
    let server = Settings::new(Models::new().fixture("raises")).ready();
    let folder = server.models.path().join("raises/2");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("model.pt"), b"no model").unwrap();
    let answer = reload(&server, "raises");
    answer.failed(503, "model_not_ready");
    assert!(server.is_ready(), "an earlier good version keeps the model ready");
    assert_eq!(post(server.http, "/predict/raises", BODY).good()["version"], "1");
    let model = server.describe("raises");
    let second = model["versions"].as_array().unwrap().iter().find(|v| v["version"] == "2");
    assert_eq!(second.unwrap()["state"], "failed", "{model}");
}

#[test]
fn a_reload_answers_on_the_management_listener_only() {
    let server = Server::shared();
    post(server.http, "/manage/models/tabular/reload", "").failed(403, "management_only");
    reload(&server, "no-such-model").failed(404, "model_not_found");
    reload(&server, "%2e%2e").failed(404, "model_not_found");
    assert_eq!(reload(&server, "tabular").good()["state"], "ready");
    post(server.management, "/predict/raises", BODY).good();
}

#[test]
fn sighup_changes_what_can_change_and_names_the_rest() {
    let (models, other) = (Models::new().fixture("raises"), Models::new().fixture("nan"));
    // Hidden: no model.
    let file = models.path().join(".sconce.toml");
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    let named = format!("model_folders = [\"late={}\"]\n", other.path().join("nan").display());
    write(&named);
    let server = Settings::new(models).variable("SCONCE_CONFIG", &file).ready();
    assert_eq!(server.predict("late", &json!({"features": [1, 2, 3, 4]})).status, 200);
    let told = |kind: &str, text: &str| {
        server.signal(Signal::HUP);
        let events = || get(server.management, "/manage/events").json();
        server.wait(text, || {
            let events = events();
            let mut events = events["events"].as_array().unwrap().iter();
            events.any(|it| it["kind"] == kind && it["message"].as_str().unwrap().contains(text))
        });
    };
    write("[requests]\nmax_rows = \"many\"\n");
    told("configuration_refused", "requests.max_rows: expected");
    assert_eq!(server.predict("late", &json!({"features": [1, 2, 3, 4]})).status, 200);
    write("[requests]\nmax_rows = 1\n[http]\nmax_connections = 77\n");
    told("configuration_reloaded", "requests.max_rows: 1024 -> 1");
    told("configuration_reloaded", "needs a restart: http.max_connections: 4096 -> 77");
    server.wait("a model that is named no more must go", || {
        server.predict("late", &json!({"features": [1, 2, 3, 4]})).status == 404
    });
    let two_rows = json!({"instances": [[1, 2, 3, 4], [1, 2, 3, 4]]});
    server.wait("one row is the most", || server.predict("raises", &two_rows).status == 400);
    write(&named);
    told("configuration_reloaded", "requests.max_rows: 1 -> 1024");
    server.wait("a model that is named again must come", || {
        server.predict("late", &json!({"features": [1, 2, 3, 4]})).status == 200
    });
    server.wait("two rows are fine again", || server.predict("raises", &two_rows).status == 200);
    server.signal(Signal::INT);
    assert!(server.wait_exit().success());
}
