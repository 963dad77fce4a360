//! Clients and models that take their time, and models that fail.

use super::{Before, check_error};
use crate::harness::{Answer, Models, Raw, Server, Settings, post, post_with, request};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A line of the log about one request.
#[track_caller]
fn logged(server: &Server, request_id: &str) -> Value {
    server.log.wait(|line| line["request_id"] == request_id && line["status"].is_number())
}

#[test]
fn bodies_that_come_too_slowly() {
    let server = Settings::new(Models::new().fixture("raises"))
        .set("http.body_idle_timeout=3s")
        .set("http.body_timeout=4s")
        .set("http.header_timeout=3s")
        .ready();
    let before = Before::of(&server);
    let head = b"POST /predict/raises HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n";
    let started = Instant::now();

    let mut halfway = Raw::connect(server.http);
    halfway.send(head).unwrap();
    halfway.send(b"{\"features\": [1, 2").unwrap();
    let mut trickle = Raw::connect(server.http);
    trickle.send(head).unwrap();
    let mut half_head = Raw::connect(server.http);
    half_head.send(&head[..30]).unwrap();

    // A few bytes a second: what comes next is paced by the clock, not waited for.
    let trickled = std::thread::spawn(move || {
        let answered = trickle.trickle(b"{\"features\": [1, 2, 3, 4]}", Duration::from_millis(200));
        (trickle.answer(), answered)
    });
    assert!(half_head.is_closed(), "half a head is no request that could be answered");
    let answer = halfway.answer().expect("a body that stops halfway is answered");
    assert_eq!(answer.status, 408, "{}", answer.text());
    check_error("a body that stops halfway", &answer, "body_timeout", true);
    assert!(halfway.is_closed(), "the rest of the body must not be taken for a request");
    let (answer, sent) = trickled.join().unwrap();
    let answer = answer.expect("a few bytes a second are answered");
    assert_eq!(answer.status, 408, "after {sent} bytes: {}", answer.text());
    check_error("a few bytes a second", &answer, "body_timeout", true);
    assert!(started.elapsed() >= Duration::from_secs(3), "no byte may end it before its time");
    before.check(&server, "slow bodies");
    before.check_metrics(&server);
}

#[test]
fn a_client_that_never_reads_is_closed() {
    let server =
        Settings::new(Models::new().fixture("raises")).set("http.write_timeout=1s").ready();
    let before = Before::of(&server);
    let mut raw = Raw::connect(server.http);
    let closed = "sconce_http_connections_closed_total{listener=\"http\",reason=\"write_timeout\"}";
    assert_eq!(server.metric(closed), 0.0);
    // Answers of some 30 KB each, more than the kernel buffers, to requests of 40 bytes.
    let many = request("GET /metrics", &[], b"").repeat(2000);
    let sent = raw.offer(&many);
    server.wait("a client that never reads must be closed", || server.metric(closed) == 1.0);
    eprintln!("{sent} bytes of requests were taken");
    before.check(&server, "a client that never reads");
    before.check_metrics(&server);
}

