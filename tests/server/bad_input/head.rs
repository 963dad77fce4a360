//! What is wrong before the body is read: names, methods, sizes, types, framing.

use super::{Case, check_table, gzip};
use crate::harness::{Models, Raw, Server, Settings, get, request};

const GOOD_BODY: &[u8] = b"{\"features\": [1, 2, 3, 4]}";

fn named(name: &str, path: &str, code: &'static str) -> Case {
    Case::new(name, request(&format!("POST {path}"), &[], GOOD_BODY), 404, code)
}

#[test]
fn names_that_nothing_has() {
    let long = "a".repeat(10_000);
    let model = "model_not_found";
    let version = "version_not_found";
    let route = "route_not_found";
    check_table(&[
        named("an unknown model", "/predict/no-such-model", model),
        named("an unknown version", "/predict/raises/versions/99", version),
        named("a version with a leading zero", "/predict/raises/versions/01", version),
        named("a version that is no number", "/predict/raises/versions/latest", version),
        named("a version beyond 64 bits", "/predict/raises/versions/18446744073709551616", version),
        named("a version of an unknown model", "/predict/no-such-model/versions/1", model),
        named("../", "/predict/../models/raises", route),
        named("../ as the name", "/predict/..", model),
        named("%2e%2e", "/predict/%2e%2e", model),
        named("%2e%2e%2f", "/predict/%2e%2e%2fraises", model),
        named("%2fetc%2fpasswd", "/predict/%2fetc%2fpasswd", model),
        named("NUL", "/predict/raises%00", model),
        named("NUL alone", "/predict/%00", model),
        named("a name that is no UTF-8", "/predict/%ff", model),
        named("a version that is no UTF-8", "/predict/raises/versions/%ff", model),
        named("an empty name", "/predict/", route),
        named("an empty name with a version", "/predict//versions/1", model),
        named("a name of 10,000 characters", &format!("/predict/{long}"), model),
        named("a space", "/predict/%20raises", model),
        named("a line feed", "/predict/raises%0a", model),
        named("an unknown route", "/no/such/route", route),
        Case::new("a GET of %ff", request("GET /models/%ff", &[], b""), 404, model),
        Case::new("a GET of ../", request("GET /models/%2e%2e%2fetc", &[], b""), 404, model),
        Case::new("a GET of an unknown model", request("GET /models/none", &[], b""), 404, model),
    ]);
}

#[test]
fn methods_and_types_and_listeners() {
    let method = |line: &str| Case::new(line, request(line, &[], b""), 405, "method_not_allowed");
    let typed = |header: &str| {
        let bytes = request("POST /predict/raises", &[header], GOOD_BODY);
        Case::new(header, bytes, 415, "unsupported_media_type")
    };
    let manage = |line: &str| Case::new(line, request(line, &[], b""), 403, "management_only");
    let timeout = |header: &str| {
        Case::new(
            header,
            request("POST /predict/raises", &[header], GOOD_BODY),
            400,
            "invalid_request",
        )
    };
    check_table(&[
        method("GET /predict/raises"),
        method("GET /predict"),
        method("PUT /predict/raises"),
        method("PATCH /predict/raises"),
        method("POST /metrics"),
        method("POST /health/ready"),
        method("BREW /predict/raises"),
        typed("Content-Type: text/html"),
        typed("Content-Type: image/png"),
        typed("Content-Type: multipart/form-data; boundary=x"),
        typed("Content-Encoding: br"),
        typed("Content-Encoding: x-unknown"),
        manage("GET /manage/models"),
        manage("POST /manage/models/raises/reload"),
        manage("POST /manage/models/none/reload"),
        timeout("X-Request-Timeout-Ms: soon"),
        timeout("X-Request-Timeout-Ms: 0"),
        timeout("X-Request-Timeout-Ms: -5"),
    ]);
    let server = Server::shared();
    let mut raw = Raw::connect(server.http);
    raw.send(&request("GET /predict/raises", &[], b"")).unwrap();
    assert_eq!(raw.answer().unwrap().header("allow"), Some("POST"), "405 says what is allowed");
}

