//! Good answers of every protocol, and errors that have more to tell than their code.

use super::ask::{Ask, ask, get, post};
use super::errors::native;
use super::site::{Sites, State};
use super::snapshot::{Snapshot, render};

/// Asks one after the other, each state of a server on one that is made for it, and holds the answers to a file.
async fn check(name: &str, asks: Vec<(&str, Ask)>) {
    let mut sites = Sites::default();
    let mut snapshot = Snapshot::default();
    for (title, ask) in asks {
        let answer = render(sites.answer(&ask).await).await;
        snapshot.add(title, &format!("{ask}---\n{answer}"));
    }
    snapshot.check(name);
}

/// A number as it lies in memory, which happens to be text.
const RAW: &str = "0000";

#[tokio::test]
async fn of_the_native_protocol() {
    let labeled = |body: &str| post("/predict/labeled", body);
    let asks = vec![
        ("one row", post("/predict/m", r#"{"features":[1.5]}"#)),
        ("rows", post("/predict/m", r#"{"instances":[[1],[2]]}"#)),
        ("rows by name", post("/predict/m", r#"{"instances":[{"x":[1]},{"x":[2]}]}"#)),
        ("tensors", post("/predict/m", r#"{"inputs":{"x":[[1],[2]]}}"#)),
        ("a version", native("m", 1.0).at("/predict/m/versions/1")),
        ("bytes", native("m", 1.0).with("content-type", "application/octet-stream").body(RAW)),
        ("labels of one row", labeled(r#"{"features":[1,3]}"#)),
        ("labels of rows", labeled(r#"{"instances":[[1,3],[4,2]]}"#)),
        ("labels of tensors", labeled(r#"{"inputs":{"x":[[1,3]]}}"#)),
        ("on the management listener", native("m", 1.0).management()),
        ("an id of the caller", native("m", 1.0).with("x-request-id", "the-caller-s-own")),
        ("an id that is none", native("m", 1.0).with("x-request-id", "with a space")),
        ("a model that is being loaded", native("m", 1.0).to(State::Loading)),
        (
            "a version of one that is",
            native("m", 1.0).at("/predict/m/versions/1").to(State::Loading),
        ),
        ("a version that failed", native("m", 1.0).at("/predict/failed/versions/1")),
        ("a name that is none", native("m", 1.0).at("/predict/-m")),
        ("a name that is no text", native("m", 1.0).at("/predict/%ff")),
        ("a version that is no number", native("m", 1.0).at("/predict/m/versions/01")),
        ("a body that breaks the handler", native("m", 1.0).breaking()),
        ("a body that breaks off", native("m", 1.0).cut_off()),
        ("no time at all", native("m", 1.0).with("x-request-timeout-ms", "0")),
        ("a packed body that is none", native("m", 1.0).with("content-encoding", "gzip")),
    ];
    check("answers/native", asks).await;
}

#[tokio::test]
async fn of_the_open_inference_protocol() {
    const X: &str = r#"{"name":"x","datatype":"FP32","shape":[2,1],"data":[1,2]}"#;
    let infer = |rest: &str| post("/v2/models/m/infer", format!(r#"{{"inputs":[{X}]{rest}}}"#));
    let labeled = |rest: &str| {
        let x = r#"{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,3]}"#;
        post("/v2/models/labeled/infer", format!(r#"{{"inputs":[{x}]{rest}}}"#))
    };
    let head = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"parameters":{"binary_data_size":4}}]}"#;
    let length = head.len().to_string();
    let asks = vec![
        ("rows", infer("")),
        ("an id", infer(r#","id":"the-caller-s-own""#)),
        ("a version", infer("").at("/v2/models/m/versions/1/infer")),
        ("an output that is asked for", infer(r#","outputs":[{"name":"y"}]"#)),
        ("an output that is not there", infer(r#","outputs":[{"name":"z"}]"#)),
        ("bytes in the answer", infer(r#","parameters":{"binary_data_output":true}"#)),
        (
            "bytes in the request",
            infer("").with("inference-header-content-length", length).body(format!("{head}{RAW}")),
        ),
        ("a wrong length", infer("").with("inference-header-content-length", "9999")),
        ("a packed answer", infer("").with("accept-encoding", "gzip")),
        ("classes", labeled(r#","outputs":[{"name":"y","parameters":{"classification":2}}]"#)),
        ("a model with labels", labeled("")),
        ("a time of the body", infer(r#","parameters":{"timeout":30000000}"#)),
        ("on the management listener", infer("").management()),
        ("the index", post("/v2/repository/index", "")),
        ("the index of what is ready", post("/v2/repository/index", r#"{"ready":true}"#)),
        ("the index while models are loaded", post("/v2/repository/index", "").to(State::Loading)),
        ("an index of another form", post("/v2/repository/index", r#"{"ready":1}"#)),
        ("an index that is no JSON", post("/v2/repository/index", "{")),
        ("an index that does not come", post("/v2/repository/index", "").stalled()),
        (
            "a load by parameters",
            post("/v2/repository/models/m/load", r#"{"parameters":{"config":"{}"}}"#).management(),
        ),
        (
            "a load with a wrong parameter",
            post("/v2/repository/models/m/load", r#"{"parameters":{"x":1}}"#).management(),
        ),
        ("a load that fails", ask("POST", "/v2/repository/models/failed/load").management()),
        ("a load", ask("POST", "/v2/repository/models/m/load").management()),
        ("an unload", ask("POST", "/v2/repository/models/m/unload").management()),
        ("a model that was unloaded", infer("")),
        ("whether it is ready", get("/v2/models/m/ready")),
    ];
    check("answers/open_inference", asks).await;
}

#[tokio::test]
async fn of_tensorflow_serving() {
    let predict = |model: &str, body: &str| post(format!("/v1/models/{model}:predict"), body);
    let asks = vec![
        ("rows", predict("m", r#"{"instances":[[1],[2]]}"#)),
        ("rows by name", predict("m", r#"{"instances":[{"x":[1]}]}"#)),
        ("a tensor", predict("m", r#"{"inputs":[[1],[2]]}"#)),
        ("tensors by name", predict("m", r#"{"inputs":{"x":[[1]]}}"#)),
        ("another signature", predict("m", r#"{"signature_name":"other","instances":[[1]]}"#)),
        ("a version", predict("m/versions/1", r#"{"instances":[[1]]}"#)),
        ("a model with labels", predict("labeled", r#"{"instances":[[1,3]]}"#)),
        ("on the management listener", predict("m", r#"{"instances":[[1]]}"#).management()),
        ("regressions", predict("m", "{}").at("/v1/models/m/versions/1:regress")),
        ("a version without a verb", predict("m", "{}").at("/v1/models/m/versions/1")),
        ("a prediction by GET", get("/v1/models/m:predict")),
        ("a version's prediction by GET", get("/v1/models/m/versions/1:predict")),
        ("a label", get("/v1/models/m/labels/stable")),
    ];
    check("answers/tensorflow_serving", asks).await;
}

#[tokio::test]
async fn of_torchserve() {
    let form = "--x\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n[[1]]\r\n--x--\r\n";
    let predict = |body: &str| post("/predictions/m", body);
    let asks = vec![
        ("one row", predict("[1]")),
        ("rows", predict("[[1],[2]]")),
        ("data", predict(r#"{"data":[1]}"#)),
        ("instances", predict(r#"{"instances":[[1],[2]]}"#)),
        ("tensors", predict(r#"{"inputs":{"x":[[1]]}}"#)),
        ("bytes", predict(RAW).with("content-type", "application/octet-stream")),
        ("a form", predict(form).with("content-type", "multipart/form-data; boundary=x")),
        ("a form without a boundary", predict(form).with("content-type", "multipart/form-data")),
        ("a version", predict("[1]").at("/predictions/m/1")),
        ("by PUT", ask("PUT", "/predictions/m").body("[1]")),
        ("labels of one row", predict("[1,3]").at("/predictions/labeled")),
        ("labels of rows", predict("[[1,3],[4,2]]").at("/predictions/labeled")),
        ("on the management listener", predict("[1]").management()),
        ("a body that breaks the handler", predict("").breaking()),
        ("a model that is being loaded", predict("[1]").to(State::Loading)),
    ];
    check("answers/torchserve", asks).await;
}

#[tokio::test]
async fn of_what_changes_models() {
    let order = |path: &'static str| ask("POST", path).management();
    let torchserve = |method, path: &'static str| ask(method, path).management();
    let asks = vec![
        ("a default", order("/manage/models/m/versions/1/default")),
        ("a default that is not there", order("/manage/models/m/versions/3/default")),
        ("a default that is not ready", order("/manage/models/failed/versions/1/default")),
        ("the highest again", ask("DELETE", "/manage/models/m/default").management()),
        ("a reload", order("/manage/models/m/reload")),
        ("a reload that fails", order("/manage/models/failed/reload")),
        ("a reload of what is not there", order("/manage/models/absent/reload")),
        ("a reload while models are loaded", order("/manage/models/m/reload").to(State::Loading)),
        ("TorchServe's default", torchserve("PUT", "/models/m/1/set-default")),
        ("TorchServe's unload of the default", torchserve("DELETE", "/models/m/1")),
        ("TorchServe's unload of a version", torchserve("DELETE", "/models/m/7")),
        ("its description", torchserve("GET", "/models/m/all")),
        ("an unload of the last version", order("/manage/models/m/versions/1/unload")),
        ("the model then", native("m", 1.0)),
        ("an unload", order("/manage/models/one/unload")),
        ("TorchServe's unload", torchserve("DELETE", "/models/labeled")),
        ("TorchServe's list", torchserve("GET", "/models?limit=1")),
        ("its next page", torchserve("GET", "/models?limit=1&next_page_token=1")),
        ("TorchServe's scaling", torchserve("PUT", "/models/m?min_worker=2")),
        ("readiness without what was unloaded", get("/health/ready")),
        (
            "an order of a page",
            order("/manage/models/m/reload").with("origin", "https://evil.example"),
        ),
        (
            "an order of another site",
            order("/manage/models/m/reload").with("sec-fetch-site", "cross-site"),
        ),
        ("a name of another host", get("/manage/models").management().with("host", "evil.example")),
    ];
    check("answers/changes", asks).await;
}

#[tokio::test]
async fn to_pages_of_other_origins() {
    const ORIGIN: &str = "https://app.example.com";
    let preflight = |ask: Ask, origin: &str| {
        ask.with("origin", origin)
            .with("access-control-request-method", "POST")
            .with("access-control-request-headers", "content-type")
    };
    let options = || ask("OPTIONS", "/predict/m");
    let asks = vec![
        ("a page that is granted", native("m", 1.0).with("origin", ORIGIN)),
        ("an error of it", native("absent", 1.0).with("origin", ORIGIN)),
        ("another page", native("m", 1.0).with("origin", "https://evil.example")),
        ("what may be sent", preflight(options(), ORIGIN)),
        ("what another page may send", preflight(options(), "https://evil.example")),
        ("OPTIONS that are no question", options().with("origin", ORIGIN)),
        ("the management listener", get("/models").management().with("origin", ORIGIN)),
        ("its preflight", preflight(options().management(), ORIGIN)),
    ];
    check("answers/cors", asks).await;
}
