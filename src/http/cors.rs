//! Which pages of other origins may read what is answered (CORS, as the Fetch standard has it).
//!
//! A browser sends a page's request to another origin either way; these headers say whether the page may
//! see the answer, errors among them, and whether it may send what no form could. Only the listener for
//! predictions has them: nothing that changes state is to be within a page's reach.

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;

/// What the routes of the public listener take beside `OPTIONS`.
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT");

/// Headers of answers that a page may read beside those that it always may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Allow, Inference-Header-Content-Length, Retry-After, Sconce-Feedback, Server-Timing, X-Request-Id",
);

/// Seconds for which a browser need not ask again. Browsers have limits of their own.
const MAX_AGE: HeaderValue = HeaderValue::from_static("3600");

/// The origins whose pages may read answers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd)]
pub enum CorsOrigins {
    /// These; none is the default.
    Listed(Vec<String>),
    /// All there are.
    Any,
}

impl CorsOrigins {
    /// Reads `*` alone, or origins as browsers write them: `https://app.example.com`, with a port where it is
    /// not the scheme's own, and nothing behind it.
    #[must_use]
    pub fn parse(items: &[&str]) -> Option<Self> {
        if items == ["*"] {
            return Some(Self::Any);
        }
        items.iter().map(|item| origin(item)).collect::<Option<_>>().map(Self::Listed)
    }

    /// Headers for answers to heads that could not be read, so that nobody knows whose page has asked: they
    /// are told where all origins, or just one, may know.
    #[must_use]
    pub fn for_refusals(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let allow = match self {
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::Listed(origins) => match &origins[..] {
                [only] => HeaderValue::from_str(only).ok(),
                _ => None,
            },
        };
        Grant { allow, varies: false }.write(&mut headers);
        headers
    }

    /// What a request with this head is granted.
    pub(super) fn grant(&self, headers: &HeaderMap) -> Grant {
        match self {
            Self::Any => Grant { allow: Some(HeaderValue::from_static("*")), varies: false },
            Self::Listed(origins) if origins.is_empty() => Grant::NONE,
            Self::Listed(origins) => {
                let came = headers.get(ORIGIN);
                let known = |came: &&HeaderValue| origins.iter().any(|origin| *came == origin);
                Grant { allow: came.filter(known).cloned(), varies: true }
            }
        }
    }
}

impl Default for CorsOrigins {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

/// An origin in the form in which browsers send it.
fn origin(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://")?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.chars().all(|it| it.is_ascii_alphanumeric() || "+-.".contains(it));
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an address of version 6 lie within brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_host = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let part = |it: char| it.is_ascii_alphanumeric() || "-._~".contains(it);
            !host.is_empty() && host.chars().all(part)
        }
    };
    if !is_scheme || !is_host {
        return None;
    }
    let Some(port) = port else { return Some(text) };
    let number: u16 = port.parse().ok().filter(|_| port.bytes().all(|it| it.is_ascii_digit()))?;
    // Browsers leave the scheme's own port away.
    Some(match (scheme, number) {
        ("http", 80) | ("https", 443) => format!("{scheme}://{host}"),
        _ => format!("{scheme}://{host}:{number}"),
    })
}

/// What one request is granted.
#[derive(Debug)]
pub(super) struct Grant {
    allow: Option<HeaderValue>,
    /// Whether another origin would have got another answer, which caches are to know.
    varies: bool,
}

impl Grant {
    /// Nothing, whoever asks.
    pub(super) const NONE: Self = Self { allow: None, varies: false };

