//! Answers as text, held to what the files in `snapshots/` say.
//!
//! `WRITE_SNAPSHOTS=1 cargo test --no-default-features http::tests` writes the files anew; what has
//! changed is then seen in the difference. A crate for it would bring a program of its own to
//! install, and what it does here are the few lines below.

use axum::body::to_bytes;
use axum::http::HeaderValue;
use axum::http::header::AsHeaderName;
use axum::response::Response;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Largest body that is read, far above every answer here.
const MAX_BODY: usize = 16 << 20;

/// A file of sections: a title with `=== ` before it, and text below.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    text: String,
}

impl Snapshot {
    /// Adds a section.
    pub(super) fn add(&mut self, title: &str, text: &str) {
        let separator = if self.text.is_empty() { "" } else { "\n" };
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{separator}=== {title}\n{}", text.trim_end());
    }

    /// Fails where the file of this name says something else.
    #[track_caller]
    pub(super) fn check(&self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/tests/snapshots");
        let path = folder.join(name).with_extension("txt");
        if std::env::var_os("WRITE_SNAPSHOTS").is_some() {
            return fs::write(&path, &self.text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        let (kept, came) = (sections(&kept), sections(&self.text));
        for came in &came {
            let title = came.lines().next();
            let kept = kept.iter().find(|kept| kept.lines().next() == title);
            let kept = kept.map_or("nothing", |kept| kept);
            assert_eq!(came, &kept, "{name}.txt has another text:\n{kept}\nthan came:\n{came}\n");
        }
        assert_eq!(came, kept, "{name}.txt has sections that are gone, or in another order");
    }
}

fn sections(text: &str) -> Vec<&str> {
    text.split("\n=== ").map(str::trim_end).collect()
}

/// Ids that the server makes have so many digits; those that callers send here do not.
const OWN_ID_LEN: usize = 32;

/// Members of documents that tell of times and of the process.
const MASKED: &[&str] = &[
    "last_inference",
    "load_seconds",
    "ns",
    "pid",
    "seconds",
    "since",
    "startTime",
    "uptime_seconds",
];

/// An answer with its status, its headers and its body, without what differs from run to run.
pub(super) async fn render(response: Response) -> String {
    let (head, body) = response.into_parts();
    let mut text = format!("{}\n", head.status);
    let mut headers: Vec<_> = head.headers.iter().collect();
    headers.sort_by_key(|(name, _)| name.as_str());
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        let value =
            if name == "server-timing" { mask_durations(&value) } else { value.into_owned() };
        let _ = writeln!(text, "{name}: {value}");
    }
    let body = to_bytes(body, MAX_BODY).await.unwrap();
    let body = match std::str::from_utf8(&body) {
        Ok(body) => body.to_owned(),
        Err(_) => body.escape_ascii().to_string(),
    };
    let masked = MASKED.iter().fold(body.clone(), |body, member| mask_member(&body, member));
    if masked != body {
        // It tells how long the masked figures are.
        let is_kept = |line: &&str| !line.starts_with("content-length");
        text = text.lines().filter(is_kept).map(|line| format!("{line}\n")).collect();
    }
    let _ = write!(text, "\n{masked}");
    let text = text.replace(env!("CARGO_PKG_VERSION"), "<version>");
    let id = head.headers.get("x-request-id").and_then(|id| id.to_str().ok());
    match id.filter(|id| id.len() == OWN_ID_LEN) {
        Some(id) => text.replace(id, "<id>"),
        None => text,
    }
}

/// JSON with `"<masked>"` for the number or the plain text that a member of this name has.
fn mask_member(json: &str, name: &str) -> String {
    let key = format!("\"{name}\":");
    let mut parts = json.split(key.as_str());
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_object = part.starts_with('{');
        let rest =
            if is_object { part } else { part.trim_start_matches(|it| it != ',' && it != '}') };
        let value = if is_object { "" } else { "\"<masked>\"" };
        let _ = write!(masked, "{key}{value}{rest}");
    }
    masked
}

/// `decode;dur=<ms>` for `decode;dur=0.012`.
fn mask_durations(timing: &str) -> String {
    let name = |phase: &str| phase.split('=').next().unwrap_or_default().to_owned();
    let phases: Vec<_> = timing.split(", ").map(|phase| name(phase) + "=<ms>").collect();
    phases.join(", ")
}

/// An answer without what a header says, which depends on the machine.
pub(super) fn mask_header(mut response: Response, name: impl AsHeaderName) -> Response {
    if let Some(value) = response.headers_mut().get_mut(name) {
        *value = HeaderValue::from_static("<masked>");
    }
    response
}
