//! `/`: one page that says what is served and how to call it, and where a text or an image can be tried. Nothing from elsewhere.

use super::drift;
use super::html::escape;
use super::plots;
use super::state::App;
use crate::inference::Content;
use crate::protocol::predict;
use crate::repository::ModelStatus;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};
use std::fmt::Write as _;

/// Samples longer than this are cut in the page; the model's own page has no need of them.
const MAX_SAMPLE_CHARS: usize = 400;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
pre{background:#f4f4f4;padding:.8rem;overflow-x:auto}code{font-size:.9em}.state{color:#666}\
.plots{display:flex;flex-wrap:wrap;gap:.8rem}figure{margin:0;font-size:.75em;color:#444;max-width:130px}\
.r{fill:#ddd}.w{fill:#4878a8}.trouble .w{fill:#c23b22}.trouble figcaption{color:#c23b22}\
form{margin:.8rem 0}input[type=text]{width:60%}output img{display:block;max-width:16rem;max-height:16rem;margin:.6rem 0}\
output ol{list-style:none;padding:0}output li{padding:.1rem .4rem;margin:.1rem 0;max-width:24rem;\
background:linear-gradient(90deg,#c9d8ea calc(100%*var(--score)),transparent 0)}";
/// What sends the forms: without it a browser would show the answer in place of the page.
const SCRIPT: &str = include_str!("index.js");

pub(super) async fn page(State(app): State<App>, headers: HeaderMap) -> Response {
    // The address that the caller used is the one that works for the caller.
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let host = host.unwrap_or("localhost:8080");
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>sconce</title><style>{STYLE}</style>\
         <h1>sconce {}</h1><p>Serves TorchScript models. \
         <a href=\"/docs\">/docs</a> · <a href=\"/openapi.json\">/openapi.json</a> · <a href=\"/models\">/models</a> · <a href=\"/health\">/health</a> · <a href=\"/metrics\">/metrics</a></p>",
        env!("CARGO_PKG_VERSION")
    );
    let models = app.repository.list();
    if models.is_empty() {
        page.push_str("<p>No model is served: the models folder holds none.</p>");
    }
    for model in &models {
        section(&mut page, model, host);
        let serving = model.serving.and_then(|version| drift::report(&app, &model.name, version));
        if let Some(report) = serving {
            plots::drift(&mut page, model.name.as_str(), &report);
        }
    }
    if models.iter().any(|model| field(model).is_some()) {
        let _ = write!(page, "<script>{SCRIPT}</script>");
    }
    Html(page).into_response()
}

/// What the version that serves takes in place of tensors and a person can give by hand, with the field for it.
fn field(model: &ModelStatus) -> Option<&'static str> {
    let serving = model.versions.iter().find(|version| Some(version.version) == model.serving);
    match serving?.loaded.as_ref()?.spec.contract.content? {
        Content::Text => {
            Some("<input type=\"text\" maxlength=\"10000\" placeholder=\"A sentence\" required>")
        }
        Content::Image => {
            Some("<input type=\"file\" accept=\"image/jpeg,image/png,image/webp\" required>")
        }
        Content::Row => None,
    }
}

fn section(page: &mut String, model: &ModelStatus, host: &str) {
    let name = model.name.as_str();
    let serving = model.versions.iter().find(|version| Some(version.version) == model.serving);
    let state = serving.map_or("not ready", |version| version.state.as_str());
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "<h2><a href=\"/models/{name}\">{name}</a> <small class=\"state\">{state}</small></h2>"
    );
    let Some(loaded) = serving.and_then(|version| version.loaded.as_ref()) else {
        return;
    };
    if let Some(description) = &loaded.facts.description {
        let _ = write!(page, "<p>{}</p>", escape(description));
    }
    if let Some(input) = field(model) {
        let _ = write!(
            page,
            "<form action=\"/predict/{name}\">{input} <button>Try it</button><output></output></form>"
        );
    }
    let example = || predict::example(&loaded.spec).and_then(|body| String::from_utf8(body).ok());
    let Some(body) = loaded.sample.clone().or_else(example) else {
        return;
    };
    let body = body.split_whitespace().collect::<Vec<_>>().join(" ");
    let _ = if body.len() <= MAX_SAMPLE_CHARS {
        let quoted = body.replace('\'', r"'\''");
        write!(page, "<pre>curl -d '{}' {}/predict/{name}</pre>", escape(&quoted), escape(host))
    } else {
        write!(
            page,
            "<pre>curl -d @models/{name}/sample.json {}/predict/{name}</pre>",
            escape(host)
        )
    };
}
