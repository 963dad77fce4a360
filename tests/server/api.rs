//! The document of the API: it has what there is, and answers are what it says.

use crate::harness::{Raw, Server, get, post, request};
use serde_json::Value;
use std::net::SocketAddr;

fn document(address: SocketAddr) -> Value {
    get(address, "/openapi.json").good()
}

/// Where a value is not what a schema says; `None` when it is.
fn fault(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    if let Some(pointer) = schema["$ref"].as_str() {
        return fault(document, document.pointer(&pointer[1..]).unwrap(), value);
    }
    if value.is_null() && schema["nullable"] == true {
        return None;
    }
    for (word, least, most) in [("oneOf", 1, 1), ("anyOf", 1, usize::MAX)] {
        if let Some(choices) = schema[word].as_array() {
            let faults: Vec<_> =
                choices.iter().filter_map(|schema| fault(document, schema, value)).collect();
            let fitting = choices.len() - faults.len();
            let fits = (least..=most).contains(&fitting);
            return (!fits).then(|| format!("{fitting} of {word} fit {value}: {faults:?}"));
        }
    }
    let is_type = match schema["type"].as_str() {
        None => true,
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        Some("number") => value.is_number(),
        Some(other) => return Some(format!("{other} is no type")),
    };
    let is_one = schema["enum"].as_array().is_none_or(|known| known.contains(value));
    let is_over = |bound: &Value, number: Option<f64>| {
        bound.as_f64().zip(number).is_some_and(|(bound, number)| number > bound)
    };
    let is_under = |bound: &Value, number: Option<f64>| {
        bound.as_f64().zip(number).is_some_and(|(bound, number)| number < bound)
    };
    let length = value.as_array().map(|items| items.len() as f64);
    if !is_type
        || !is_one
        || is_over(&schema["maximum"], value.as_f64())
        || is_under(&schema["minimum"], value.as_f64())
        || is_over(&schema["maxItems"], length)
        || is_under(&schema["minItems"], length)
    {
        return Some(format!("{value} is not {schema}"));
    }
    if let Some(items) = value.as_array() {
        return items.iter().find_map(|item| fault(document, &schema["items"], item));
    }
    let members = value.as_object()?;
    for required in schema["required"].as_array().into_iter().flatten() {
        if !members.contains_key(required.as_str().unwrap()) {
            return Some(format!("{required} is missing in {value}"));
        }
    }
    members.iter().find_map(|(name, value)| match schema["properties"].get(name) {
        Some(schema) => fault(document, schema, value).map(|fault| format!("{name}: {fault}")),
        None => (schema["additionalProperties"] == false).then(|| format!("{name} is unknown")),
    })
}

/// Checks an answer against the operation that it answers.
#[track_caller]
fn conforms(document: &Value, operation: &Value, place: &str, (status, body): (u16, &Value)) {
    let response = &operation["responses"][status.to_string()];
    assert!(response.is_object(), "{place} answered {status}, which is not described: {body}");
    let schema = &response["content"]["application/json"]["schema"];
    let fault = fault(document, schema, body);
    assert_eq!(fault, None, "{place} answered {status} with {body}");
}

#[test]
fn methods_are_those_that_are_described() {
    let server = Server::shared();
    for address in [server.http, server.management] {
        let document = document(address);
        for (path, item) in document["paths"].as_object().unwrap() {
            // The paths of one model are like those of another. What stands behind a colon is looked
            // at after the method.
            let id = item["post"]["operationId"].as_str().unwrap_or_default();
            if path.contains(':') || (id.contains(':') && !id.ends_with(":digits")) {
                continue;
            }
            let real = path.replace("{model}", "nobody").replace("{version}", "1");
            let real = real.replace("{rest}", "x");
            for method in ["get", "put", "post", "delete", "patch"] {
                let line = format!("{} {real}", method.to_uppercase());
                let mut raw = Raw::connect(address);
                raw.send(&request(&line, &["Connection: close"], b"")).unwrap();
                let status = raw.answer().unwrap().status;
                let described = item[method].is_object();
                assert_eq!(status != 405, described, "{line} at {address} answered {status}");
                if described {
                    let response = &item[method]["responses"][status.to_string()];
                    assert!(response.is_object(), "{line} answered {status}");
                }
            }
        }
    }
}

#[test]
fn what_is_read_is_what_is_described() {
    let server = Server::shared();
    for address in [server.http, server.management] {
        let document = document(address);
        let names = ["digits", "two_inputs", "raises", "nan", "nobody"];
        for (path, item) in document["paths"].as_object().unwrap() {
            let operation = &item["get"];
            if operation["responses"]["200"]["content"]["application/json"].is_null() {
                continue;
            }
            let n_names = if path.contains("{model}") { names.len() } else { 1 };
            for name in &names[..n_names] {
                let real = path.replace("{model}", name).replace("{version}", "1");
                let answer = get(address, &real);
                let body = answer.json();
                conforms(&document, operation, &real, (answer.status, &body));
            }
        }
    }
}

#[test]
fn each_model_answers_its_example_as_described() {
    let server = Server::shared();
    let document = document(server.http);
    let (mut asked, mut unknown) = (0, Vec::new());
    for (path, item) in document["paths"].as_object().unwrap() {
        let operation = &item["post"];
        let content = &operation["requestBody"]["content"]["application/json"];
        let Some(example) = content.get("example") else {
            if !path.contains('{') && content.is_object() {
                unknown.push(path);
            }
            continue;
        };
        assert_eq!(fault(&document, &content["schema"], example), None, "the example of {path}");
        let answer = post(server.http, path, example.to_string());
        assert!(matches!(answer.status, 200 | 500), "{path}: {}", answer.text());
        // A model that raises on zeros does so here, too.
        assert!(answer.status == 200 || path.contains("raises"), "{path}: {}", answer.text());
        conforms(&document, operation, path, (answer.status, &answer.json()));
        asked += 1;
        let wrong = post(server.http, path, r#"{"nonsense": 1}"#);
        conforms(&document, operation, path, (wrong.status, &wrong.json()));
        assert!((400..500).contains(&wrong.status), "{path}: {}", wrong.text());
    }
    assert!(asked > 20, "{asked} examples, none for {unknown:?}");
}

#[test]
fn the_page_says_what_it_may_do() {
    let server = Server::shared();
    let page = get(server.http, "/docs");
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    assert!(page.text().contains("openapi.json"));
}
