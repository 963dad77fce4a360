//! Takes out of a store's errors what nobody may read in a log: signatures in queries, keys in bodies.

use object_store::Error;
use std::error::Error as _;

/// Longest text of a store that is passed on, in characters.
const MAX_CHARS: usize = 300;
/// Shortest value of a variable that is looked for: shorter ones occur by chance.
const MIN_SECRET: usize = 5;
/// Parts of the names of variables that hold secrets.
const SECRET_NAMES: &[&str] = &["KEY", "SECRET", "TOKEN", "SAS", "PASSWORD", "SERVICE_ACCOUNT"];

/// Values that no text may hold.
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    /// The values of variables that may be credentials of a store.
    pub(super) fn of(variables: impl Iterator<Item = (String, String)>) -> Self {
        let of_store =
            |name: &str| ["AWS_", "AZURE_", "GOOGLE_"].iter().any(|it| name.starts_with(it));
        let is_secret = |name: &str| SECRET_NAMES.iter().any(|part| name.contains(part));
        let mut values: Vec<_> = variables
            .filter(|(name, value)| of_store(name) && is_secret(name) && value.len() >= MIN_SECRET)
            .map(|(_, value)| value)
            .collect();
        // The part of one may be another.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        Self(values)
    }

    /// A store's error, in a text that can be logged.
    pub(super) fn describe(&self, error: &Error) -> String {
        let mut text = error.to_string();
        let what = what_happened(error, &text);
        if let Some(root) = root_cause(error).filter(|root| !text.contains(root)) {
            text = format!("{text}: {root}");
        }
        format!("{what}: {}", self.clean(&text))
    }

    /// A text without bodies, queries and secrets.
    fn clean(&self, text: &str) -> String {
        let mut clean = without_tries(&without_bodies(text));
        for secret in &self.0 {
            clean = clean.replace(secret, "***");
        }
        let words: Vec<_> = clean.split_whitespace().map(without_query).collect();
        let mut clean = words.join(" ");
        if let Some((at, _)) = clean.char_indices().nth(MAX_CHARS) {
            clean.truncate(at);
            clean.push('…');
        }
        clean
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Secrets").field(&self.0.len()).finish()
    }
}

/// In our words. A listing that fails has no kind of its own, only the status in its text.
fn what_happened(error: &Error, text: &str) -> &'static str {
    let has_status = |status: &str| text.contains(&format!("status code: {status}"));
    match error {
        Error::InvalidPath { .. } => "the store has an object whose name cannot be a path",
        Error::NotFound { .. } => "the store has no such bucket, container or object",
        _ if has_status("404") => "the store has no such bucket, container or object",
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            "the store refuses access with these credentials"
        }
        _ if has_status("401") || has_status("403") => {
            "the store refuses access with these credentials"
        }
        _ if has_status("405") || has_status("501") => "the store cannot list what it has",
        _ => "the store failed",
    }
}

/// The innermost error, which is the one that says what happened.
fn root_cause(error: &Error) -> Option<String> {
    let mut cause = error.source()?;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Some(cause.to_string())
}

/// Up to where a document begins, and the code that it has: S3 repeats the key and what was signed.
fn without_bodies(text: &str) -> String {
    let Some(at) = text.find(['<', '{', '\u{feff}']) else { return text.to_owned() };
    let (before, body) = text.split_at(at);
    let code = body.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    let is_word = |code: &str| code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match code.map(|(code, _)| code).filter(|code| is_word(code)) {
        Some(code) => format!("{} {code}", before.trim_end()),
        None => before.trim_end().to_owned(),
    }
}

/// Without the time that a request took and how often it was tried: the same outage has the same text.
fn without_tries(text: &str) -> String {
    let Some(at) = text.find("Error performing ") else { return text.to_owned() };
    let (before, request) = text.split_at(at);
    match (request.find(" in "), request.find(" - ")) {
        (Some(tries), Some(reason)) if tries < reason => {
            format!("{before}{} - {}", &request[..tries], request[reason + 3..].trim_start())
        }
        _ => text.to_owned(),
    }
}

/// A word without the query and the user that an address in it may have.
fn without_query(word: &str) -> String {
    let Some(at) = word.find("://") else { return word.to_owned() };
    let (scheme, rest) = word.split_at(at + 3);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets() -> Secrets {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let variables = [
            pair("AWS_SECRET_ACCESS_KEY", "geheimgeheim"),
            pair("AWS_SESSION_TOKEN", "marke"),
            pair("AWS_REGION", "eu-west-1"),
            pair("HOME", "/root"),
        ];
        Secrets::of(variables.into_iter())
    }

    #[test]
    fn what_a_store_says_is_passed_on_without_secrets() {
        let check = |text: &str, expected: &str| assert_eq!(secrets().clean(text), expected);
        check("a region is eu-west-1", "a region is eu-west-1");
        check("key geheimgeheim and marke", "key *** and ***");
        check(
            "Error performing GET https://h:1/b/k?X-Amz-Signature=12ab&x=1 in 3ms - gone",
            "Error performing GET https://h:1/b/k - gone",
        );
        check(
            "Generic S3 error: Error performing GET http://h/b?list-type=2 in 1.2s, after 3 retries, max_retries: 3, retry_timeout: 10s  - HTTP error: error sending request",
            "Generic S3 error: Error performing GET http://h/b - HTTP error: error sending request",
        );
        check("GET http://user:pass@host/a", "GET http://host/a");
        check(
            "403 Forbidden: <?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>",
            "403 Forbidden: SignatureDoesNotMatch",
        );
        check("401: {\"error\": \"x\", \"token\": \"y\"}", "401:");
        check("<Code>no word</Code>", "");
        check("two\nlines", "two lines");
    }

    #[test]
    fn what_happened_is_said_first() {
        let check = |text: &str, expected: &str| {
            let error = Error::Generic { store: "S3", source: text.into() };
            let said = secrets().describe(&error);
            assert!(said.starts_with(expected), "{said}");
        };
        let status = "Server returned non-2xx status code: ";
        check(&format!("{status}403 Forbidden: "), "the store refuses access");
        check(&format!("{status}401 Unauthorized: "), "the store refuses access");
        check(&format!("{status}404 Not Found: NoSuchBucket"), "the store has no such bucket");
        check(&format!("{status}405 Method Not Allowed: "), "the store cannot list");
        check(
            "HTTP error: error sending request",
            "the store failed: Generic S3 error: HTTP error",
        );
    }

    #[test]
    fn a_text_has_an_end() {
        assert_eq!(secrets().clean(&"ä".repeat(1000)).chars().count(), MAX_CHARS + 1);
    }

    #[test]
    fn secrets_do_not_print_themselves() {
        assert_eq!(format!("{:?}", secrets()), "Secrets(2)");
    }
}
