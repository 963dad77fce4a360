//! Models of every kind: what the server found out about each, and that it serves each rightly.

use crate::harness::{Server, get};
use serde_json::{Value, json};

/// What each model is found to be, by the word of its metadata.
const FINDINGS: &[(&str, &str)] = &[
    ("attention", "proved"),
    ("bare", "proved"),
    ("baked", "fixed_rows"),
    ("bfloat16", "proved"),
    ("bool_output", "proved"),
    ("coupled", "coupled"),
    ("dict_output", "proved"),
    ("double", "proved"),
    ("half", "proved"),
    ("images", "proved"),
    ("integers", "proved"),
    ("methods", "proved"),
    ("multi_output", "proved"),
    ("nan", "proved"),
    ("one_row", "no_row_axis"),
    ("pad_safe", "proved"),
    ("prints", "proved"),
    ("raises", "proved"),
    ("scalar_arg", "proved"),
    ("scalar_out", "no_row_axis"),
    ("slow", "unproved"),
    ("stateful", "stateful"),
    ("stateful_in_place", "stateful"),
    ("tabular", "proved"),
    ("texts", "no_row_axis"),
    ("time_axis", "coupled"),
    ("two_inputs", "proved"),
    ("variable", "proved"),
    ("breast_cancer", "proved"),
    ("digits", "proved"),
];

