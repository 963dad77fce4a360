//! The operations of each model that serves: its own bodies at its own paths, with an example that it
//! answers.

use super::bodies;
use super::served::Served;
use crate::http::describe;
use crate::http::route::Route;
use crate::repository::ModelStatus;
use serde_json::{Map, Value, json};

impl Served<'_> {
    /// Adds its paths.
    pub(super) fn add_to(self, paths: &mut Map<String, Value>, routes: &[Route]) {
        for route in routes.iter().filter(|route| route.operation.predicts()) {
            let path = route.document_path();
            if !path.contains("{model}")
                || ["{version}", "{label}"].iter().any(|it| path.contains(it))
            {
                continue;
            }
            let path = path.replace("{model}", self.name);
            for &method in route.methods() {
                let document = self.document(route, method, &path);
                paths.entry(path.clone()).or_insert_with(|| json!({}))[method] = document;
            }
        }
    }

    fn document(self, route: &Route, method: &str, path: &str) -> Value {
        let mut document = route.document(method);
        // No word of a path has a colon, so this is nobody else's.
        document["operationId"] = json!(format!("{}:{}", route.id(method), self.name));
        document["parameters"] = route.parameters(path).into();
        document["tags"] = json!([self.name]);
        document["summary"] = json!(format!("{} Version {}.", route.summary, self.version));
        if let Some(description) = &self.loaded.facts.description {
            document["description"] = json!(description);
        }
        let bodies::Bodies { request, example, answer } =
            bodies::of(route.operation.protocol, self);
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
