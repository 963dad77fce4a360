//! Models that take texts and images, in the words of each protocol.

use crate::harness::{Answer, Models, Server, Settings, get, post, post_with};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{ExtendedColorType, ImageEncoder as _};
use serde_json::{Value, json};
use std::sync::OnceLock;

/// A tokenizer of single words, whose special tokens stand around a text.
const TOKENIZER: &str = r#"{
    "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": {"type": "Lowercase"},
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]}}
    },
    "decoder": null,
    "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "[CLS]": 1, "torch": 7, "sconce": 8, "lamp": 9}, "unk_token": "[UNK]"}
}"#;

const TEXT: &str = "\n[preprocess.text]\ntokenizer = \"tokenizer.json\"\nmax_tokens = 6\n";
const IMAGE: &str = "\n[preprocess.image]\nresize = [8, 8]\ndivide_by = 1.0\n";

const COLUMNS: &str = r#"
[[preprocess.columns]]
name = "age"
mean = 30
std = 3
missing = 36

[[preprocess.columns]]
name = "home town"
categories = ["Paris", "São Paulo", "東京"]
others = "none"
"#;

/// `encoder` takes texts and gives vectors, `pixels` takes images and has labels, `people` takes rows.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let embedding = ["name = \"pooled\"", "name = \"embedding\""];
        let models = Models::new()
            .changed("encoder", "attention", embedding)
            .tail("encoder", TEXT)
            .file("encoder", "tokenizer.json", TOKENIZER)
            .file("encoder", "sample.json", r#"{"text": "a torch"}"#)
            .fixture("attention")
            .changed(
                "pixels",
                "images",
                ["description", "labels = [\"a\", \"b\", \"c\", \"d\"]\ndescription"],
            )
            .tail("pixels", IMAGE)
            .written("people", "return x * 3", COLUMNS);
        Settings::new(models).ready()
    })
}

/// A PNG file of 8 by 8 pixels, each as bright as its place.
fn png() -> Vec<u8> {
    let pixels: Vec<u8> = (0..8 * 8 * 3).map(|place| place as u8).collect();
    let mut file = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut file);
    encoder.write_image(&pixels, 8, 8, ExtendedColorType::Rgb8).unwrap();
    file
}

fn typed(path: &str, content_type: &str, body: &[u8]) -> Answer {
    post_with(server().http, path, &[("content-type", content_type)], body)
}

