//! What every route of both listeners says to every method, one line for what is the same.
//!
//! The models that are asked for are not there, so nothing changes and nothing runs.

use super::ask::{On, ask};
use super::site::{Site, State};
use super::snapshot::Snapshot;
use crate::http::route_paths;
use axum::body::to_bytes;
use axum::http::header::ALLOW;
use axum::response::Response;
use serde_json::Value;
use std::fmt::Write as _;

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];

/// Paths beside those of the routes.
const ELSEWHERE: &[&str] = &[
    "/absent",
    "/predict/",
    "/predict/m/",
    "/v1",
    "/v1/models/m:more",
    "/v2/",
    "/v2/models/m/versions",
    "/predictions",
    "/pingpong",
    "//",
];

/// The status, and the word for what failed where something did.
async fn outcome(response: Response) -> String {
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let mut outcome = head.status.as_u16().to_string();
    let document: Value = serde_json::from_slice(&body).unwrap_or_default();
    let words = ["code", "type"].iter().filter_map(|key| document[key].as_str());
    words.for_each(|word| {
        let _ = write!(outcome, " {word}");
    });
    if let Some(allow) = head.headers.get(ALLOW) {
        let _ = write!(outcome, ", takes {}", allow.to_str().unwrap());
    }
    outcome
}

/// What a path says to each method.
async fn outcomes(site: &Site, on: On, path: &str) -> String {
    let mut lines: Vec<(String, Vec<&str>)> = Vec::new();
    for method in METHODS {
        let request = ask(method, path);
        let request = if on == On::Management { request.management() } else { request };
        let outcome = outcome(site.answer(&request).await).await;
        match lines.iter_mut().find(|(same, _)| *same == outcome) {
            Some((_, methods)) => methods.push(method),
            None => lines.push((outcome, vec![method])),
        }
    }
    let lines = lines.iter().map(|(outcome, methods)| format!("{}: {outcome}", methods.join(" ")));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn every_route_says_to_every_method_what_it_said_before() {
    let site = Site::new(State::Serving).await;
    let mut snapshot = Snapshot::default();
    for route in route_paths().iter().chain(ELSEWHERE) {
        let path = route.replace("{model}", "absent").replace("{version}", "1");
        let path = path.replace("{*rest}", "rest");
        let public = outcomes(&site, On::Public, &path).await;
        let management = outcomes(&site, On::Management, &path).await;
        let text = match public == management {
            true => public,
            false => format!("{public}\non the management listener\n{management}"),
        };
        snapshot.add(route, &text);
    }
    snapshot.check("routes");
}
