//! One method of one route: a row of the tables that describe the API.

use crate::http::error::status;
use crate::inference::ErrorCode;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The methods of a route that takes any. HEAD stands beside each GET without being described.
const ANY: &[&str] = &["get", "put", "post", "delete", "options", "patch", "trace"];

/// What every request may fail of, whatever it asks for.
const ANY_REQUEST: &[ErrorCode] =
    &[ErrorCode::InvalidRequest, ErrorCode::HeadTooLarge, ErrorCode::Internal];

/// Which listeners answer. One that only refuses does not describe the route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    Both,
    Public,
    Management,
}

/// Whose words the bodies are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Native,
    OpenInference,
    Instances,
    TorchServe,
}

impl Protocol {
    /// The schema of a failure.
    fn failure(self) -> Content {
        match self {
            // Clients of the others read its member `error`, which is all that they know.
            Self::Native | Self::OpenInference | Self::Instances => Content::json("Error"),
            Self::TorchServe => Content::json("TorchServeError"),
        }
    }
}

/// A body of some media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) media_type: &'static str,
    /// One of the document's schemas.
    pub(super) schema: &'static str,
}

impl Content {
    /// Bytes as they lie in memory.
    pub(super) const BYTES: Self = Self { media_type: "application/octet-stream", schema: "Bytes" };

    pub(super) const fn json(schema: &'static str) -> Self {
        Self { media_type: "application/json", schema }
    }

    /// Text of another format.
    pub(super) const fn text(media_type: &'static str) -> Self {
        Self { media_type, schema: "Text" }
    }
}

/// One method of one route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    /// In lower case; `any` stands for each.
    pub(super) method: &'static str,
    /// The route as the router writes it, with what handlers take off its last segment.
    pub(super) path: &'static str,
    pub(super) on: On,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) protocol: Protocol,
    /// Whole numbers of the query.
    pub(super) query: &'static [&'static str],
    /// What may be sent; nothing where no body is read.
    pub(super) takes: &'static [Content],
    /// Statuses that are no failures of the table of codes, with their bodies.
    pub(super) gives: &'static [(u16, &'static [Content])],
    /// Why it may fail, beside what every request may fail of.
    pub(super) fails: &'static [&'static [ErrorCode]],
    /// Whether it predicts. Its path then names the model by `{model}`, or its bodies are of any model.
    pub(super) predicts: bool,
}

impl Operation {
    /// One that reads no body and fails of nothing in particular.
    pub(super) const fn new(method: &'static str, tag: &'static str) -> Self {
        Self {
            method,
            path: "",
            on: On::Both,
            tag,
            summary: "",
            protocol: Protocol::Native,
            query: &[],
            takes: &[],
            gives: &[],
            fails: &[],
            predicts: false,
        }
    }

    /// The same at a path.
    pub(super) const fn at(self, path: &'static str, summary: &'static str) -> Self {
        Self { path, summary, ..self }
    }

    /// Whether a listener describes it.
    pub(super) fn is_on(&self, listener: On) -> bool {
        self.on == On::Both || self.on == listener
    }

    /// The path as the document writes it: it has no word for the rest of a path.
    pub(super) fn document_path(&self) -> String {
        self.path.replace("{*", "{")
    }

    /// The methods that it stands for.
    pub(super) fn methods(&self) -> &[&'static str] {
        if self.method == "any" { ANY } else { std::slice::from_ref(&self.method) }
    }

    /// The document's object for one of its methods.
    pub(super) fn document(&self, method: &str) -> Value {
        let mut document = json!({
            "tags": [self.tag],
            "summary": self.summary,
            "operationId": self.id(method),
            "parameters": self.parameters(&self.document_path()),
            "responses": self.responses(),
        });
        if !self.takes.is_empty() {
            document["requestBody"] =
                json!({"required": self.predicts, "content": contents(self.takes)});
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
            "version" => "Version",
            _ => "Rest",
        };
        let headers: &[_] =
            if self.predicts { &["Timeout", "TraceParent", "RequestId"] } else { &["RequestId"] };
        let parameters = names.map(known).chain(headers.iter().copied());
        let in_query =
            |name: &&str| json!({"name": name, "in": "query", "schema": {"type": "integer"}});
        parameters
            .map(|name| reference("parameters", name))
            .chain(self.query.iter().map(in_query))
            .collect()
    }

    fn responses(&self) -> Map<String, Value> {
        let request_id = ("X-Request-Id", "RequestId");
        let mut responses = Map::new();
        for (status, body) in self.gives {
            let timing = self.predicts.then_some(("Server-Timing", "ServerTiming"));
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
        for &code in [ANY_REQUEST].iter().chain(self.fails).copied().flatten() {
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
            let failure = reference("schemas", self.protocol.failure().schema);
            let schema = &mut response["content"][self.protocol.failure().media_type]["schema"];
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