#[test]
fn a_text_is_its_tokens_whatever_it_comes_in() {
    let server = server();
    let tensors = json!({"inputs": {"input_ids": [[1, 7, 0]], "attention_mask": [[1, 1, 1]]}});
    let expected = server.predict("attention", &tensors).good()["outputs"].clone();
    let own = server.predict("encoder", &tensors).good()["outputs"].clone();
    assert_eq!(own["embedding"], expected["pooled"], "tensors go on to be taken");
    let vector = &expected["pooled"][0];

    let one = server.predict("encoder", &json!({"text": "Torch what"})).good();
    assert_eq!(&one["prediction"]["embedding"], vector);
    let features = server.predict("encoder", &json!({"features": "torch what"})).good();
    assert_eq!(features["prediction"], one["prediction"]);
    let many = server.predict("encoder", &json!({"texts": ["torch what", "lamp"]})).good();
    assert_eq!(many["predictions"].as_array().unwrap().len(), 2);
    let raw = typed("/predict/encoder", "text/plain; charset=utf-8", b"torch what").good();
    assert_eq!(raw["prediction"], one["prediction"]);
    let json_text = typed("/predict/encoder", "text/plain", br#"{"text":"torch what"}"#).good();
    assert_eq!(json_text["prediction"], one["prediction"]);

    let triton = |shape: Value, data: Value| {
        let input = json!({"name": "text", "datatype": "BYTES", "shape": shape, "data": data});
        let body = json!({"inputs": [input]}).to_string();
        let answer = post(server.http, "/v2/models/encoder/infer", body).good();
        answer["outputs"][0]["data"].clone()
    };
    assert_eq!(&triton(json!([1]), json!(["torch what"])), vector);
    assert_eq!(&triton(json!([1, 1]), json!([["torch what"]])), vector);
    let v1 = json!({"instances": ["torch what", {"b64": STANDARD.encode("torch what")}]});
    let v1 = post(server.http, "/v1/models/encoder:predict", v1.to_string()).good();
    assert_eq!(v1["predictions"][0]["embedding"], v1["predictions"][1]["embedding"]);
    assert_eq!(&v1["predictions"][0]["embedding"], vector);
    let serve = typed("/predictions/encoder", "text/plain", b"torch what").good();
    assert_eq!(&serve["embedding"], vector);
}

#[test]
fn embeddings_are_those_of_openai() {
    let ask = |body: Value| post(server().http, "/v1/embeddings", body.to_string());
    let text = server().predict("encoder", &json!({"text": "torch"})).good();
    let answer = ask(json!({"model": "encoder", "input": ["torch", "lamp sconce"]})).good();
    assert_eq!(answer["data"][0]["embedding"], text["prediction"]["embedding"]);
    assert_eq!(answer["usage"], json!({"prompt_tokens": 5, "total_tokens": 5}));
    let ids = ask(json!({"model": "encoder", "input": [1, 7]})).good();
    assert_eq!(ids["data"][0]["embedding"], text["prediction"]["embedding"]);
    assert_eq!(ids["usage"]["total_tokens"], 2);
    let packed = ask(json!({"model": "encoder", "input": "torch", "encoding_format": "base64"}));
    let bytes = STANDARD.decode(packed.good()["data"][0]["embedding"].as_str().unwrap()).unwrap();
    assert_eq!(bytes.len(), 16 * 4);

    // No model is the default one here, as there are several.
    let none = post(server().http, "/embed", json!({"inputs": "torch"}).to_string());
    assert_eq!((none.status, &none.json()["error_type"]), (400, &json!("Validation")));

    let failed = |body: Value, status: u16| {
        let answer = ask(body);
        assert_eq!(answer.status, status, "{}", answer.text());
        answer.json()["error"].clone()
    };
    let error = failed(json!({"model": "nobody", "input": "x"}), 404);
    assert_eq!(
        (&error["type"], &error["code"]),
        (&json!("invalid_request_error"), &json!("model_not_found"))
    );
    let error = failed(json!({"model": "pixels", "input": "x"}), 501);
    assert_eq!(error["code"], "unsupported");
    let error = failed(json!({"input": "x"}), 400);
    assert_eq!(error["code"], "model_required");
    let error = failed(json!({"model": "encoder", "input": "a a a a a a"}), 400);
    assert_eq!(error["message"], "the text has 7 tokens, at most 6 are allowed");
    assert_eq!(error["param"], "text");
}

#[test]
fn an_image_is_its_pixels_whatever_it_comes_in() {
    let server = server();
    let at = |row: usize, column: usize, channel: usize| (row * 8 + column) * 3 + channel;
    let plane = |channel| {
        let row = |row| (0..8).map(|column| at(row, column, channel) as f32).collect::<Vec<_>>();
        (0..8).map(row).collect::<Vec<_>>()
    };
    let pixels = json!([plane(0), plane(1), plane(2)]);
    // Tensors go on to be taken.
    let plain = server.predict("pixels", &json!({"features": pixels})).good();

    let raw = typed("/predict/pixels", "image/png", &png()).good();
    assert_eq!(raw["prediction"], plain["prediction"]);
    assert!(raw["label"].is_string());
    let url = format!("data:image/png;base64,{}", STANDARD.encode(png()));
    let one = server.predict("pixels", &json!({"image": url})).good();
    assert_eq!(one["prediction"], plain["prediction"]);
    let many = json!({"images": [STANDARD.encode(png()), url]});
    let many = server.predict("pixels", &many).good();
    // Two rows share a run, whose kernels may round otherwise.
    for row in many["predictions"].as_array().unwrap() {
        let numbers = |value: &Value| {
            value.as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect::<Vec<_>>()
        };
        let pairs = numbers(row).into_iter().zip(numbers(&plain["prediction"]));
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-4), "{many}");
    }
    let form = b"--x\r\nContent-Disposition: form-data; name=\"data\"; filename=\"a.png\"\r\n\r\n";
    let form = [&form[..], &png(), b"\r\n--x--\r\n"].concat();
    let serve = typed("/predictions/pixels", "multipart/form-data; boundary=x", &form).good();
    assert!(
        serve.as_object().unwrap().keys().all(|label| ["a", "b", "c", "d"].contains(&&**label))
    );
    let body = typed("/predictions/pixels", "image/png", &png()).good();
    assert_eq!(body, serve);
    let v1 = json!({"instances": [{"b64": STANDARD.encode(png())}]});
    let v1 = post(server.http, "/v1/models/pixels:predict", v1.to_string()).good();
    assert_eq!(v1["predictions"][0], plain["prediction"]);
}

