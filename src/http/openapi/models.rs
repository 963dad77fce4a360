//! The operations of each model that serves: its own bodies at its own paths, with an example that it
//! answers.

use super::bodies;
use super::operation::{On, Operation};
use crate::http::describe;
use crate::inference::Version;
use crate::repository::{LoadedStatus, ModelStatus};
use serde_json::{Map, Value, json};

/// A model that answers by default, and the version that does.
#[derive(Debug, Clone, Copy)]
pub(super) struct Served<'a> {
    pub(super) name: &'a str,
    pub(super) version: Version,
    pub(super) loaded: &'a LoadedStatus,
}

impl<'a> Served<'a> {
    pub(super) fn new(model: &'a ModelStatus) -> Option<Self> {
        let version = model.serving?;
        let status = model.versions.iter().find(|status| status.version == version)?;
        Some(Self { name: model.name.as_str(), version, loaded: status.loaded.as_ref()? })
    }

    /// Adds its paths.
    pub(super) fn add_to(
        self,
        paths: &mut Map<String, Value>,
        listener: On,
        operations: impl Iterator<Item = &'static Operation>,
    ) {
        for operation in operations.filter(|it| it.predicts && it.is_on(listener)) {
            let path = operation.document_path();
            if path.contains("{model}") && !path.contains("{version}") {
                let path = path.replace("{model}", self.name);
                let document = self.document(operation, &path);
                paths.entry(path).or_insert_with(|| json!({}))[operation.method] = document;
            }
        }
    }

    fn document(self, operation: &Operation, path: &str) -> Value {
        let mut document = operation.document(operation.method);
        // No word of a path has a colon, so this is nobody else's.
        document["operationId"] =
            json!(format!("{}:{}", operation.id(operation.method), self.name));
        document["parameters"] = operation.parameters(path).into();
        document["tags"] = json!([self.name]);
        document["summary"] = json!(format!("{} Version {}.", operation.summary, self.version));
        if let Some(description) = &self.loaded.facts.description {
            document["description"] = json!(description);
        }
        let bodies::Bodies { request, example, answer } = bodies::of(operation.protocol, self);
        let body = &mut document["requestBody"]["content"]["application/json"];
        body["schema"] = request;
        if let Some(example) = example {
            body["example"] = example;
        }
        document["responses"]["200"]["content"]["application/json"]["schema"] = answer;
        document
    }
}

/// What people want to know of a model before they ask it.
pub(super) fn card(model: &ModelStatus) -> Value {
    let mut card = describe::summary(model);
    if let Some(Served { loaded, .. }) = Served::new(model) {
        card["description"] = json!(loaded.facts.description);
        card["inputs"] = loaded.spec.inputs.iter().map(describe::tensor).collect();
        card["outputs"] = loaded.spec.outputs.iter().map(describe::tensor).collect();
        card["labels"] = json!(loaded.facts.labels.len());
        card["batching"] = json!(loaded.batching().reason());
    }
    card
}
