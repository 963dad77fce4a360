//! The example models and the reference: the right answers, in the right form.

use crate::harness::{Raw, Server, held_out, post, post_with, request};
use serde_json::{Value, json};
use std::slice::from_ref;

/// Answers agree when they differ by no more than this times the largest reference value.
const TOLERANCE: f64 = 1e-5;

#[track_caller]
fn assert_agrees(what: &str, answers: &[Value], reference: &[Value]) {
    fn numbers(values: &[Value], out: &mut Vec<f64>) {
        for value in values {
            match value {
                Value::Array(inner) => numbers(inner, out),
                number => out.push(number.as_f64().unwrap()),
            }
        }
    }
    let (mut got, mut expected) = (Vec::new(), Vec::new());
    numbers(answers, &mut got);
    numbers(reference, &mut expected);
    assert_eq!(got.len(), expected.len(), "{what} must have as many values as the reference");
    let largest = expected.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    for (position, (got, expected)) in got.iter().zip(&expected).enumerate() {
        let difference = (got - expected).abs();
        assert!(
            difference <= TOLERANCE * largest,
            "{what}, value {position}: {got}, not {expected}"
        );
    }
}

/// Sends rows in chunks of `chunk`, or alone for 1, and gives predictions and labels.
fn predict(server: &Server, model: &str, rows: &[Value], chunk: usize) -> (Vec<Value>, Vec<Value>) {
    let (mut predictions, mut labels) = (Vec::new(), Vec::new());
    for rows in rows.chunks(chunk) {
        if chunk == 1 {
            let body = server.predict(model, &json!({"features": rows[0]})).good();
            predictions.push(body["prediction"].clone());
            labels.push(body["label"].clone());
        } else {
            let body = server.predict(model, &json!({"instances": rows})).good();
            predictions.extend(body["predictions"].as_array().unwrap().iter().cloned());
            labels.extend(body["labels"].as_array().into_iter().flatten().cloned());
        }
    }
    (predictions, labels)
}

#[track_caller]
fn check_accuracy(model: &str, at_least: f64) {
    let server = Server::shared();
    let data = held_out(&format!("held_out/{model}.json"));
    let list = |key: &str| data[key].as_array().unwrap().clone();
    let (rows, truth, reference) = (list("instances"), list("labels"), list("reference"));

    let (batched, labels) = predict(&server, model, &rows, 40);
    assert_agrees("batched", &batched, &reference);
    let name = |label: &Value| match label {
        Value::String(text) => text.clone(),
        number => number.to_string(),
    };
    let right = labels.iter().zip(&truth).filter(|(got, truth)| name(got) == name(truth)).count();
    let accuracy = right as f64 / truth.len() as f64;
    eprintln!("{model}: {right} of {} held-out rows over HTTP, {accuracy:.4}", truth.len());
    assert!(accuracy >= at_least, "{model} has accuracy {accuracy} over HTTP, not {at_least}");

    let few = 30.min(rows.len());
    let (alone, alone_labels) = predict(&server, model, &rows[..few], 1);
    assert_agrees("alone", &alone, &reference[..few]);
    assert_agrees("alone against batched", &alone, &batched[..few]);
    assert_eq!(
        alone_labels,
        labels[..few],
        "a row alone must get the label that it gets in a batch"
    );
}

#[test]
fn breast_cancer_has_its_accuracy_over_http() {
    check_accuracy("breast_cancer", 0.94);
}

#[test]
fn digits_has_its_accuracy_over_http() {
    check_accuracy("digits", 0.96);
}

#[test]
fn tabular_answers_as_pytorch_does() {
    let server = Server::shared();
    let data = held_out("reference/tabular.json");
    let (rows, reference) =
        (data["instances"].as_array().unwrap(), data["reference"].as_array().unwrap());
    let (batched, _) = predict(&server, "tabular", rows, 64);
    let (alone, _) = predict(&server, "tabular", rows, 1);
    assert_agrees("batched", &batched, reference);
    assert_agrees("alone", &alone, reference);
}

#[test]
fn requests_that_are_batched_get_their_own_answers() {
    let server = Server::shared();
    let data = held_out("held_out/digits.json");
    let (rows, reference) =
        (data["instances"].as_array().unwrap(), data["reference"].as_array().unwrap());
    let n_clients = 16;
    std::thread::scope(|scope| {
        for client in 0..n_clients {
            let (server, rows, reference) = (&server, &rows, &reference);
            scope.spawn(move || {
                for position in (client..128).step_by(n_clients) {
                    let body =
                        server.predict("digits", &json!({"features": rows[position]})).good();
                    let (got, expected) = (&body["prediction"], &reference[position]);
                    assert_agrees("one of many", from_ref(got), from_ref(expected));
                }
            });
        }
    });
}

