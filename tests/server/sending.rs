//! What the server sends by itself: spans of requests, and captured requests as events.
//!
//! Real receivers take both in tests/watching; here are those ways that need none.

use crate::harness::{Models, Raw, Receiver, Server, Settings, get, post, post_with, request};
use rustix::process::Signal;
use serde_json::{Value, json};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACE_BYTES: [u8; 16] = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes();

fn has(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

fn sum(name: &str) -> Models {
    Models::new().written(name, "return x.sum(1, keepdim=True)", "")
}

fn traced(server: &Server, model: &str) {
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let headers = [("traceparent", &*traceparent), ("x-request-id", "traced")];
    post_with(server.http, &format!("/predict/{model}"), &headers, "{\"features\":[0,0,0,0]}")
        .good();
}

#[test]
fn a_traced_request_is_sent_when_the_server_ends() {
    let receiver = Receiver::start();
    let server = Settings::new(sum("traced_sum"))
        .set(format!("tracing.endpoint=http://{}", receiver.address))
        .set("tracing.sample_rate=0")
        .ready();
    post(server.http, "/predict/traced_sum", "{\"features\":[0,0,0,0]}").good();
    traced(&server, "traced_sum");
    // What waits is sent before the end.
    server.signal(Signal::TERM);
    assert!(server.wait_exit().success());
    let taken = receiver.taken();
    let spans: Vec<u8> = taken.iter().flat_map(|it| it.body.clone()).collect();
    assert!(taken.iter().all(|it| it.path == "/v1/traces"), "{taken:?}");
    assert_eq!(taken[0].header("content-type"), "application/x-protobuf");
    for part in ["POST /predict/{model}", "decode", "queue", "compute", "encode", "sconce.model"] {
        assert!(has(&spans, part.as_bytes()), "{part} must be sent");
    }
    let n_traced = spans.windows(16).filter(|window| **window == TRACE_BYTES).count();
    assert_eq!(n_traced, 5, "a request that nobody traces is not sent");
    assert!(!has(&spans, b"batch"), "a request that ran alone shares no run");
}

#[test]
fn exemplars_are_for_scrapers_that_ask_for_them() {
    let receiver = Receiver::start();
    let server = Settings::new(sum("exemplary_sum"))
        .set(format!("tracing.endpoint=http://{}", receiver.address))
        .ready();
    traced(&server, "exemplary_sum");
    // A scrape is counted as well, from the next one on.
    get(server.http, "/metrics");
    let accept = ["accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5"];
    let mut connection = Raw::connect(server.http);
    connection.send(&request("GET /metrics", &accept, b"")).unwrap();
    let open = connection.answer().expect("metrics are answered");
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.header("content-type"), Some(kind));
    let open = open.text();
    assert!(open.ends_with("\n# EOF\n"));
    let exemplars: Vec<_> =
        open.lines().filter(|line| line.contains(" # {")).map(str::to_owned).collect();
    assert_eq!(exemplars.len(), 1, "{exemplars:?}");
    assert!(
        exemplars[0].starts_with("sconce_request_duration_seconds_bucket{model=\"exemplary_sum\"")
    );
    assert!(exemplars[0].contains(&format!("trace_id=\"{TRACE}\"")), "{}", exemplars[0]);
    let plain = get(server.http, "/metrics");
    assert!(!plain.text().contains(TRACE), "an exemplar there fails the whole scrape");
    // The same series in both, but for how whole bounds are written.
    let names = |text: &str| -> Vec<String> {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let mut names: Vec<_> = samples
            .map(|line| line.split(" # ").next().unwrap().rsplit_once(' ').unwrap().0)
            .map(|name| name.replace(".0\"}", "\"}"))
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&open), names(&plain.text()));
}

#[test]
fn captured_requests_are_sent_as_events_and_losses_are_counted() {
    let receiver = Receiver::start();
    let server = Settings::new(sum("sunk_sum"))
        .set(format!("capture.sink=http://{}/events", receiver.address))
        .set("capture.sample_rate=1")
        .set("capture.redact=[\"sunk_sum/hidden\"]")
        .ready();
    let sent = |outcome: &str| {
        server.metric(&format!("sconce_capture_sent_total{{outcome=\"{outcome}\"}}"))
    };
    let ask = |id: &str| {
        let headers = [("x-request-id", id)];
        post_with(server.http, "/predict/sunk_sum", &headers, "{\"features\":[1,2,3,4]}").good();
    };
    ask("first");
    server.wait("the request is sent", || sent("sent") == 1.0);
    let taken = receiver.taken();
    let about: Vec<_> = taken
        .iter()
        .map(|it| ["ce-id", "ce-type", "ce-specversion", "ce-source"].map(|name| it.header(name)))
        .collect();
    let source = "/models/sunk_sum/versions/1";
    let kind = "org.kubeflow.serving.inference.";
    let expected = ["request", "response"].map(|end| format!("{kind}{end}"));
    assert_eq!(
        about,
        [["first", &expected[0], "1.0", source], ["first", &expected[1], "1.0", source]]
    );
    assert_eq!((&*taken[0].path, taken[0].header("content-type")), ("/events", "application/json"));
    let body: Value = serde_json::from_slice(&taken[0].body).unwrap();
    assert_eq!(body["inputs"][0]["data"], json!([1.0, 2.0, 3.0, 4.0]));
    let body: Value = serde_json::from_slice(&taken[1].body).unwrap();
    assert_eq!(
        (&body["outputs"][0]["data"], &body["model_version"]),
        (&json!([10.0]), &json!("1"))
    );

    // What a receiver will never take is not tried again.
    receiver.answer_with(400);
    ask("refused");
    server.wait("the loss is counted", || sent("failed") == 1.0);
    receiver.answer_with(503);
    ask("late");
    receiver.answer_with(200);
    server.wait("a receiver that comes back has it", || sent("sent") == 2.0);
    let events = get(server.management, "/manage/events?kind=capture_problem").good();
    assert!(events.to_string().contains("the receiver answered 400"), "{events}");
}
