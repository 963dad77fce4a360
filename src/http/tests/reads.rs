//! What can be read: every route that takes GET, on both listeners, with what differs from run to run masked.

use super::ask::{Ask, get};
use super::site::{Site, State};
use super::snapshot::{Snapshot, render};
use crate::http::route_paths;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Parts of an operation that are longer stand behind their digests.
const LONG: usize = 60;

/// Probes and what else tells of the server's state, beside the documents about models.
const PROBES: &[&str] = &[
    "/health",
    "/health/live",
    "/health/ready",
    "/livez",
    "/ping",
    "/readyz",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2/models/m/ready",
    "/v2/models/failed/ready",
    "/v1/models/m",
    "/v1/models/failed",
    "/models/m",
    "/models/failed",
];

/// The document of the API: a line for each operation and each schema. Responses and schemas, which many have in
/// common, stand behind their digests.
fn operations(document: &mut Value) -> String {
    let (mut text, mut shared) = (String::new(), BTreeMap::new());
    let paths = document["paths"].take();
    for (path, item) in paths.as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten() {
            let mut operation = operation.clone();
            share(&mut operation, &mut shared);
            let _ = writeln!(text, "{method} {path}\n    {operation}");
        }
    }
    let components = document["components"].take();
    for (kind, members) in components.as_object().into_iter().flatten() {
        for (name, member) in members.as_object().into_iter().flatten() {
            let _ = writeln!(text, "{kind} {name}\n    {member}");
        }
    }
    let shared = shared.into_iter().map(|(digest, value)| format!("{digest} {value}\n"));
    text + &shared.collect::<String>()
}

/// Puts digests in the place of what is long.
fn share(operation: &mut Value, shared: &mut BTreeMap<String, String>) {
    let Some(members) = operation.as_object_mut() else { return };
    let parts = members.values_mut().flat_map(|member| match member {
        Value::Object(parts) => parts.values_mut().collect::<Vec<_>>(),
        Value::Array(parts) => parts.iter_mut().collect(),
        _ => Vec::new(),
    });
    for part in parts {
        let text = part.to_string();
        if text.len() > LONG {
            let digest = Sha256::digest(&text);
            let digest: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            *part = json!(format!("<{digest}>"));
            shared.insert(digest, text);
        }
    }
}

/// The families of metrics, and the counts of requests.
fn families(text: &str) -> String {
    let is_kept = |line: &&str| line.starts_with('#') || line.starts_with("sconce_http_requests");
    text.lines().filter(is_kept).map(|line| format!("{line}\n")).collect()
}

/// An answer with its document made readable, without what the snapshots of CORS hold.
async fn read(site: &Site, ask: &Ask) -> String {
    let answer = render(site.answer(ask).await).await;
    let (head, body) = answer.split_once("\n\n").unwrap();
    let is_kept = |line: &&str| !line.starts_with("content-length") && *line != "vary: origin";
    let head = head.lines().filter(is_kept).collect::<Vec<_>>().join("\n");
    if body.starts_with("# HELP") {
        return format!("{head}\n\n{}", families(body));
    }
    let Ok(mut document) = serde_json::from_str::<Value>(body) else {
        return format!("{head}\n\n{body}");
    };
    let is_of_api = document.get("openapi").is_some();
    let operations = if is_of_api { operations(&mut document) } else { String::new() };
    format!("{head}\n\n{}\n{operations}", serde_json::to_string_pretty(&document).unwrap())
}

/// What one text has beside another, and how much is left away.
fn beside(one: &str, other: &str) -> String {
    let known: BTreeSet<_> = one.lines().collect();
    let new: Vec<_> = other.lines().filter(|line| !known.contains(line)).collect();
    let shared = other.lines().count() - new.len();
    format!("{}\n({shared} lines as on the public listener)", new.join("\n"))
}

#[tokio::test]
async fn every_route_that_is_read_says_what_it_said_before() {
    let site = Site::new(State::Serving).await;
    let mut snapshot = Snapshot::default();
    let mut known: BTreeMap<String, &str> = BTreeMap::new();
    for route in route_paths() {
        let path = route.replace("{model}", "m").replace("{version}", "7").replace("{*rest}", "x");
        let public = read(&site, &get(&path)).await;
        let management = read(&site, &get(&path).management()).await;
        match known.get(&public) {
            Some(before) => snapshot.add(route, &format!("as {before}")),
            None => snapshot.add(route, &public),
        }
        if management != public {
            let title = format!("{route} on the management listener");
            snapshot.add(&title, &beside(&public, &management));
        }
        known.entry(public).or_insert(route);
    }
    snapshot.check("documents");
}

#[tokio::test]
async fn what_is_said_of_a_server_that_does_not_serve() {
    let mut snapshot = Snapshot::default();
    for state in [State::Loading, State::Draining] {
        let site = Site::new(state).await;
        for path in PROBES {
            let title = format!("{path}{state}");
            snapshot.add(&title, &read(&site, &get(*path)).await);
        }
    }
    snapshot.check("probes");
}