#[test]
fn every_model_is_known_for_what_it_is() {
    let server = Server::shared();
    let metrics = server.metrics();
    let log = server.log.entries();
    let mut wrong = Vec::new();
    for (name, expected) in FINDINGS {
        let model = server.describe(name);
        let version = &model["versions"][0];
        let batching = &version["batching"];
        if batching["finding"] != *expected {
            wrong.push(format!("{name} is {}, not {expected}", batching["finding"]));
            continue;
        }
        let safe = *expected == "proved";
        assert_eq!(batching["enabled"], safe, "{name}");
        assert!(!batching["reason"].as_str().unwrap().is_empty(), "{name}");
        let series = format!(
            "sconce_model_batching{{batching=\"{expected}\",model=\"{name}\",version=\"1\"}}"
        );
        assert_eq!(crate::harness::metric(&metrics, &series), 1.0, "{series}");
        let warned = log.iter().any(|line| {
            line["level"] == "WARN" && line.to_string().contains(&format!("\"{name}\""))
        });
        assert_eq!(warned, !safe, "{name}: whoever is not batched is warned of, nobody else");
        for member in ["inputs", "outputs", "device", "memory_bytes", "load_seconds", "file"] {
            assert!(!version[member].is_null(), "{name} must tell its {member}: {version}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn shapes_that_nobody_declared_are_found() {
    let server = Server::shared();
    let bare = server.describe("bare");
    let version = &bare["versions"][0];
    let tensor = |tensor: &Value| (tensor["datatype"].clone(), tensor["shape"].clone());
    assert_eq!(tensor(&version["inputs"][0]), (json!("FP32"), json!([-1, 4])));
    assert_eq!(tensor(&version["outputs"][0]), (json!("FP32"), json!([-1, 2])));
    let answer = server.predict("bare", &json!({"features": [0, 0, 0, 0]})).good();
    assert_eq!(answer["prediction"].as_array().unwrap().len(), 2);
}

#[test]
fn every_kind_gives_its_answer() {
    let server = Server::shared();
    let prediction = |model: &str, row: Value| {
        server.predict(model, &json!({"features": row})).good()["prediction"].clone()
    };
    let x = json!([1, 2, 3, 4]);
    for doubled in ["raises", "methods", "prints"] {
        assert_eq!(prediction(doubled, x.clone()), json!([2.0, 4.0, 6.0, 8.0]), "{doubled}");
    }
    // It answers the first row, however many there are: what has no rows comes whole, also for one row.
    let one_row = server.predict("one_row", &json!({"features": x})).good();
    assert_eq!(one_row["outputs"]["y"], json!([[2.0, 4.0, 6.0, 8.0]]));
    assert_eq!(prediction("coupled", x.clone()), json!([0.0, 0.0, 0.0, 0.0]));
    assert_eq!(prediction("scalar_arg", x.clone()), json!([3.0, 6.0, 9.0, 12.0]));
    assert_eq!(prediction("bool_output", json!([1, 0, -1, 2])), json!([true, false, false, true]));
    assert_eq!(
        prediction("multi_output", x.clone()),
        json!({"first": [2.0, 4.0], "second": [3.0, 4.0, 5.0]})
    );
    assert_eq!(
        prediction("dict_output", x.clone()),
        json!({"double": [2.0, 4.0, 6.0, 8.0], "sum": [10.0]})
    );
    assert_eq!(prediction("variable", json!([1, 2, 6])), json!([3.0]));
    assert_eq!(prediction("pad_safe", json!([1, 2, 6, 1, 1])), json!([11.0]));
    assert_eq!(prediction("half", x.clone()).as_array().unwrap().len(), 2);
    assert_eq!(prediction("bfloat16", x.clone()).as_array().unwrap().len(), 2);
    assert_eq!(prediction("baked", x.clone()).as_array().unwrap().len(), 2);
    assert_eq!(prediction("time_axis", x.clone()).as_array().unwrap().len(), 3);
    let scalar = server.predict("scalar_out", &json!({"inputs": {"x": [x]}})).good();
    assert_eq!(scalar["outputs"].as_object().unwrap().values().next(), Some(&json!(10.0)));
    let argument = server.predict("scalar_arg", &json!({"inputs": {"x": [x], "k": 5}})).good();
    assert_eq!(argument["outputs"]["y"], json!([[5.0, 10.0, 15.0, 20.0]]));
    let two = server.predict("two_inputs", &json!({"instances": [{"a": [1, 2, 3], "b": 10}]}));
    assert_eq!(two.good()["predictions"], json!([16.0]));
}

#[test]
fn models_that_keep_state_are_never_shared() {
    let server = Server::shared();
    for model in ["stateful", "stateful_in_place"] {
        let instances = server.describe(model)["versions"][0]["queue"]["instances"].clone();
        assert_eq!(instances, 1, "{model}: two copies of a state would answer by turns");
        let count = |_| {
            let body = server.predict(model, &json!({"features": [0, 0, 0, 0]})).good();
            body["prediction"][0].as_f64().unwrap()
        };
        let counts: Vec<f64> = (0..5).map(count).collect();
        assert!(counts.windows(2).all(|pair| pair[1] == pair[0] + 1.0), "{model}: {counts:?}");
    }
}

#[test]
fn rows_of_a_model_that_couples_them_are_kept_apart_from_others() {
    let server = Server::shared();
    std::thread::scope(|scope| {
        for client in 0..8 {
            let server = &server;
            scope.spawn(move || {
                for _ in 0..10 {
                    let row = json!([client, client, client, client]);
                    let answer = server.predict("coupled", &json!({"features": row})).good();
                    assert_eq!(answer["prediction"], json!([0.0, 0.0, 0.0, 0.0]));
                }
            });
        }
    });
}

#[test]
fn a_model_with_its_rows_baked_in_says_so() {
    let server = Server::shared();
    let two = server.predict("baked", &json!({"instances": [[1, 2, 3, 4], [1, 2, 3, 4]]}));
    if two.status == 200 {
        assert_eq!(two.json()["predictions"].as_array().unwrap().len(), 2, "served row by row");
    } else {
        two.failed(400, "invalid_input");
    }
}

#[test]
fn the_pages_for_people_list_every_model() {
    let server = Server::shared();
    let page = get(server.http, "/");
    assert_eq!(page.status, 200);
    let list = get(server.http, "/models").good();
    let names: Vec<_> =
        list["models"].as_array().unwrap().iter().map(|model| &model["name"]).collect();
    for (name, _) in FINDINGS {
        assert!(names.contains(&&json!(name)), "{name} must be listed: {names:?}");
        assert!(page.text().contains(&format!("/predict/{name}")), "{name} must be on the page");
    }
    let managed = get(server.management, "/manage/models").good();
    assert_eq!(managed["models"].as_array().unwrap().len(), names.len());
}
