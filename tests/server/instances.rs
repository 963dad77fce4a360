//! TensorFlow Serving's REST protocol over real sockets, which KServe calls V1.

use crate::harness::{Models, Server, Settings, get, post, post_with};
use serde_json::{Value, json};

fn predict(server: &Server, model: &str, body: impl Into<String>) -> Value {
    post(server.http, &format!("/v1/models/{model}:predict"), body).good()
}

#[test]
fn rows_and_columns_are_answered_in_their_form() {
    let server = Server::shared();
    let rows = r#"{"signature_name":"serving_default","instances":[[1,2,3,4],[5,6,7,8]]}"#;
    let native = post(server.http, "/predict/bare", r#"{"instances":[[1,2,3,4],[5,6,7,8]]}"#);
    let expected = native.good()["predictions"].clone();
    assert_eq!(predict(&server, "bare", rows), json!({"predictions": expected}));
    assert_eq!(predict(&server, "bare/versions/1", rows), json!({"predictions": expected}));
    let columns = r#"{"inputs":[[1,2,3,4],[5,6,7,8]]}"#;
    assert_eq!(predict(&server, "bare", columns), json!({"outputs": expected}));
    // What `curl -d` sends, at the other address.
    let path = "/v1/models/bare:predict";
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = post_with(server.management, path, &form, columns);
    assert_eq!(answer.good(), json!({"outputs": expected}));
    assert!(answer.header("server-timing").is_some() && answer.header("x-request-id").is_some());

    let body = r#"{"instances":[{"a":[1,2,3],"b":10},{"b":20,"a":[0.5,0.25,-1]}]}"#;
    assert_eq!(predict(&server, "two_inputs", body), json!({"predictions": [16.0, 19.75]}));
    let body = r#"{"inputs":{"a":[[1,2,3]],"b":[10]},"parameters":{"x":1}}"#;
    assert_eq!(predict(&server, "two_inputs", body), json!({"outputs": [16.0]}));
    let expected = json!({"predictions": [{"first": [2.0, 4.0], "second": [3.0, 4.0, 5.0]}]});
    assert_eq!(predict(&server, "multi_output", r#"{"instances":[[1,2,3,4]]}"#), expected);
    // A model with labels: this protocol has outputs alone.
    let body = std::fs::read_to_string("models/breast_cancer/sample.json").unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    let body = json!({"instances": [body["features"]]}).to_string();
    assert_eq!(predict(&server, "breast_cancer", body).as_object().unwrap().len(), 1);
}

#[test]
fn texts_and_words_for_what_is_not_finite_go_both_ways() {
    let server = Server::shared();
    let path = "/v1/models/nan:predict";
    let answer = post(server.http, path, r#"{"instances":[[-1,0,1.5,NaN],[2,3,4,Infinity]]}"#);
    let expected = "{\"predictions\":[[NaN,Infinity,1.5,NaN],[2.0,3.0,4.0,Infinity]]}";
    assert_eq!((answer.status, &*answer.text()), (200, expected));
    let body = r#"{"inputs":{"words":["ab",{"b64":"Y2Rl"}]}}"#;
    let outputs = &predict(&server, "texts", body)["outputs"];
    let texts = outputs.as_object().unwrap().values().find(|value| value[0].is_string());
    assert_eq!(texts, Some(&json!(["AB", "CDE"])));
}

#[test]
fn models_are_described_in_the_words_of_both() {
    let server = Server::shared();
    let models = get(server.http, "/v1/models").good();
    let has = |name: &str| models["models"].as_array().unwrap().contains(&json!(name));
    assert!(has("bare") && has("digits"), "{models}");
    let status = json!({
        "name": "bare",
        "ready": true,
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
        ],
    });
    for path in ["/v1/models/bare", "/v1/models/bare/versions/1"] {
        assert_eq!(get(server.http, path).good(), status, "{path}");
        assert_eq!(get(server.management, path).good(), status, "{path}");
    }
    let dims = |sizes: &[&str]| -> Value {
        sizes.iter().map(|size| json!({"size": size, "name": ""})).collect()
    };
    let tensor = |name: &str, dtype: &str, sizes: &[&str]| {
        let shape = json!({"dim": dims(sizes), "unknown_rank": false});
        json!({"dtype": dtype, "tensor_shape": shape, "name": name})
    };
    let signature = json!({
        "inputs": {
            "a": tensor("a", "DT_FLOAT", &["-1", "3"]),
            "b": tensor("b", "DT_INT64", &["-1"]),
        },
        "outputs": {"sum": tensor("sum", "DT_FLOAT", &["-1"])},
        "method_name": "tensorflow/serving/predict",
    });
    let metadata = json!({
        "model_spec": {"name": "two_inputs", "signature_name": "", "version": "1"},
        "metadata": {"signature_def": {"signature_def": {"serving_default": signature}}},
    });
    for path in ["/v1/models/two_inputs/metadata", "/v1/models/two_inputs/versions/1/metadata"] {
        assert_eq!(get(server.http, path).good(), metadata, "{path}");
    }
}

#[test]
fn a_model_that_is_not_ready_is_described_all_the_same() {
    let server = Settings::new(Models::new().fixture("bare").broken("empty")).start();
    server.wait("both must come to their end", || {
        let is = |model: &str, state: &str| {
            let answer = get(server.http, &format!("/v1/models/{model}"));
            answer.good()["model_version_status"][0]["state"] == state
        };
        is("bare", "AVAILABLE") && is("empty", "END")
    });
    let status = get(server.http, "/v1/models/empty").good();
    assert_eq!(status["ready"], false, "{status}");
    let told = &status["model_version_status"][0]["status"];
    assert_eq!(told["error_code"], "FAILED_PRECONDITION", "{status}");
    let body = r#"{"instances":[[1]]}"#;
    post(server.http, "/v1/models/empty:predict", body).failed(503, "model_not_ready");
    get(server.http, "/v1/models/empty/metadata").failed(503, "model_not_ready");
    // By an order, on the other hand, a version ends without an error.
    post(server.management, "/manage/models/bare/unload", "").good();
    server.wait("an unloaded version must come to its end", || {
        let status = get(server.http, "/v1/models/bare").good();
        let told = &status["model_version_status"][0];
        told["state"] == "END" && told["status"]["error_code"] == "OK" && status["ready"] == false
    });
}

#[test]
fn what_is_wrong_is_told_with_its_status() {
    let server = Server::shared();
    let rows = r#"{"instances":[[1,2,3,4]]}"#;
    for (path, body, status, code) in [
        ("bare:predict", "", 400, "invalid_body"),
        ("bare:predict", r#"{"instances":[[1,2,3,4]]"#, 400, "invalid_json"),
        ("bare:predict", "[[1,2,3,4]]", 400, "invalid_body"),
        ("bare:predict", "{}", 400, "invalid_body"),
        ("bare:predict", r#"{"features":[1,2,3,4]}"#, 400, "invalid_body"),
        ("bare:predict", r#"{"instances":[],"inputs":[]}"#, 400, "invalid_input"),
        ("bare:predict", r#"{"inputs":[[1,2,3,4]],"instances":[]}"#, 400, "invalid_body"),
        ("bare:predict", r#"{"signature_name":"x","inputs":[[1,2,3,4]]}"#, 400, "invalid_body"),
        ("bare:predict", r#"{"signature_name":1,"inputs":[[1,2,3,4]]}"#, 400, "invalid_body"),
        ("bare:predict", r#"{"inputs":{"y":[[1,2,3,4]]}}"#, 400, "invalid_input"),
        ("bare:predict", r#"{"inputs":{}}"#, 400, "invalid_input"),
        ("bare:predict", r#"{"inputs":[[1,2,3]]}"#, 400, "invalid_input"),
        ("bare:predict", r#"{"inputs":[["1",2,3,4]]}"#, 400, "invalid_input"),
        ("bare:predict", r#"{"inputs":[[1e39,2,3,4]]}"#, 400, "invalid_input"),
        ("two_inputs:predict", r#"{"inputs":[[1,2,3]]}"#, 400, "invalid_body"),
        ("two_inputs:predict", r#"{"instances":[[1,2,3]]}"#, 400, "invalid_body"),
        ("integers:predict", r#"{"inputs":{"large":[[NaN,0]]}}"#, 400, "invalid_input"),
        ("texts:predict", r#"{"inputs":[{"b64":"*"}]}"#, 400, "invalid_input"),
        ("bare:classify", rows, 501, "unsupported"),
        ("bare:explain", rows, 501, "unsupported"),
        ("bare/versions/1:regress", rows, 501, "unsupported"),
        ("bare/labels/prod:predict", rows, 404, "version_not_found"),
        ("bare/labels/stable:classify", rows, 501, "unsupported"),
        ("bare:nothing", rows, 404, "route_not_found"),
        ("bare:predict:predict", rows, 404, "route_not_found"),
        ("bare", rows, 405, "method_not_allowed"),
        ("bare/versions/1", rows, 405, "method_not_allowed"),
        ("bare/metadata", rows, 405, "method_not_allowed"),
        ("none:predict", rows, 404, "model_not_found"),
        ("bare%20:predict", rows, 404, "model_not_found"),
        (":predict", rows, 404, "model_not_found"),
        ("bare/versions/9:predict", rows, 404, "version_not_found"),
        ("bare/versions/01:predict", rows, 404, "version_not_found"),
    ] {
        let answer = post(server.http, &format!("/v1/models/{path}"), body);
        let error = answer.failed(status, code);
        assert!(error["error"].is_string(), "{path} {body}: {error}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{path}");
    }
    for (path, status, code) in [
        ("/v1/models/none", 404, "model_not_found"),
        ("/v1/models/bare/versions/9", 404, "version_not_found"),
        ("/v1/models/bare/versions/x", 404, "version_not_found"),
        ("/v1/models/none/metadata", 404, "model_not_found"),
        ("/v1/models/bare/labels/prod", 404, "version_not_found"),
        ("/v1/models/bare/labels/prod/metadata", 404, "version_not_found"),
        ("/v1/models/bare:predict", 405, "method_not_allowed"),
        ("/v1", 404, "route_not_found"),
    ] {
        get(server.http, path).failed(status, code);
    }
    let plain = [("content-type", "application/octet-stream")];
    let answer = post_with(server.http, "/v1/models/bare:predict", &plain, "0123456789abcdef");
    answer.failed(415, "unsupported_media_type");
}

#[test]
fn each_verb_is_counted_as_a_route() {
    let server = Server::shared();
    let count = |route: &str, status: u16| {
        let series = format!(
            "sconce_http_requests_total{{method=\"POST\",route=\"{route}\",status=\"{status}\"}}"
        );
        server.metric(&series)
    };
    let predicts = "/v1/models/{model}:predict";
    let explains = "/v1/models/{model}/versions/{version}:explain";
    let before = [count(predicts, 200), count(explains, 501), count("<unmatched>", 404)];
    predict(&server, "bare", r#"{"instances":[[1,2,3,4]]}"#);
    post(server.http, "/v1/models/bare/versions/1:explain", "{}").failed(501, "unsupported");
    post(server.http, "/v1/models/bare:else", "{}").failed(404, "route_not_found");
    assert!(count(predicts, 200) >= before[0] + 1.0, "other tests predict as well");
    assert!(count(explains, 501) >= before[1] + 1.0);
    assert!(count("<unmatched>", 404) >= before[2] + 1.0);
}

/// TensorFlow Serving looks at no content type, and what programs say of a text is not always JSON's.
#[test]
fn a_text_is_json_whatever_its_sender_calls_it() {
    let server = Server::shared();
    let rows = r#"{"instances":[[1,2,3,4]]}"#;
    let none: &[(&str, &str)] = &[];
    for (path, key) in
        [("/v1/models/bare:predict", "predictions"), ("/predict/bare", "predictions")]
    {
        let expected = post(server.http, path, rows).good()[key].clone();
        let untyped = post_with(server.http, path, none, rows);
        assert_eq!(untyped.good()[key], expected, "{path} without a type");
        for content_type in [
            "text/plain",
            "text/plain;charset=UTF-8",
            "Text/Plain; Charset=utf-8",
            "TEXT/JSON",
            "application/x-www-form-urlencoded; charset=UTF-8",
            "Application/Json;charset=iso-8859-1",
            "application/problem+json",
        ] {
            let answer = post_with(server.http, path, &[("content-type", content_type)], rows);
            assert_eq!(answer.good()[key], expected, "{path} {content_type}");
        }
        for content_type in ["text/html", "image/png", "multipart/form-data; boundary=x"] {
            let answer = post_with(server.http, path, &[("content-type", content_type)], rows);
            answer.failed(415, "unsupported_media_type");
            assert_eq!(answer.header("accept-encoding"), None, "it is not about codings");
        }
    }
}