#[test]
fn requests_that_can_be_read_in_two_ways() {
    let framing = |name: &str, head: &str| Case {
        has_id: false,
        ..Case::new(name, head, 400, "invalid_request")
    };
    let head = |lines: &str| format!("POST /predict/raises HTTP/1.1\r\n{lines}\r\n");
    let long = format!("Host: a\r\nX-Long: {}\r\n", "a".repeat(200_000));
    check_table(&[
        framing(
            "both length and coding",
            &(head("Host: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n") + "0\r\n\r\n"),
        ),
        framing("two lengths", &head("Host: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n")),
        framing("a length that is none", &head("Host: a\r\nContent-Length: +5\r\n")),
        framing("a negative length", &head("Host: a\r\nContent-Length: -1\r\n")),
        framing(
            "a length beyond 64 bits",
            &head("Host: a\r\nContent-Length: 99999999999999999999\r\n"),
        ),
        framing(
            "a coding that is not chunked",
            &head("Host: a\r\nTransfer-Encoding: gzip, chunked\r\n"),
        ),
        framing("bare line feeds", "POST /predict/raises HTTP/1.1\nHost: a\n\n"),
        framing("no Host", &head("Content-Length: 0\r\n")),
        framing("two Hosts", &head("Host: a\r\nHost: b\r\n")),
        framing("a folded line", &head("Host: a\r\nX-A: b\r\n c\r\n")),
        framing("a space before the colon", &head("Host : a\r\n")),
        framing("a NUL in a header", &head("Host: a\r\nX-A: b\0c\r\n")),
        framing("no HTTP at all", "hello\r\n\r\n"),
        Case { has_id: false, ..Case::new("a head too large", head(&long), 431, "head_too_large") },
    ]);
}

#[test]
fn bodies_that_are_too_large() {
    let server =
        Settings::new(Models::new().fixture("raises")).set("http.max_body_bytes=64KiB").ready();
    let before = super::Before::of(&server);
    let large = vec![b' '; 100_000];
    let chunked: Vec<u8> = [
        b"POST /predict/raises HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            .as_slice(),
        format!("{:x}\r\n", large.len()).as_bytes(),
        &large,
        b"\r\n0\r\n\r\n",
    ]
    .concat();
    let bomb = gzip::bomb(1 << 22);
    assert!(bomb.len() < 64 * 1024, "the bomb itself is under the limit: {}", bomb.len());
    let large_code = "body_too_large";
    let packed = ["Content-Encoding: gzip"];
    let cases = [
        Case::new("over the limit", request("POST /predict/raises", &[], &large), 413, large_code),
        Case::new(
            "announced and never sent",
            "POST /predict/raises HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000000\r\n\r\n",
            413,
            large_code,
        ),
        Case::new("over the limit without a length", chunked, 413, large_code),
        Case::new("a gzip bomb", request("POST /predict/raises", &packed, &bomb), 413, large_code),
        Case::new(
            "no gzip",
            request("POST /predict/raises", &packed, b"{}"),
            400,
            "invalid_request",
        ),
        Case::new(
            "gzip cut off",
            request("POST /predict/raises", &packed, &gzip::GOOD[..20]),
            400,
            "invalid_request",
        ),
    ];
    for case in &cases {
        case.check(server.http);
        before.check(&server, &case.name);
    }
    before.check_metrics(&server);

    let mut raw = Raw::connect(server.http);
    raw.send(&request("POST /predict/raises", &packed, gzip::GOOD)).unwrap();
    assert_eq!(raw.answer().unwrap().good()["prediction"].to_string(), before.prediction);
}

#[test]
fn unknown_names_make_no_series() {
    let server = Server::shared();
    let before = super::Before::of(&server);
    let unknown = |text: &str| {
        crate::harness::metric(
            text,
            "sconce_requests_total{code=\"model_not_found\",model=\"<unknown>\",version=\"<unknown>\"}",
        )
    };
    let counted = unknown(&server.metrics());
    let mut raw = Raw::connect(server.http);
    for number in 0..1000 {
        let line = format!("POST /predict/unknown-{number}");
        raw.send(&request(&line, &[], GOOD_BODY)).unwrap();
        raw.answer().unwrap().failed(404, "model_not_found");
    }
    before.check_metrics(&server);
    let text = server.metrics();
    assert!(!text.contains("unknown-"), "a name that a client wrote must not be in the metrics");
    // Tests beside this one may ask for what does not exist, too.
    assert!(unknown(&text) >= counted + 1000.0, "what names no model is counted as one");
    assert_eq!(get(server.http, "/predict/unknown-1").status, 405);
}

/// Many clients write the head and the body apart. An answer that is known from the head alone must
/// not cost the connection on which the next request may be on its way.
#[test]
fn an_answer_before_the_body_keeps_the_connection() {
    let server = Server::shared();
    let mut raw = Raw::connect(server.http);
    for _ in 0..50 {
        let whole = request("POST /predict/no-such-model", &[], GOOD_BODY);
        let (head, body) = whole.split_at(whole.len() - GOOD_BODY.len());
        raw.send(head).unwrap();
        std::thread::yield_now();
        raw.send(body).unwrap();
        raw.answer().expect("the connection must go on").failed(404, "model_not_found");
    }
    // A body too long to be read for nothing: the answer says that the connection closes.
    let head =
        b"POST /predict/no-such-model HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n";
    raw.send(head).unwrap();
    let answer = raw.answer().expect("the answer does not wait for the body");
    assert_eq!(answer.header("connection"), Some("close"));
}