#[test]
fn an_answer_says_all_that_it_should() {
    let server = Server::shared();
    let data = held_out("held_out/digits.json");
    let row = &data["instances"][0];
    let headers = [("x-request-id", "my-own-id-1"), ("content-type", "application/json")];
    let body = json!({"features": row}).to_string();
    let answer = post_with(server.http, "/predict/digits", &headers, body.as_str());
    let json = answer.good();
    assert_eq!(json["model"], "digits");
    assert_eq!(json["version"], "1", "a version is a text");
    assert_eq!(json["request_id"], "my-own-id-1");
    assert_eq!(answer.header("x-request-id"), Some("my-own-id-1"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let timing = answer.header("server-timing").unwrap();
    for phase in ["decode", "queue", "input", "compute", "output", "encode"] {
        assert!(timing.contains(&format!("{phase};dur=")), "{phase} must be in {timing}");
    }
    assert_eq!(json["prediction"].as_array().unwrap().len(), 10, "the model's output, whole");
    let top = json["top"].as_array().unwrap();
    assert_eq!((&top[0]["label"], &top[0]["score"]), (&json["label"], &json["score"]));
    let score = json["score"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&score), "softmax gives probabilities, not {score}");
    assert!(
        top.windows(2).all(|pair| pair[0]["score"].as_f64() >= pair[1]["score"].as_f64()),
        "{top:?}"
    );

    let other = post_with(server.http, "/predict/digits/versions/1", &[], body.as_str());
    assert_eq!(other.good()["label"], json["label"], "the version named is the one served");
    let made = other.header("x-request-id").unwrap();
    assert!(made.len() >= 8 && made != "my-own-id-1", "an id of our own is made, not {made:?}");
    assert_eq!(other.good()["request_id"], *made);

    let prediction = from_ref(&json["prediction"]);
    let named = server.predict("digits", &json!({"inputs": {"pixels": [row]}})).good();
    assert_agrees("by name", named["outputs"]["logits"].as_array().unwrap(), prediction);
    let many = server.predict("digits", &json!({"instances": [row, row]})).good();
    let two = [&prediction[0], &prediction[0]].map(Value::clone);
    assert_agrees("two of the same", many["predictions"].as_array().unwrap(), &two);
    assert_eq!(many["labels"], json!([json["label"], json["label"]]));
}

#[test]
fn a_plain_curl_is_answered() {
    let server = Server::shared();
    let body =
        json!({"features": held_out("held_out/breast_cancer.json")["instances"][0]}).to_string();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = post_with(server.http, "/predict/breast_cancer", &form, body.as_str()).good();
    assert!(["benign", "malignant"].contains(&answer["label"].as_str().unwrap()), "{answer}");
    let management = post(server.management, "/predict/breast_cancer", body);
    assert_eq!(management.good()["label"], answer["label"], "both listeners predict");
}

#[test]
fn plain_bytes_are_answered_like_instances() {
    let server = Server::shared();
    let rows = held_out("held_out/digits.json")["instances"].as_array().unwrap()[..3].to_vec();
    let numbers = rows.iter().flat_map(|row| row.as_array().unwrap());
    let bytes: Vec<u8> =
        numbers.flat_map(|number| (number.as_f64().unwrap() as f32).to_le_bytes()).collect();
    let send = |bytes: &[u8]| {
        let headers = ["Content-Type: application/octet-stream"];
        let mut client = Raw::connect(server.http);
        client.send(&request("POST /predict/digits", &headers, bytes)).unwrap();
        client.answer().expect("an answer")
    };
    let answer = send(&bytes).good();
    let expected = server.predict("digits", &json!({"instances": rows})).good();
    assert_agrees(
        "plain bytes",
        answer["predictions"].as_array().unwrap(),
        expected["predictions"].as_array().unwrap(),
    );
    assert_eq!(answer["labels"], expected["labels"]);
    let refused = send(&bytes[1..]).failed(400, "invalid_input");
    assert_eq!(refused["expected"], "a multiple of the 3136 bytes of a row");
}