#[test]
fn hanging_up_is_499_in_the_log_only() {
    let models = Models::new().fixture("raises").fixture("slow").head("slow", "instances = 1");
    let server = Settings::new(models).ready();
    let before = Before::of(&server);
    let slow = |id: &str, milliseconds: u32| {
        let body = format!("{{\"features\": [{milliseconds}, 0, 0, 0]}}");
        let id = format!("X-Request-Id: {id}");
        let mut raw = Raw::connect(server.http);
        raw.send(&request("POST /predict/slow", &[&id], body.as_bytes())).unwrap();
        raw
    };
    let queue = |key: &str| server.describe("slow")["versions"][0]["queue"][key].as_u64();

    let running = slow("hangs-up-running", 4000);
    server.wait("the first must run", || queue("running") == Some(1));
    let queued = slow("hangs-up-queued", 4000);
    server.wait("the second must wait", || queue("waiting") == Some(1));
    drop(queued);
    let line = logged(&server, "hangs-up-queued");
    assert_eq!((&line["status"], &line["code"]), (&json!(499), &json!("client_closed")), "{line}");
    drop(running);
    let line = logged(&server, "hangs-up-running");
    assert_eq!((&line["status"], &line["code"]), (&json!(499), &json!("client_closed")), "{line}");
    assert_eq!(line["level"], "INFO", "a client's fault is no error of ours: {line}");

    let runs = "sconce_batch_rows_count{model=\"slow\",version=\"1\"}";
    server.wait("the run must end", || queue("running") == Some(0) && queue("waiting") == Some(0));
    let so_far = server.metric(runs);
    let answer = post(server.http, "/predict/slow", r#"{"features": [0, 0, 0, 0]}"#);
    assert_eq!(answer.good()["prediction"], json!([0.0, 0.0, 0.0, 0.0]));
    assert_eq!(
        server.metric(runs),
        so_far + 1.0,
        "what nobody waits for is dropped before it runs"
    );
    let gone = "sconce_requests_total{code=\"client_closed\",model=\"slow\",version=\"1\"}";
    assert_eq!(server.metric(gone), 2.0);
    assert_eq!(server.metric("sconce_inflight_requests{model=\"slow\",version=\"1\"}"), 0.0);
    assert_eq!(server.metric("sconce_inflight_bytes"), 0.0);
    before.check(&server, "hanging up");
    before.check_metrics(&server);
}

#[test]
fn a_deadline_that_passes_is_504() {
    let server = Server::shared();
    let before = Before::of(&server);
    let headers = [("x-request-timeout-ms", "1")];
    let answer =
        post_with(server.http, "/predict/slow", &headers, r#"{"features": [1000, 0, 0, 0]}"#);
    assert_eq!(answer.status, 504, "{}", answer.text());
    check_error("a slow model", &answer, "deadline_exceeded", true);
    assert_eq!(answer.json()["model"], "slow");
    before.check(&server, "a deadline that passes");
    before.check_metrics(&server);
}

#[test]
fn a_model_that_raises_is_500_for_its_own_request_only() {
    let server = Server::shared();
    let before = Before::of(&server);
    let bad = r#"{"features": [-1, 2, 3, 4]}"#;
    let answer = post(server.http, "/predict/raises", bad);
    assert_eq!(answer.status, 500);
    check_error("a model that raises", &answer, "inference_failed", true);
    assert_eq!(answer.json()["model"], "raises");
    let text = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(!text.contains("Traceback") && !text.contains(".py"), "no internal text: {text:?}");

    // Good and bad ones at once share batches; a bad row must not fail the good ones beside it.
    std::thread::scope(|scope| {
        for client in 0..8 {
            let server = &server;
            scope.spawn(move || {
                for _ in 0..20 {
                    let first = if client % 4 == 0 { -1 } else { client };
                    let body = json!({"features": [first, 2, 3, 4]});
                    let answer = server.predict("raises", &body);
                    if first < 0 {
                        answer.failed(500, "inference_failed");
                    } else {
                        let expected = json!([f64::from(first) * 2.0, 4.0, 6.0, 8.0]);
                        assert_eq!(answer.good()["prediction"], expected);
                    }
                }
            });
        }
    });
    before.check(&server, "a model that raises");
    before.check_metrics(&server);
}

#[test]
fn a_model_that_answers_with_nan_gives_valid_json() {
    let server = Server::shared();
    let answer = |body: &str| post(server.http, "/predict/nan", body);
    let one: Answer = answer(r#"{"features": [-1, 0, 2, 3]}"#);
    assert_eq!(
        one.good()["prediction"],
        json!([null, null, 2.0, 3.0]),
        "null stands for NaN and infinity"
    );
    let many = answer(r#"{"instances": [[-1, 0, 2, 3], [1, 1, 1, 1]]}"#);
    assert_eq!(many.good()["predictions"], json!([[null, null, 2.0, 3.0], [1.0, 1.0, 1.0, 1.0]]));
}
