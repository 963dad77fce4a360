//! What a browser is told about pages of other origins.

use crate::harness::{Answer, Models, Raw, Server, Settings, get, request};
use std::net::SocketAddr;

const PAGE: &str = "https://app.example.com";
const GOOD: &[u8] = br#"{"features": [1, 2, 3, 4]}"#;

fn send(address: SocketAddr, line: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut raw = Raw::connect(address);
    raw.offer(&request(line, headers, body));
    raw.answer().unwrap()
}

fn server(origins: &str) -> Server {
    Settings::new(Models::new().fixture("raises"))
        .set(format!("http.cors_origins={origins}"))
        .set("http.max_body_bytes=1KiB")
        .ready()
}

#[test]
fn a_listed_page_may_read_every_answer() {
    let server = server(&format!("https://other.example,{PAGE}"));
    let origin = format!("Origin: {PAGE}");
    let headers = [origin.as_str(), "Content-Type: application/json"];
    let asks = [
        &origin,
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: content-type, x-request-id",
    ];
    let answer = send(server.http, "OPTIONS /predict/raises", &asks, b"");
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
    let methods = answer.header("access-control-allow-methods").unwrap();
    assert!(methods.contains("POST") && methods.contains("PUT"), "{methods}");
    let allowed = answer.header("access-control-allow-headers");
    assert_eq!(allowed, Some("content-type, x-request-id"));
    assert!(answer.header("access-control-max-age").is_some());
    assert!(answer.header("x-request-id").is_some(), "it is a request like any other");

    let large = vec![b' '; 2000];
    for (line, body, status) in [
        ("POST /predict/raises", GOOD, 200),
        ("POST /v1/models/raises:predict", br#"{"instances": [[1, 2, 3, 4]]}"#, 200),
        ("GET /health/ready", b"", 200),
        ("GET /models", b"", 200),
        ("POST /predict/raises", b"{", 400),
        ("POST /predictions/raises", b"{", 400),
        ("GET /manage/models", b"", 403),
        ("POST /predict/none", GOOD, 404),
        ("GET /no/such/route", b"", 404),
        ("GET /predict/raises", b"", 405),
        ("POST /predict/raises", &large, 413),
        ("POST /predict/raises", br#"{"features": [-1, 2, 3, 4]}"#, 500),
        ("POST /v2/models/raises/generate", GOOD, 501),
    ] {
        let answer = send(server.http, line, &headers, body);
        assert_eq!(answer.status, status, "{line}: {}", answer.text());
        assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE), "{line}");
        let exposed = answer.header("access-control-expose-headers").unwrap();
        for name in ["X-Request-Id", "Server-Timing", "Retry-After"] {
            assert!(exposed.contains(name), "{line}: {exposed}");
        }
        assert_eq!(answer.header("vary"), Some("origin"), "{line}");
    }
    let counted =
        "sconce_http_requests_total{method=\"OPTIONS\",route=\"/predict/{model}\",status=\"204\"}";
    assert_eq!(server.metric(counted), 1.0, "{}", server.metrics());
}

#[test]
fn other_pages_are_served_as_before_and_told_nothing() {
    let listed = server(PAGE);
    let asks = ["Origin: https://other.example", "Access-Control-Request-Method: POST"];
    let none = |answer: &Answer| {
        let header = answer.header("access-control-allow-origin");
        assert_eq!(header, None, "{}", answer.text());
        assert_eq!(answer.header("access-control-expose-headers"), None);
    };
    let answer = send(listed.http, "OPTIONS /predict/raises", &asks, b"");
    answer.failed(405, "method_not_allowed");
    none(&answer);
    for origin in ["Origin: https://other.example", "Origin: null", "X-No-Origin: 1"] {
        let answer = send(listed.http, "POST /predict/raises", &[origin], GOOD);
        assert_eq!(answer.good()["prediction"][0], 2.0);
        none(&answer);
        assert_eq!(answer.header("vary"), Some("origin"), "caches must keep answers apart");
    }
    // What changes state is within no page's reach, whatever is configured.
    let asks = [&format!("Origin: {PAGE}"), "Access-Control-Request-Method: POST"];
    for line in ["OPTIONS /manage/models/raises/unload", "GET /models", "GET /health/ready"] {
        let answer = send(listed.management, line, &asks, b"");
        none(&answer);
        assert_ne!(answer.status, 204, "{line}");
        assert_eq!(answer.header("vary"), None);
    }
    // One page alone may know of requests that could not be read, too.
    let answer = send(listed.http, "GET /health/ready", &["X-A: b", "Bad Header: c"], b"");
    assert_eq!(answer.status, 400);
    assert_eq!(answer.header("access-control-allow-origin"), Some(PAGE));
    let answer = send(listed.management, "GET /health/ready", &["Bad Header: c"], b"");
    assert_eq!(answer.status, 400);
    none(&answer);
}

#[test]
fn all_pages_or_none() {
    let any = server("*");
    let asks = ["Origin: https://any.example", "Access-Control-Request-Method: PUT"];
    let answer = send(any.http, "OPTIONS /predictions/none", &asks, b"");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")));
    let answer = get(any.http, "/predict/raises");
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (405, Some("*")));
    assert_eq!(answer.header("vary"), None, "all get the same answer");
    drop(any);

    let shared = Server::shared();
    let answer = send(shared.http, "OPTIONS /predict/raises", &asks, b"");
    answer.failed(405, "method_not_allowed");
    let answer = send(shared.http, "POST /predict/raises", &asks, GOOD);
    assert_eq!(answer.status, 200);
    for name in ["access-control-allow-origin", "access-control-expose-headers", "vary"] {
        assert_eq!(answer.header(name), None, "{name} unless it is configured");
    }
}
