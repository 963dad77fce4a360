//! Elements of `BYTES` that are no texts: whatever the protocol, the client's fault and no instance's.

use super::Before;
use crate::harness::{Raw, Server, request};
use serde_json::json;

#[test]
fn what_is_no_text_is_refused_and_costs_no_instance() {
    let server = Server::shared();
    let before = Before::of(&server);
    let restarts = "sconce_instance_restarts_total{model=\"texts\",version=\"1\"}";
    let n_restarts = server.metric(restarts);
    let described = |size: usize| {
        let parameters = json!({"binary_data_size": size});
        let input =
            json!({"name": "words", "datatype": "BYTES", "shape": [2], "parameters": parameters});
        json!({"inputs": [input]}).to_string()
    };
    let binary = |elements: &[u8]| {
        let json = described(elements.len());
        let header = format!("Inference-Header-Content-Length: {}", json.len());
        let body = [json.as_bytes(), elements].concat();
        request("POST /v2/models/texts/infer", &[&header], &body)
    };
    let raw = request(
        "POST /v2/models/texts/infer",
        &["Inference-Header-Content-Length: 0"],
        b"\xff\xfe",
    );
    let base64 = |path: &str, body: &str| {
        request(&format!("POST {path}"), &["Content-Type: application/json"], body.as_bytes())
    };
    let v1 = base64("/v1/models/texts:predict", r#"{"inputs":{"words":["a",{"b64":"/w=="}]}}"#);
    let v2 =
        r#"{"inputs":[{"name":"words","datatype":"BYTES","shape":[1],"data":[{"b64":"wyg="}]}]}"#;
    let torchserve = base64("/predictions/texts", r#"{"inputs":{"words":[{"b64":"7aCA"}]}}"#);
    let octets = ["Content-Type: application/octet-stream"];
    let plain = request("POST /predictions/texts", &octets, b"\x80abc");
    let form = b"--XX\r\nContent-Disposition: form-data; name=\"words\"\r\n\r\n\xff\r\n--XX--\r\n";
    let form = request(
        "POST /predictions/texts",
        &["Content-Type: multipart/form-data; boundary=XX"],
        form,
    );
    for (name, bytes) in [
        ("V1, base64", v1),
        ("V2, base64", base64("/v2/models/texts/infer", v2)),
        ("V2, binary", binary(b"\x01\0\0\0a\x01\0\0\0\xff")),
        ("V2, binary, cut within a character", binary(b"\x01\0\0\0a\x01\0\0\0\xc3")),
        ("V2, binary, too few", binary(b"\x01\0\0\0a")),
        ("V2, binary, lengths that do not add up", binary(b"\x01\0\0\0a\xff\xff\xff\xff")),
        ("V2, the body alone", raw),
        ("TorchServe, base64", torchserve),
        ("TorchServe, plain bytes", plain),
        ("TorchServe, a form", form),
    ] {
        let mut connection = Raw::connect(server.http);
        connection.send(&bytes).unwrap();
        let answer = connection.answer().unwrap();
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
        assert!(answer.text().contains("input \\\"words\\\""), "{name}: {}", answer.text());
        before.check(&server, name);
    }
    assert_eq!(server.metric(restarts), n_restarts, "no client may have an instance made anew");
    // A text may hold what no terminal shows.
    let good = server.predict("texts", &json!({"inputs": {"words": ["a\u{0}b", "é", ""]}})).good();
    assert_eq!(good["outputs"]["upper"][0], "A\u{0}B");
    before.check_metrics(&server);
}
