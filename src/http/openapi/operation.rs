//! A row of the table of routes, in the document's words.

use crate::http::error::status;
use crate::http::route::{Content, Methods, Protocol, Route};
use crate::inference::ErrorCode;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The methods of a route that takes any. HEAD stands beside each GET without being described.
const ANY: &[&str] = &["get", "put", "post", "delete", "options", "patch", "trace"];

/// What every request may fail of, whatever it asks for.
const ANY_REQUEST: &[ErrorCode] =
    &[ErrorCode::InvalidRequest, ErrorCode::HeadTooLarge, ErrorCode::Internal];

/// The schema of a failure.
fn failure(protocol: Protocol) -> Content {
    match protocol {
        // Clients of the others read its member `error`, which is all that they know.
        Protocol::Native | Protocol::OpenInference | Protocol::Instances => Content::json("Error"),
        Protocol::OpenAi => Content::json("OpenAiError"),
        Protocol::PlainEmbeddings => Content::json("EmbedError"),
        Protocol::TorchServe => Content::json("TorchServeError"),
    }
}

impl Route {
    /// The path as the document writes it: it has no word for the rest of a path.
    pub(super) fn document_path(&self) -> String {
        self.path.replace("{*", "{")
    }

    /// The methods that it stands for.
    pub(super) fn methods(&self) -> &'static [&'static str] {
        match self.operation.methods {
            Methods::Get => &["get"],
            Methods::Put => &["put"],
            Methods::Post => &["post"],
            Methods::Delete => &["delete"],
            Methods::Any => ANY,
        }
    }

    /// The document's object for one of its methods.
    pub(super) fn document(&self, method: &str) -> Value {
        let mut document = json!({
            "tags": [self.operation.tag],
            "summary": self.summary,
            "operationId": self.id(method),
            "parameters": self.parameters(&self.document_path()),
            "responses": self.responses(),
        });
        if !self.operation.takes.is_empty() {
            let content = contents(self.operation.takes);
            document["requestBody"] =
                json!({"required": self.operation.predicts(), "content": content});
        }
        document
    }

    /// A name for generated clients: the words of method and path.
    pub(super) fn id(&self, method: &str) -> String {
        let path = self.document_path();
        let words = path.split(|letter: char| !letter.is_alphanumeric() && letter != '.');
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        format!("{method}_{}", if words.is_empty() { "root".to_owned() } else { words.join("_") })
    }

    /// The parameters that stand in a path, and the headers that are read.
    pub(super) fn parameters(&self, path: &str) -> Vec<Value> {
        let names = path.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
        let known = |name| match name {
            "model" => "Model",
            "label" => "Label",
            "percent" => "Percent",
            "version" => "Version",
            _ => "Rest",
        };
        let headers: &[_] = if self.operation.predicts() {
            &["Timeout", "Feedback", "TraceParent", "RequestId"]
        } else {
            &["RequestId"]
        };
        let parameters = names.map(known).chain(headers.iter().copied());
        let in_query = |(name, of): &(&str, &str)| json!({"name": name, "in": "query", "schema": {"type": of}});
        parameters
            .map(|name| reference("parameters", name))
            .chain(self.operation.query.iter().map(in_query))
            .collect()
    }

    fn responses(&self) -> Map<String, Value> {
        let request_id = ("X-Request-Id", "RequestId");
        let mut responses = Map::new();
        for (status, body) in self.operation.gives {
            let timing = self.operation.predicts().then_some(("Server-Timing", "ServerTiming"));
            let mut response = json!({
                "description": if *status < 300 { "Success." } else { "The same, saying no." },
                "headers": headers([request_id].into_iter().chain(timing)),
            });
            if !body.is_empty() {
                response["content"] = contents(body);
            }
            responses.insert(status.to_string(), response);
        }
        let mut codes = BTreeMap::<u16, Vec<ErrorCode>>::new();
        for &code in [ANY_REQUEST].iter().chain(self.operation.fails).copied().flatten() {
            codes.entry(status(code).as_u16()).or_default().push(code);
        }
        for (status, codes) in codes {
            let names: Vec<_> = codes.iter().map(|code| format!("`{code}`")).collect();
            let waits = matches!(status, 429 | 503).then_some(("Retry-After", "RetryAfter"));
            let response = responses.entry(status.to_string()).or_insert_with(|| {
                json!({"headers": headers([request_id].into_iter().chain(waits)), "content": {}})
            });
            let description = response["description"].as_str().map(|it| format!("{it} "));
            response["description"] =
                json!(format!("{}{}", description.unwrap_or_default(), names.join(", ")));
            // One status may come with either body.
            let Content { media_type, schema } = failure(self.operation.protocol);
            let failure = reference("schemas", schema);
            let schema = &mut response["content"][media_type]["schema"];
            *schema = if schema.is_null() { failure } else { json!({"anyOf": [schema, failure]}) };
        }
        responses
    }
}

/// A pointer to a part of the document.
pub(super) fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

fn headers<'a>(names: impl Iterator<Item = (&'a str, &'a str)>) -> Value {
    names.map(|(header, name)| (header.to_owned(), reference("headers", name))).collect()
}

fn contents(contents: &[Content]) -> Value {
    let content = |it: &Content| {
        (it.media_type.to_owned(), json!({"schema": reference("schemas", it.schema)}))
    };
    contents.iter().map(content).collect()
}
