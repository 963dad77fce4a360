//! Every bound alone: queues, bytes in flight, runs that never end.

use crate::harness::{Models, PATIENCE, Raw, Server, Settings, get, post, post_with, request};
use rustix::process::Signal;
use serde_json::{Value, json};

fn slow(milliseconds: u32) -> Vec<u8> {
    let body = format!("{{\"features\": [{milliseconds}, 0, 0, 0]}}");
    request("POST /predict/slow", &[], body.as_bytes())
}

#[test]
fn a_full_queue_is_429() {
    let models = Models::new().fixture("slow").head("slow", "instances = 1");
    let server = Settings::new(models)
        .set("batching.queue_capacity=2")
        .set("batching.max_batch_size=1")
        .ready();
    let queue = |key: &str| server.describe("slow")["versions"][0]["queue"][key].as_u64();
    let mut waiting = Vec::new();
    // The first goes on while the others come, also on a machine that is busy: its time is the processor's.
    for (n_sent, milliseconds) in [(0, 4000), (1, 0), (2, 0)] {
        let mut raw = Raw::connect(server.http);
        raw.send(&slow(milliseconds)).unwrap();
        waiting.push(raw);
        let expected = (Some(1), Some(n_sent));
        server.wait("each must be taken", || (queue("running"), queue("waiting")) == expected);
    }
    let answer = post(server.http, "/predict/slow", r#"{"features": [0, 0, 0, 0]}"#);
    answer.failed(429, "queue_full");
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "Retry-After is {seconds}");
    assert!(server.is_ready(), "a full queue must not change readiness");
    for (raw, doubled) in waiting.iter_mut().zip([8000.0, 0.0, 0.0]) {
        assert_eq!(raw.answer().unwrap().good()["prediction"], json!([doubled, 0.0, 0.0, 0.0]));
    }
    let answer = post(server.http, "/predict/slow", r#"{"features": [0, 0, 0, 0]}"#);
    answer.good();
}

#[test]
fn what_would_wait_for_too_long_is_429_at_once() {
    let models = Models::new().fixture("slow").head("slow", "instances = 1");
    let server = Settings::new(models).set("batching.max_queue_wait=0ms").ready();
    let mut running = Raw::connect(server.http);
    running.send(&slow(4000)).unwrap();
    let runs = || server.describe("slow")["versions"][0]["queue"]["running"] == 1;
    server.wait("the run must begin", runs);
    let answer = post(server.http, "/predict/slow", r#"{"features": [0, 0, 0, 0]}"#);
    answer.failed(429, "queue_full");
    let message = answer.json()["error"].as_str().unwrap().to_owned();
    assert!(message.contains("would wait for") && message.contains("at most 0.0ns"), "{message}");
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "Retry-After is {seconds}");
    running.answer().unwrap().good();
    let idle = || server.describe("slow")["versions"][0]["queue"]["running"] == 0;
    server.wait("the run must end", idle);
    post(server.http, "/predict/slow", r#"{"features": [0, 0, 0, 0]}"#).good();
}

#[test]
fn too_many_bytes_in_flight_are_503() {
    let server = Settings::new(Models::new().fixture("variable").fixture("raises"))
        .set("http.max_body_bytes=1MiB")
        .set("limits.inflight_bytes=8MiB")
        .ready();
    let n_values = 500_000;
    let body = format!("{{\"features\": [{}1]}}", "1,".repeat(n_values - 1));
    assert!(body.len() < 1 << 20);
    let bytes = request("POST /predict/variable", &[], body.as_bytes());
    let (all_but_last, last) = bytes.split_at(bytes.len() - 1);

    // All but the last byte of each: what is held cannot go away before the refusals come.
    let connections: Vec<Raw> = std::thread::scope(|scope| {
        let client = |_| {
            let address = server.http;
            scope.spawn(move || {
                let mut raw = Raw::connect(address);
                raw.offer_within(all_but_last, PATIENCE);
                raw
            })
        };
        let clients: Vec<_> = (0..64).map(client).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let held = server.metric("sconce_inflight_bytes");
    assert!(held <= server.metric("sconce_inflight_bytes_limit"), "{held} bytes are held");
    let (mut answered, mut refused) = (0, 0);
    for mut raw in connections {
        raw.offer_within(last, PATIENCE);
        let answer = raw.answer().expect("every one gets an answer");
        if answer.status == 200 {
            assert_eq!(answer.json()["prediction"], json!([1.0]));
            answered += 1;
        } else {
            answer.failed(503, "overloaded");
            assert!(answer.header("retry-after").is_some(), "an overload passes");
            refused += 1;
        }
    }
    eprintln!("64 bodies of 1 MiB at once in 8 MiB: {answered} answered, {refused} refused");
    assert!(refused > 0 && answered > 0, "{answered} answered, {refused} refused");
    server.wait("nothing must stay booked", || server.metric("sconce_inflight_bytes") == 0.0);
    assert!(server.is_ready());
    assert_eq!(post(server.http, "/predict/variable", body).good()["prediction"], json!([1.0]));
}

#[test]
fn answers_of_all_routes_count_and_probes_are_never_refused() {
    let models = Models::new().fixture("tabular");
    let server = Settings::new(models)
        .set("http.max_body_bytes=1MiB")
        .set("http.body_idle_timeout=120s")
        .set("http.body_timeout=120s")
        .set("limits.inflight_bytes=1MiB")
        .ready();
    // A body that never ends holds nearly all.
    let bytes = request("POST /predict/tabular", &[], &vec![b' '; (1 << 20) - 6 * 1024]);
    let mut raw = Raw::connect(server.http);
    raw.offer_within(&bytes[..bytes.len() - 1], PATIENCE);
    let document = || get(server.http, "/openapi.json");
    server.wait("an answer without room must be refused", || document().status == 503);
    let answer = document();
    answer.failed(503, "overloaded");
    assert!(answer.header("retry-after").is_some(), "an overload passes");
    for path in ["/livez", "/readyz", "/health", "/v2/health/live", "/v2/health/ready"] {
        assert_eq!(get(server.http, path).status, 200, "{path} must not be refused");
    }
    assert_eq!(get(server.http, "/docs").status, 200, "what all share takes no room");
    let row = vec!["0.5"; 20].join(",");
    post(server.http, "/predict/tabular", format!("{{\"features\": [{row}]}}")).good();
}

#[test]
fn a_body_that_does_not_come_is_504_at_the_deadline() {
    let server = Settings::new(Models::new().fixture("tabular"))
        .set("http.body_idle_timeout=120s")
        .set("http.body_timeout=120s")
        .ready();
    let mut raw = Raw::connect(server.http);
    let headers = ["x-request-timeout-ms: 200"];
    let bytes = request("POST /predict/tabular", &headers, &[b' '; 1000]);
    raw.send(&bytes[..bytes.len() - 1]).unwrap();
    // The harness waits less than the body may take.
    let answer = raw.answer().unwrap();
    answer.failed(504, "deadline_exceeded");
    assert_eq!(answer.header("connection"), Some("close"), "the rest is not waited for");
}

/// A run in the server's process holds a place among those that compute, and nothing ends it.
#[test]
fn runs_that_hang_keep_no_other_model_waiting() {
    let models = Models::new().fixture("stuck").head("stuck", "instances = 8").fixture("raises");
    // Long enough that none of them is given up.
    let server: Server = Settings::new(models)
        .set("isolation.mode=none")
        .set("limits.stuck_grace=60s")
        .set("shutdown.lame_duck=0ms")
        .ready();
    let running = || server.describe("stuck")["versions"][0]["queue"]["running"].as_u64();
    for n_runs in 1..=4 {
        server.wait("a run must begin", || {
            let headers = [("x-request-timeout-ms", "300")];
            let body = r#"{"features": [2000, 0, 0, 0]}"#;
            let _ = post_with(server.http, "/predict/stuck", &headers, body);
            running() >= Some(n_runs)
        });
    }
    for _ in 0..3 {
        server.predict("raises", &json!({"features": [1, 2, 3, 4]})).good();
    }
    assert!(running() >= Some(4), "they run still");
}

#[test]
fn another_version_takes_the_place_of_one_that_was_given_up() {
    let models = Models::new().fixture("stuck").head("stuck", "instances = 1");
    models.add_version("stuck", 2, "stuck");
    let server: Server = Settings::new(models)
        .set("isolation.mode=none")
        .set("requests.timeout=2s")
        .set("limits.stuck_grace=300ms")
        .set("limits.max_stuck_runs=1")
        .set("shutdown.lame_duck=0ms")
        .ready();
    assert_eq!(server.describe("stuck")["version"], "2");
    let headers = [("x-request-timeout-ms", "300")];
    server.wait("version 1 must serve", || {
        let body = r#"{"features": [2000, 0, 0, 0]}"#;
        // Answered with 504, or 503 once nothing of version 2 runs any more.
        let _ = post_with(server.http, "/predict/stuck", &headers, body);
        server.describe("stuck")["version"] == "1"
    });
    assert!(server.is_ready());
    let problem = server.describe("stuck")["problem"].to_string();
    assert!(problem.contains("version 2: ") && problem.contains("stuck"), "{problem}");
    let events = get(server.management, "/manage/events").good()["events"].clone();
    let is_told = |it: &Value| it["kind"] == "version_failed" && it["version"] == "2";
    assert!(events.as_array().unwrap().iter().any(is_told), "{events}");
}

#[test]
fn a_run_that_never_ends_is_replaced_and_then_fails_its_model() {
    let models = Models::new().fixture("stuck").head("stuck", "instances = 1").fixture("raises");
    let server: Server = Settings::new(models)
        .set("isolation.mode=none")
        .set("requests.timeout=2s")
        .set("limits.stuck_grace=300ms")
        .set("limits.max_stuck_runs=1")
        .set("shutdown.lame_duck=0ms")
        .ready();
    let stuck = "sconce_stuck_runs_total{model=\"stuck\",version=\"1\"}";
    // On a slow machine the deadline may pass before the run has begun: then with a longer one.
    let stick = || {
        let runs = |so_far: f64| {
            let queue = &server.describe("stuck")["versions"][0]["queue"];
            queue["running"] == 1 || server.metric(stuck) > so_far
        };
        let so_far = server.metric(stuck);
        let mut milliseconds = 300;
        while !runs(so_far) {
            assert!(milliseconds < 60_000, "a run must begin within a minute");
            let headers = [("x-request-timeout-ms", &*milliseconds.to_string())];
            let body = r#"{"features": [2000, 0, 0, 0]}"#;
            let answer = post_with(server.http, "/predict/stuck", &headers, body);
            answer.failed(504, "deadline_exceeded");
            milliseconds *= 2;
        }
    };
    let good = r#"{"features": [1, 2, 3, 4]}"#;
    stick();
    server.wait("the run must count as stuck", || server.metric(stuck) == 1.0);
    let answer = post(server.http, "/predict/stuck", good).good();
    assert_eq!(answer["prediction"], json!([2.0, 4.0, 6.0, 8.0]), "a new instance serves");
    let restarts = "sconce_instance_restarts_total{model=\"stuck\",version=\"1\"}";
    assert_eq!(server.metric(restarts), 1.0, "a replaced instance is a restart");
    assert_eq!(server.metric("sconce_instances{model=\"stuck\",version=\"1\"}"), 1.0);
    assert!(server.is_ready(), "one stuck run must not change readiness");

    stick();
    server.wait("the second must count", || server.metric(stuck) == 2.0);
    server.wait("the model must be failed", || server.describe("stuck")["state"] == "failed");
    let reason = server.describe("stuck")["versions"][0]["reason"].to_string();
    assert!(reason.contains("stuck"), "the status says why: {reason}");
    post(server.http, "/predict/stuck", good).failed(503, "model_not_ready");
    assert!(
        server.is_ready(),
        "what is asked of one model takes no other out of the load balancer"
    );
    assert_eq!(get(server.http, "/health/ready").json()["failed"], json!(["stuck"]));
    post(server.http, "/predict/raises", good).good();

    server.signal(Signal::TERM);
    assert_eq!(server.wait_exit().code(), Some(0), "stuck runs must not spoil the exit");
}

#[test]
fn numbers_that_the_processor_cannot_divide_cost_their_own_request() {
    let server = Settings::new(Models::new().fixture("divides")).ready();
    let divide = |a: i64, b: i64| {
        let body = format!("{{\"features\": [{a}, {b}]}}");
        post(server.http, "/predict/divides", &body)
    };
    for (a, b) in [(1, 0), (i64::MIN, -1), (0, 0)] {
        divide(a, b).failed(500, "inference_failed");
    }
    assert_eq!(divide(-7, 2).good()["prediction"], json!([-3, 1]));
    assert!(server.is_ready());
}

#[test]
fn a_run_takes_no_more_memory_than_there_is_room_for() {
    let server = Settings::new(Models::new().fixture("greedy").fixture("tabular"))
        .set("limits.memory_bytes=1GiB")
        .set("limits.inflight_bytes=64MiB")
        .ready();
    let take = |mib: u32, as_list: u32| {
        let body = format!("{{\"features\": [{mib}, {as_list}, 0, 0]}}");
        post(server.http, "/predict/greedy", &body)
    };
    for as_list in [0, 1] {
        take(10, as_list).good();
        let refused = take(100_000, as_list);
        refused.failed(507, "out_of_memory");
        take(10, as_list).good();
    }
    // More than there is for all of them at once: whoever gets an answer gets the right one.
    std::thread::scope(|scope| {
        for client in 0..8 {
            let take = &take;
            scope.spawn(move || {
                for _ in 0..5 {
                    let answer = take(300, client % 2);
                    match answer.status {
                        200 => assert_eq!(answer.json()["prediction"][0], json!(600.0)),
                        _ => drop(answer.failed(507, "out_of_memory")),
                    }
                }
            });
        }
    });
    assert!(server.is_ready());
}

#[test]
fn what_a_model_forks_runs_with_it() {
    let server = Settings::new(Models::new().fixture("forks")).ready();
    let answer = post(server.http, "/predict/forks", r#"{"features": [1, 2, 3, 4]}"#);
    assert_eq!(answer.good()["prediction"], json!([10.0, 20.0, 30.0, 40.0]));
}

#[test]
fn callers_with_little_time_do_not_make_a_slow_model_fail() {
    let models = Models::new().fixture("slow").head("slow", "instances = 1");
    let server = Settings::new(models)
        .set("limits.stuck_grace=0ms")
        .set("limits.max_stuck_runs=1")
        .set("requests.timeout=60s")
        .ready();
    for _ in 0..3 {
        let headers = [("x-request-timeout-ms", "50")];
        let body = r#"{"features": [300, 0, 0, 0]}"#;
        let answer = post_with(server.http, "/predict/slow", &headers, body);
        // A machine that is busy may refuse what it knows to be late.
        assert!(matches!(answer.status, 429 | 504), "{}", answer.status);
    }
    post(server.http, "/predict/slow", r#"{"features": [1, 0, 0, 0]}"#).good();
    assert_eq!(server.metric("sconce_stuck_runs_total{model=\"slow\",version=\"1\"}"), 0.0);
    assert!(server.is_ready());
}
