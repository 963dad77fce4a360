//! Bad input over a real socket: each case with its status and code, and the server as it was.
//!
//! Tables: `body` (what a body can say), `head` (paths, methods, sizes, types, framing), `packed`
//! (content codings), `texts` (elements that are no texts) and `slow` (clients and models that take
//! their time).

mod body;
mod gzip;
mod head;
mod packed;
mod slow;
mod texts;

use crate::harness::{Answer, Raw, Series, Server, get, post, request, series};
use std::net::SocketAddr;

/// A request and how it is refused.
struct Case {
    name: String,
    bytes: Vec<u8>,
    status: u16,
    code: &'static str,
    /// Whether the refusal comes before there is a request that could have an id.
    has_id: bool,
}

impl Case {
    fn new(name: &str, bytes: impl Into<Vec<u8>>, status: u16, code: &'static str) -> Self {
        Self { name: name.to_owned(), bytes: bytes.into(), status, code, has_id: true }
    }

    /// A body for a model.
    fn body(name: &str, model: &str, body: impl AsRef<[u8]>, code: &'static str) -> Self {
        let line = format!("POST /predict/{model}");
        Self::new(
            name,
            request(&line, &["Content-Type: application/json"], body.as_ref()),
            400,
            code,
        )
    }

    #[track_caller]
    fn check(&self, address: SocketAddr) {
        let Self { name, bytes, status, code, has_id } = self;
        let mut connection = Raw::connect(address);
        connection.offer(bytes);
        let Some(answer) = connection.answer() else { panic!("{name}: must be answered") };
        let got = (answer.status, answer.text());
        assert_eq!(answer.status, *status, "{name}: {got:?}");
        check_error(name, &answer, code, *has_id);
    }
}

/// Checks the form of an error's body.
#[track_caller]
fn check_error(name: &str, answer: &Answer, code: &str, has_id: bool) {
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{name}: {}",
        answer.text()
    );
    let body = answer.json();
    assert_eq!(body["code"], code, "{name}: {body}");
    let text = body["error"].as_str().unwrap();
    let first = text.split(' ').next().unwrap();
    // A header's name keeps its capital.
    let is_phrase = !first.starts_with(char::is_uppercase) || first.contains('-');
    assert!(is_phrase && !text.ends_with('.'), "{name}: an error is a phrase: {text:?}");
    assert!(text.len() <= 400, "{name}: an error is one line, not {} bytes", text.len());
    assert!(!text.contains(['\n', '\0']), "{name}: an error is one line: {text:?}");
    for internal in ["/home", "/tmp", ".cpp", ".rs:", "0x", "Exception raised"] {
        assert!(!text.contains(internal), "{name}: internal text leaves in {text:?}");
    }
    if has_id {
        let id = body["request_id"].as_str().unwrap();
        assert!(!id.is_empty() && answer.header("x-request-id") == Some(id), "{name}: {body}");
    }
}

/// What must be the same after every case.
struct Before {
    series: Series,
    prediction: String,
}

impl Before {
    fn of(server: &Server) -> Self {
        let prediction = good_answer(server);
        Self { series: series(&server.metrics()), prediction }
    }

    /// The server is ready and gives a good request its answer.
    #[track_caller]
    fn check(&self, server: &Server, name: &str) {
        assert!(server.is_ready(), "{name}: bad input must not change readiness");
        assert_eq!(good_answer(server), self.prediction, "{name}: a good request must be answered");
    }

    /// And no series has come, and no request is still held.
    #[track_caller]
    fn check_metrics(&self, server: &Server) {
        let after = series(&server.metrics());
        let new: Vec<_> = after.difference(&self.series).collect();
        assert!(new.is_empty(), "bad input must make no series: {new:?}");
        let lost: Vec<_> = self.series.difference(&after).collect();
        assert!(lost.is_empty(), "bad input must lose no series: {lost:?}");
        assert_eq!(get(server.http, "/health/live").status, 200);
    }
}

fn good_answer(server: &Server) -> String {
    let answer = post(server.http, "/predict/raises", r#"{"features": [1, 2, 3, 4]}"#);
    answer.good()["prediction"].to_string()
}

/// Runs a table against the shared server.
#[track_caller]
fn check_table(cases: &[Case]) {
    let server = Server::shared();
    let before = Before::of(&server);
    for case in cases {
        case.check(server.http);
        before.check(&server, &case.name);
    }
    before.check_metrics(&server);
    eprintln!("{} cases of bad input", cases.len());
}