#[test]
fn what_is_none_is_refused_by_name() {
    let server = server();
    let refused = |model: &str, body: Value, expected: &str| {
        let error = server.predict(model, &body).json();
        let message = error["error"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
    };
    refused("pixels", json!({"image": "aGVsbG8="}), "the image is no image that can be read");
    refused("pixels", json!({"images": ["", "x"]}), "image 0 is empty");
    refused(
        "pixels",
        json!({"text": "x"}),
        "expected exactly one of \"features\", \"instances\", \"inputs\", \"image\", \"images\"",
    );
    refused("encoder", json!({"texts": ["torch", 7]}), "input \"text\" at [1]: expected a string");
    refused("encoder", json!({"texts": []}), "expected at least one row");
    let both = json!({"inputs": {"text": ["torch"], "input_ids": [[1]]}});
    refused("encoder", both, "input \"text\" is given beside \"input_ids\", which is made from it");
    typed("/predict/encoder", "image/png", &png()).failed(415, "unsupported_media_type");
    typed("/predict/pixels", "audio/wav", b"RIFF").failed(415, "unsupported_media_type");
    typed("/predict/pixels", "image/gif", b"GIF89a").failed(400, "invalid_input");
}

#[test]
fn metadata_asks_for_the_text_and_metrics_count_the_tokens() {
    let server = server();
    let names = |path: &str| {
        let inputs = get(server.http, path).good()["inputs"].clone();
        let names = inputs.as_array().unwrap().iter().map(|it| it["name"].clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names("/v2/models/encoder"), [json!("text")]);
    assert_eq!(names("/v2/models/pixels"), [json!("image")]);
    let answer = typed("/predict/encoder", "text/plain", b"torch");
    let timing = answer.header("server-timing").unwrap().to_owned();
    assert!(timing.contains("preprocess;dur="), "{timing}");
    assert!(server.metric("sconce_text_tokens_total{model=\"encoder\",version=\"1\"}") >= 2.0);
    typed("/predict/pixels", "image/png", &png()).good();
    assert!(server.metric("sconce_image_pixels_total{model=\"pixels\",version=\"1\"}") >= 64.0);
}

#[test]
fn rows_of_a_table_are_numbers_whatever_they_come_in() {
    let server = server();
    let asked = json!([{"age": 33, "home town": "東京"}, {"home town": "Oslo"}]);
    // Three times what the columns make.
    let expected = json!([[3.0, 0.0, 0.0, 3.0], [6.0, 0.0, 0.0, 0.0]]);
    let rows = server.predict("people", &json!({"rows": asked})).good();
    assert_eq!(rows["predictions"], expected);
    let row = server.predict("people", &json!({"row": asked[0]})).good();
    assert_eq!(row["prediction"], expected[0]);
    let csv = "home town,age\n東京,33\nOslo,\n";
    let csv = typed("/predict/people", "text/csv; charset=utf-8", csv.as_bytes()).good();
    assert_eq!(csv["predictions"], expected);
    let v1 = json!({"instances": asked}).to_string();
    let v1 = post(server.http, "/v1/models/people:predict", v1).good();
    assert_eq!(v1["predictions"], expected);
    let serve = typed("/predictions/people", "application/json", asked.to_string().as_bytes());
    assert_eq!(serve.good(), expected);
    let input = |name: &str, datatype: &str, data: Value| json!({"name": name, "datatype": datatype, "shape": [2, 1], "data": data});
    let inputs = json!([
        input("age", "INT64", json!([33, 36])),
        input("home town", "BYTES", json!(["東京", "Oslo"]))
    ]);
    let v2 = post(server.http, "/v2/models/people/infer", json!({"inputs": inputs}).to_string());
    let flat: Vec<_> = expected
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap().clone())
        .collect();
    assert_eq!(v2.good()["outputs"][0]["data"], json!(flat));
    let own = server.predict("people", &json!({"instances": [[1, 0, 0, 2]]})).good();
    assert_eq!(own["predictions"], json!([[3.0, 0.0, 0.0, 6.0]]));

    let fails = |body: Value, expected: &str| {
        let answer = server.predict("people", &body);
        assert_eq!((answer.status, answer.json()["error"].as_str().unwrap()), (400, expected));
    };
    fails(
        json!({"rows": [{"age": 1, "home town": "Paris"}, {"age": 2}]}),
        "\"home town\" of row 1 is missing, expected a word",
    );
    fails(json!({"row": {"age": "x"}}), "input \"age\" at [0]: expected a number, got a string");
    let refused = typed("/predict/encoder", "text/csv", b"a\n1\n");
    assert_eq!(refused.status, 415, "{}", refused.text());
}

#[test]
fn a_request_says_which_labels_it_is_told() {
    let ask = |parameters: Value| {
        let image = STANDARD.encode(png());
        server().predict("pixels", &json!({"image": image, "parameters": parameters}))
    };
    let all = ask(json!({"top_k": 4})).good();
    assert_eq!(all["top"].as_array().unwrap().len(), 4);
    let one = ask(json!({"top_k": 1})).good();
    assert_eq!((&one["top"][0], one["top"].as_array().unwrap().len()), (&all["top"][0], 1));
    let best = all["top"][0]["score"].as_f64().unwrap();
    let none = ask(json!({"threshold": best + 1.0})).good();
    assert_eq!((&none["label"], &none["top"]), (&Value::Null, &json!([])));
    assert_eq!(none["score"], all["score"]);
    assert_eq!(ask(json!({"top_k": 0})).status, 400);
    let without =
        server().predict("encoder", &json!({"text": "torch", "parameters": {"top_k": 1}}));
    assert_eq!(without.status, 400);
    assert!(without.text().contains("the model has none"), "{}", without.text());
}

#[test]
fn token_ids_have_the_limits_of_texts() {
    let ask = |ids: Value| {
        post(server().http, "/v1/embeddings", json!({"model": "encoder", "input": ids}).to_string())
    };
    let error = |ids: Value| {
        let answer = ask(ids);
        assert_eq!(answer.status, 400, "{}", answer.text());
        answer.json()["error"]["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        error(json!([1, 7, 7, 7, 7, 7, 7])),
        "a row of \"input_ids\" has 7 tokens, at most 6 are allowed"
    );
    assert_eq!(error(json!([1, 10])), "\"input_ids\" has 10, the tokenizer has ids from 0 to 9");
}
