//! Labels that come back, from the answer with its token to the figures.

use super::ask::{Ask, get, post};
use super::site::{Site, State};
use http_body_util::BodyExt;
use serde_json::{Value, json};

/// The status, the token and the document of an answer.
async fn tell(site: &Site, ask: &Ask) -> (u16, Option<String>, Value) {
    let answer = site.answer(ask).await;
    let status = answer.status().as_u16();
    let token = answer.headers().get("sconce-feedback");
    let token = token.map(|token| token.to_str().unwrap().to_owned());
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, token, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn token(site: &Site, path: &str, body: &str) -> String {
    let (status, token, answer) = tell(site, &post(path, body).with("sconce-feedback", "1")).await;
    token.unwrap_or_else(|| panic!("a token was asked for: {status} {answer}"))
}

/// What becomes of one label.
async fn outcome(site: &Site, model: &str, item: Value) -> (String, String) {
    let (status, _, receipt) =
        tell(site, &post(format!("/feedback/{model}"), item.to_string())).await;
    assert_eq!(status, 202, "{receipt}");
    let outcomes = receipt["outcomes"].as_object().unwrap();
    let (name, _) = outcomes.iter().find(|(_, n)| **n != 0).unwrap();
    (name.clone(), receipt["problems"][0]["error"].as_str().unwrap_or_default().to_owned())
}

async fn quality(site: &Site, model: &str) -> Value {
    tell(site, &get(format!("/models/{model}/quality"))).await.2["versions"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
        .clone()
}

#[tokio::test]
async fn a_label_finds_its_answer_whatever_the_protocol() {
    let site = Site::new(State::Serving).await;
    let v2 = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[4,2]}]}"#;
    let asks = [
        ("/predict/labeled", r#"{"features":[1,3]}"#, "dog"),
        ("/v2/models/labeled/infer", v2, "dog"),
        ("/v1/models/labeled:predict", r#"{"instances":[[4,2]]}"#, "cat"),
    ];
    for (path, body, actual) in asks {
        let (_, none, _) = tell(&site, &post(path, body)).await;
        assert_eq!(none, None, "who does not ask gets none");
        let token = token(&site, path, body).await;
        let item = json!({"token": token, "actual": actual});
        assert_eq!(outcome(&site, "labeled", item).await.0, "counted", "{path}");
    }
    let quality = quality(&site, "labeled").await;
    assert_eq!((&quality["tokens"], &quality["labels"]), (&json!(3), &json!(3)));
    let figures = &quality["classification"];
    assert_eq!(figures["confusion"], json!([[1, 0], [1, 1]]));
    assert_eq!(figures["accuracy"], json!(2.0 / 3.0));
    assert_eq!(figures["calibration_error"], Value::Null, "3 and 4 are no probabilities");
}

#[tokio::test]
async fn what_cannot_count_says_why_and_may_come_again_mended() {
    let site = Site::new(State::Serving).await;
    let token = token(&site, "/predict/labeled", r#"{"instances":[[1,3],[4,2]]}"#).await;
    let of = |actual: Value| json!({"token": token, "actual": actual});
    for (item, expected, why) in [
        (of(json!(["dog", "bird"])), "bad_label", "the model has no label \"bird\""),
        (of(json!("dog")), "bad_label", "1 labels of an answer with 2 rows"),
        (json!({"token": &token[1..], "actual": "dog"}), "bad_token", "the token "),
        (json!({"token": "x", "actual": "dog"}), "bad_token", "the token is no base64url"),
        (of(json!(["dog", null])), "counted", ""),
        (of(json!(["dog", "cat"])), "duplicate", "the answer has its label already"),
    ] {
        let got = outcome(&site, "labeled", item.clone()).await;
        assert_eq!(got.0, expected, "{item}");
        assert!(got.1.starts_with(why), "{item}: {}", got.1);
    }
    let metrics = site.answer(&get("/metrics")).await.into_body().collect().await.unwrap();
    let metrics = String::from_utf8(metrics.to_bytes().to_vec()).unwrap();
    for line in [
        "sconce_feedback_total{model=\"labeled\",outcome=\"duplicate\"} 2",
        "sconce_feedback_total{model=\"labeled\",outcome=\"bad_label\"} 3",
        "sconce_feedback_actual_total{model=\"labeled\",version=\"1\",label=\"dog\"} 1",
        "sconce_feedback_tokens_total{model=\"labeled\",version=\"1\"} 2",
    ] {
        assert!(metrics.contains(line), "{line} in:\n{metrics}");
    }
    let other = self::token(&site, "/predict/m", r#"{"features":[1.5]}"#).await;
    let other = json!({"token": other, "actual": "dog"});
    assert_eq!(outcome(&site, "labeled", other).await.0, "version_gone", "of another model");
}

#[tokio::test]
async fn numbers_and_answers_that_are_repeated_count() {
    let site = Site::new(State::Serving).await;
    let token = token(&site, "/predict/m", r#"{"features":[1.5]}"#).await;
    assert_eq!(outcome(&site, "m", json!({"token": token, "actual": 1})).await.0, "counted");
    let told = json!({"feedback": [{"version": 7, "predicted": 2.5, "actual": 3}]}).to_string();
    let (status, _, error) = tell(&site, &post("/feedback/m", told.clone())).await;
    assert_eq!((status, &error["code"]), (403, &json!("forbidden")));
    let ask = post("/manage/models/m/feedback", told).management();
    let (status, _, receipt) = tell(&site, &ask).await;
    assert_eq!((status, &receipt["outcomes"]["counted"]), (202, &json!(1)), "{receipt}");
    let quality = quality(&site, "m").await;
    let regression = &quality["regression"];
    assert_eq!((&regression["mae"], &regression["mean_error"]), (&json!(0.5), &json!(0.0)));
}

#[tokio::test]
async fn bodies_that_are_none_are_refused() {
    let site = Site::new(State::Serving).await;
    let many = |n: usize| json!({"feedback": vec![json!({"token": "x", "actual": 1}); n]});
    for (body, status) in [
        (String::new(), 400),
        ("{".into(), 400),
        ("[]".into(), 400),
        (json!({"token": "x"}).to_string(), 400),
        (json!({"actual": 1}).to_string(), 400),
        (json!({"token": "x", "actual": {}}).to_string(), 400),
        (json!({"token": "x", "actual": [[1]]}).to_string(), 400),
        (json!({"token": "x", "actual": vec![1; 257]}).to_string(), 400),
        (json!({"token": "x", "actual": 1, "predicted": 1}).to_string(), 400),
        (json!({"token": "x", "actual": 1, "label": 1}).to_string(), 400),
        (json!({"feedback": [], "actual": 1}).to_string(), 400),
        (many(10_001).to_string(), 400),
        (many(10_000).to_string(), 202),
        (json!({"feedback": []}).to_string(), 202),
        // serde reads lists as objects, member by member.
        (json!([null, "x", null, null, null, 1]).to_string(), 400),
        (json!({"feedback": [["x", null, null, null, 1]]}).to_string(), 400),
    ] {
        let (got, _, answer) = tell(&site, &post("/feedback/labeled", body.clone())).await;
        assert_eq!(got, status, "{body:.80}: {answer}");
        let problems = answer["problems"].as_array().map_or(0, Vec::len);
        assert!(problems <= 10 && (status == 202 || answer["error"].is_string()));
    }
    let item = json!({"token": "x", "actual": 1}).to_string();
    assert_eq!(tell(&site, &post("/feedback/unknown", item.clone())).await.0, 404);
}

#[tokio::test]
async fn labels_of_a_version_that_is_gone_still_count() {
    let site = Site::new(State::Serving).await;
    let token = token(&site, "/predict/labeled", r#"{"features":[1,3]}"#).await;
    let unload = post("/manage/models/labeled/unload", "").management();
    assert_eq!(tell(&site, &unload).await.0, 200);
    let gone = || async { quality(&site, "labeled").await["loaded"] == json!(false) };
    for _ in 0..600 {
        if gone().await {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(gone().await, "nobody holds it any more");
    let item = json!({"token": token, "actual": "cat"});
    assert_eq!(outcome(&site, "labeled", item).await.0, "counted");
    assert_eq!(quality(&site, "labeled").await["labels"], json!(1));
}
