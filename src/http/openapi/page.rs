//! `/docs`: the document for people, with forms that send requests. One file, nothing from elsewhere.

use crate::http::booking::Booking;
use axum::http::HeaderName;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const PAGE: &str = concat!(
    include_str!("page.html"),
    "<style>",
    include_str!("page.css"),
    "</style>\n<script>",
    include_str!("page.js"),
    "</script>\n"
);

pub(in crate::http) async fn page() -> Response {
    let mut response = (headers(), Html(PAGE)).into_response();
    response.extensions_mut().insert(Booking::Settled);
    response
}

/// Only what this page brings runs, and it talks to this server alone: text of a model that got past
/// the script as markup would do nothing.
fn headers() -> [(HeaderName, String); 4] {
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    [
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (REFERRER_POLICY, "no-referrer".to_owned()),
        // It belongs to this version of the program.
        (CACHE_CONTROL, "no-cache".to_owned()),
    ]
}

fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_brings_all_that_it_needs() {
        assert!(PAGE.len() < 40 * 1024);
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!PAGE.contains(outside), "{outside:?} leads out of the page");
        }
        for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!SCRIPT.contains(way), "{way} would read a model's text as markup");
        }
    }

    #[test]
    fn the_policy_names_the_script_and_the_style_as_they_are() {
        let [(_, policy), ..] = headers();
        // Of the empty text, as any tool gives it.
        let empty = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='";
        assert_eq!(hash(""), empty);
        assert!(policy.contains(&hash(SCRIPT)) && policy.contains(&hash(STYLE)), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}
