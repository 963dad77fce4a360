//! Packed bodies: what is one body, what is none, on the routes of every protocol.

use super::{Case, check_table};
use crate::harness::{Raw, Server, request};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::json;
use std::io::Write;

const ROWS: &[u8] = br#"{"instances": [[1, 2, 3, 4]]}"#;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Sends a body to `raises`, which doubles its row.
#[track_caller]
fn check(server: &Server, path: &str, headers: &[&str], body: &[u8]) {
    let mut raw = Raw::connect(server.http);
    raw.send(&request(&format!("POST {path}"), headers, body)).unwrap();
    let answer = raw.answer().unwrap();
    let text = answer.text();
    assert!(answer.status == 200 && text.contains("2.0,4.0,6.0,8.0"), "{path} {headers:?}: {text}");
}

#[test]
fn packed_bodies_are_taken_by_every_route() {
    let server = Server::shared();
    let (head, tail) = ROWS.split_at(7);
    let members = [gzip(head), gzip(b""), gzip(tail)].concat();
    let v2 = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]});
    let v2 = v2.to_string().into_bytes();
    for path in ["/predict/raises", "/v1/models/raises:predict", "/predictions/raises"] {
        let json = "Content-Type: application/json";
        for coding in ["gzip", "GZIP", "x-gzip", "X-Gzip", "identity, gzip"] {
            let coding = format!("Content-Encoding: {coding}");
            check(&server, path, &[&coding, json], &gzip(ROWS));
            check(&server, path, &[&coding, json], &members);
        }
        check(&server, path, &["Content-Encoding: Deflate", json], &deflate(ROWS));
        check(&server, path, &["Content-Encoding: gzip, deflate", json], &deflate(&gzip(ROWS)));
        let two = ["Content-Encoding: gzip", "Content-Encoding: deflate", json];
        check(&server, path, &two, &deflate(&gzip(ROWS)));
        check(&server, path, &["Content-Encoding: identity", json], ROWS);
    }
    check(&server, "/v2/models/raises/infer", &["Content-Encoding: X-GZIP"], &gzip(&v2));

    let floats: Vec<u8> = [1f32, 2.0, 3.0, 4.0].iter().flat_map(|it| it.to_le_bytes()).collect();
    let (first, second) = floats.split_at(5);
    let plain = [gzip(first), gzip(second)].concat();
    let octets = "Content-Type: application/octet-stream";
    check(&server, "/predict/raises", &["Content-Encoding: GZip", octets], &plain);
    check(&server, "/predictions/raises", &["Content-Encoding: x-gzip", octets], &plain);
    // The length of the JSON counts in what is unpacked.
    let described = json!({
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}],
    })
    .to_string()
    .into_bytes();
    let length = format!("Inference-Header-Content-Length: {}", described.len());
    let binary = [gzip(&described), gzip(&floats)].concat();
    let headers = ["Content-Encoding: GZIP", length.as_str()];
    check(&server, "/v2/models/raises/infer", &headers, &binary);
}

#[test]
fn what_is_packed_otherwise_than_announced_is_refused() {
    let whole = gzip(ROWS);
    let case = |name: &str, coding: &str, body: &[u8], (status, code): (u16, &'static str)| {
        let coding = format!("Content-Encoding: {coding}");
        Case::new(name, request("POST /predict/raises", &[&coding], body), status, code)
    };
    let malformed = (400, "invalid_request");
    let unknown = (415, "unsupported_media_type");
    check_table(&[
        case("bytes behind gzip", "gzip", &[&whole[..], b"\0"].concat(), malformed),
        case("a body behind gzip", "gzip", &[&whole[..], ROWS].concat(), malformed),
        case("a member cut off", "gzip", &[&whole, &whole[..20]].concat(), malformed),
        case("a wrong checksum", "gzip", &[&whole[..whole.len() - 1], b"\x01"].concat(), malformed),
        case("deflate cut off", "deflate", &deflate(ROWS)[..20], malformed),
        case("bytes behind deflate", "deflate", &[&deflate(ROWS)[..], b"\0"].concat(), malformed),
        case("two deflate streams", "deflate", &deflate(ROWS).repeat(2), malformed),
        case("gzip called deflate", "deflate", &whole, malformed),
        case("many empty members", "gzip", &gzip(b"").repeat(10_000), malformed),
        case("nothing in it", "gzip", &gzip(b""), (400, "invalid_body")),
        case("nothing at all", "gzip", b"", (400, "invalid_body")),
        case("an unknown coding", "br", ROWS, unknown),
        case("an unknown coding over a known one", "gzip, br", &whole, unknown),
        case("many codings", "gzip,gzip,gzip,gzip,gzip", &whole, unknown),
        case("a large one", "gzip", &gzip(&vec![b' '; 17 << 20]), (413, "body_too_large")),
        case(
            "a large one twice",
            "gzip,gzip",
            &gzip(&gzip(&vec![b' '; 17 << 20])),
            (413, "body_too_large"),
        ),
    ]);
    let server = Server::shared();
    let mut raw = Raw::connect(server.http);
    raw.send(&request("POST /predict/raises", &["Content-Encoding: zstd"], ROWS)).unwrap();
    let answer = raw.answer().unwrap();
    assert_eq!(answer.header("accept-encoding"), Some("gzip, deflate"), "415 says what is taken");
    assert_eq!(answer.json()["expected"], "gzip or deflate");
}