    /// The answer to a browser that asks what it may send, before it does. It is about no model and
    /// reaches none. `None` for every other request, and where nothing is granted.
    pub(super) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        let asks = method == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !asks || self.allow.is_none() {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let answer = response.headers_mut();
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        // Headers that the server does not know change nothing, so none needs to be kept out.
        if let Some(wanted) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
            answer.append(VARY, HeaderValue::from_name(ACCESS_CONTROL_REQUEST_HEADERS));
        }
        Some(response)
    }

    /// Says so to the browser, on any answer.
    pub(super) fn write(self, headers: &mut HeaderMap) {
        if let Some(allow) = self.allow {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allow);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
        if self.varies {
            headers.append(VARY, HeaderValue::from_name(ORIGIN));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_kept_as_browsers_write_them() {
        for (text, expected) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.Example.com:8443", "https://app.example.com:8443"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("http://localhost:80", "http://localhost"),
            ("http://localhost:443", "http://localhost:443"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("http://[::1]", "http://[::1]"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ] {
            let expected = CorsOrigins::Listed(vec![expected.to_owned()]);
            assert_eq!(CorsOrigins::parse(&[text]), Some(expected), "{text}");
        }
        for bad in [
            "",
            "null",
            "app.example.com",
            "https://",
            "https://app.example.com/",
            "https://app.example.com/page",
            "https://*.example.com",
            "https://user@example.com",
            "https://app.example.com:",
            "https://app.example.com:99999",
            "https://app.example.com:+1",
            "https://[::1",
            "https://a b",
            "https://é.example",
            "1http://a",
        ] {
            assert_eq!(CorsOrigins::parse(&[bad]), None, "{bad}");
        }
        assert_eq!(CorsOrigins::parse(&["*"]), Some(CorsOrigins::Any));
        assert_eq!(CorsOrigins::parse(&["*", "https://a"]), None, "any and some contradict");
        assert_eq!(CorsOrigins::parse(&[]), Some(CorsOrigins::default()));
    }

    fn head(lines: &[(axum::http::HeaderName, &'static str)]) -> HeaderMap {
        let value = |&(ref name, value): &(axum::http::HeaderName, &'static str)| {
            (name.clone(), HeaderValue::from_static(value))
        };
        lines.iter().map(value).collect()
    }

    /// Headers of an answer to this head, as `name: value`.
    fn written(origins: &[&str], lines: &[(axum::http::HeaderName, &'static str)]) -> Vec<String> {
        let grant = CorsOrigins::parse(origins).unwrap().grant(&head(lines));
        let mut headers = HeaderMap::new();
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        grant.write(&mut headers);
        let line =
            |(name, value): (_, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
        headers.iter().map(line).collect()
    }

    #[test]
    fn only_listed_origins_are_told_and_caches_always() {
        let exposed = format!("access-control-expose-headers: {}", EXPOSED.to_str().unwrap());
        let kept = "vary: accept-encoding".to_owned();
        let a = [(ORIGIN, "https://a")];
        let allow = |origin: &str| format!("access-control-allow-origin: {origin}");
        let vary = "vary: origin".to_owned();
        let nothing = std::slice::from_ref(&kept);
        assert_eq!(written(&[], &a), nothing, "nothing unless it is configured");
        let listed = ["https://b", "https://a"];
        assert_eq!(
            written(&listed, &a),
            [kept.clone(), vary.clone(), allow("https://a"), exposed.clone()]
        );
        for other in ["https://c", "https://a:1", "http://a", "https://A", "null", ""] {
            assert_eq!(
                written(&listed, &[(ORIGIN, other)]),
                [kept.clone(), vary.clone()],
                "{other}"
            );
        }
        assert_eq!(written(&listed, &[]), [kept.clone(), vary]);
        assert_eq!(written(&["*"], &a), [kept.clone(), allow("*"), exposed.clone()]);
        assert_eq!(written(&["*"], &[]), [kept, allow("*"), exposed]);
    }

    #[test]
    fn refusals_without_a_head_tell_what_holds_for_every_page() {
        let allow = |origins: &[&str]| {
            let headers = CorsOrigins::parse(origins).unwrap().for_refusals();
            headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|it| it.to_str().unwrap().to_owned())
        };
        assert_eq!(allow(&[]), None);
        assert_eq!(allow(&["*"]), Some("*".to_owned()));
        assert_eq!(allow(&["https://a"]), Some("https://a".to_owned()));
        assert_eq!(allow(&["https://a", "https://b"]), None);
    }

    #[test]
    fn a_browser_that_asks_first_is_answered_at_once() {
        let asks = |origins: &[&str], method: &Method, lines: &[_]| {
            let headers = head(lines);
            CorsOrigins::parse(origins).unwrap().grant(&headers).preflight(method, &headers)
        };
        let wants = (ACCESS_CONTROL_REQUEST_METHOD, "POST");
        let names = (ACCESS_CONTROL_REQUEST_HEADERS, "content-type,x-mine");
        let lines = [(ORIGIN, "https://a"), wants.clone(), names.clone()];
        let listed = ["https://a"];
        let response = asks(&listed, &Method::OPTIONS, &lines).unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_METHODS], METHODS);
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_HEADERS], "content-type,x-mine");
        assert_eq!(response.headers()[ACCESS_CONTROL_MAX_AGE], "3600");
        assert!(asks(&["*"], &Method::OPTIONS, &lines).is_some());
        assert!(asks(&[], &Method::OPTIONS, &lines).is_none());
        assert!(asks(&["https://b"], &Method::OPTIONS, &lines).is_none());
        assert!(asks(&listed, &Method::POST, &lines).is_none());
        assert!(asks(&listed, &Method::OPTIONS, &[lines[0].clone(), names]).is_none());
        assert!(asks(&["*"], &Method::OPTIONS, &[wants]).is_none(), "no browser has no origin");
    }
}
