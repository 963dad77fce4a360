//! Whom the management listener answers: requests that were meant for it, and none that a web page makes of itself.
//!
//! It asks nobody who he is, so a browser on the same machine must not be talked into changing state: by a page that posts a
//! form to it, or by a name that an attacker lets point at this machine (DNS rebinding). Such a request has the page's
//! origin, or the attacker's name for a host.

use crate::inference::{ErrorCode, InferError};
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method, Uri};
use std::net::IpAddr;

/// Longest piece of a host or an origin that a message repeats, in characters.
const SHOWN: usize = 100;

/// Host names that the management listener answers to, beside addresses and `localhost`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Default)]
pub struct HostNames(Vec<String>);

impl HostNames {
    /// Names, or `None` where one is none: it has no port and no scheme.
    #[must_use]
    pub fn parse(items: &[&str]) -> Option<Self> {
        let is_part = |it: char| it.is_ascii_alphanumeric() || it == '-' || it == '.' || it == '_';
        let name = |item: &&str| {
            let is_name = !item.is_empty() && item.len() <= 253 && item.chars().all(is_part);
            is_name.then(|| item.to_ascii_lowercase())
        };
        items.iter().map(name).collect::<Option<_>>().map(Self)
    }

    /// The names.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Refuses a request that a page may have made, or that came by a name which is not this server's.
    pub(super) fn check(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), InferError> {
        let header =
            |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let host = uri.authority().map(|it| it.as_str().into()).or_else(|| header(HOST));
        if let Some(host) = host.as_deref().filter(|host| !self.is_ours(host)) {
            return Err(refusal(format!(
                "the management listener answers to addresses, to localhost and to the names in management.hosts, not to the host {:?}",
                shown(host)
            )));
        }
        if matches!(*method, Method::GET | Method::HEAD) {
            return Ok(());
        }
        if let Some(origin) = header(ORIGIN)
            && host.is_none_or(|host| !is_of(&origin, &host))
        {
            let shown = shown(&origin);
            return Err(refusal(format!("a page of {shown:?} may not change state here")));
        }
        match headers.get("sec-fetch-site").map(|value| value.as_bytes()) {
            Some(site @ (b"cross-site" | b"same-site")) => {
                let site = String::from_utf8_lossy(site);
                Err(refusal(format!("a page of another site may not change state here ({site})")))
            }
            _ => Ok(()),
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = name_of(host).to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok()
            || name == "localhost"
            || name.ends_with(".localhost")
            || self.0.contains(&name)
    }
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        // The colons of an address of version 6 lie within brackets.
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    }
}

/// Whether an origin is that of a page which came from this host.
fn is_of(origin: &str, host: &str) -> bool {
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

fn refusal(message: String) -> InferError {
    InferError::new(ErrorCode::Forbidden, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: Method, headers: &[(&'static str, &str)], expected: bool) {
        let names = HostNames::parse(&["Sconce.internal"]).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let outcome = names.check(&method, &Uri::from_static("/manage"), &map);
        assert_eq!(outcome.is_ok(), expected, "{method} {headers:?}: {outcome:?}");
    }

    #[test]
    fn only_names_and_addresses_of_this_server_are_answered() {
        for host in [
            "127.0.0.1",
            "10.1.2.3:8081",
            "[::1]:8081",
            "[::1]",
            "localhost",
            "LOCALHOST:8081",
            "a.localhost:1",
            "sconce.internal:8081",
        ] {
            check(Method::POST, &[("host", host)], true);
        }
        for host in
            ["evil.example", "evil.example:8081", "127.0.0.1.evil.example", "localhost.evil"]
        {
            check(Method::GET, &[("host", host)], false);
            check(Method::POST, &[("host", host)], false);
        }
        check(Method::POST, &[], true);
    }

    #[test]
    fn pages_of_others_change_nothing() {
        let own = ("host", "127.0.0.1:8081");
        check(Method::POST, &[own, ("origin", "http://127.0.0.1:8081")], true);
        check(Method::POST, &[own, ("sec-fetch-site", "same-origin")], true);
        check(Method::POST, &[own, ("sec-fetch-site", "none")], true);
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1:3000"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
                check(method, &[own, (name, value)], false);
            }
            check(Method::GET, &[own, (name, value)], true);
        }
    }

    #[test]
    fn a_name_has_no_port_and_no_scheme() {
        assert_eq!(HostNames::parse(&["a.b", "c_d"]).unwrap().names(), ["a.b", "c_d"]);
        for bad in ["a:1", "http://a", "", "a/b", "*"] {
            assert_eq!(HostNames::parse(&[bad]), None, "{bad:?}");
        }
    }
}
