//! The framing rules for an HTTP/1 request head, checked before hyper sees a byte of it. Pure.
//!
//! Behind a load balancer a request is read twice, and what the two readers understand differently
//! is how requests are smuggled. So everything that has two readings is refused here, even what
//! the RFC lets a server repair: bare LF and CR, Content-Length beside Transfer-Encoding, repeated
//! Content-Length, codings other than `chunked`, folded lines, space before a colon, control
//! characters, no Host or two. What hyper refuses well stays hyper's: versions of known
//! shape.

use super::body::{BodyFraming, Chunked};
use http::Uri;
use std::fmt;

/// Why a request head was refused. The text is safe to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    BareLineFeed,
    BareCarriageReturn,
    RequestLine,
    Target,
    HeaderName,
    HeaderValue,
    FoldedLine,
    TooManyHeaders,
    HeadTooLarge,
    MissingHost,
    RepeatedHost,
    InvalidHost,
    InvalidContentLength,
    RepeatedContentLength,
    LengthAndTransferEncoding,
    TransferEncoding,
}

impl Refusal {
    /// Whether the head is only larger than we take.
    #[must_use]
    pub fn is_about_size(self) -> bool {
        matches!(self, Self::TooManyHeaders | Self::HeadTooLarge)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BareLineFeed => "request head has a line feed without a carriage return",
            Self::BareCarriageReturn => "request head has a carriage return without a line feed",
            Self::RequestLine => {
                "request line is malformed, expected a method, a target and HTTP/1.1 or HTTP/1.0"
            }
            Self::Target => "request target is malformed, expected a path or a whole address",
            Self::HeaderName => "request head has a malformed header name",
            Self::HeaderValue => "request head has a control character in a header value",
            Self::FoldedLine => "request head has a folded header line",
            Self::TooManyHeaders => "request head has too many header lines",
            Self::HeadTooLarge => "request head is too large",
            Self::MissingHost => "request head has no Host header",
            Self::RepeatedHost => "request head has more than one Host header",
            Self::InvalidHost => "request head has a malformed Host header",
            Self::InvalidContentLength => "Content-Length is not a number of bytes",
            Self::RepeatedContentLength => "request head has more than one Content-Length",
            Self::LengthAndTransferEncoding => {
                "request head has both Content-Length and Transfer-Encoding"
            }
            Self::TransferEncoding => "Transfer-Encoding is not supported, expected chunked alone",
        })
    }
}

/// Where a head stands in the bytes that have come so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan {
    /// The head is not complete. Everything before `scanned` needs no second look.
    Partial { scanned: usize },
    /// The head ends before this byte.
    Complete { len: usize },
}

/// Looks for the empty line, refusing at once what can no longer become a legal head, so that
/// a head ended by bare line feeds is not waited for.
pub(super) fn scan(bytes: &[u8], scanned: usize) -> Result<Scan, Refusal> {
    // Three bytes back: the empty line may have been cut anywhere.
    let mut at = scanned.saturating_sub(3);
    while let Some(offset) = bytes[at..].iter().position(|&b| b == b'\n' || b == b'\r') {
        at += offset;
        if bytes[at] == b'\n' {
            if at == 0 || bytes[at - 1] != b'\r' {
                return Err(Refusal::BareLineFeed);
            }
            at += 1;
            continue;
        }
        match bytes.get(at + 1) {
            Some(b'\n') if bytes[..at].ends_with(b"\r\n") => {
                return Ok(Scan::Complete { len: at + 2 });
            }
            Some(b'\n') => at += 2,
            Some(_) => return Err(Refusal::BareCarriageReturn),
            None => break,
        }
    }
    Ok(Scan::Partial { scanned: bytes.len() })
}

/// Checks a complete head, empty line included, and tells how its body is framed.
pub(super) fn check(head: &[u8], max_headers: usize) -> Result<BodyFraming, Refusal> {
    let text = head.strip_suffix(b"\r\n\r\n").unwrap_or(head);
    let mut lines = split_lines(text);
    let version = check_request_line(lines.next().unwrap_or_default())?;
    let mut headers = Headers::default();
    for (n_headers, line) in lines.enumerate() {
        if n_headers == max_headers {
            return Err(Refusal::TooManyHeaders);
        }
        headers.add(line)?;
    }
    headers.framing(version)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// The headers that decide about framing; the others are only looked at.
#[derive(Default)]
struct Headers {
    n_hosts: usize,
    content_length: Option<u64>,
    chunked: bool,
}

impl Headers {
    fn add(&mut self, line: &[u8]) -> Result<(), Refusal> {
        if matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(Refusal::FoldedLine);
        }
        let colon = line.iter().position(|&b| b == b':');
        let (name, value) = line.split_at(colon.ok_or(Refusal::HeaderName)?);
        if name.is_empty() || !name.iter().all(|&b| is_token(b)) {
            return Err(Refusal::HeaderName);
        }
        let value = &value[1..];
        if !value.iter().all(|&b| b == b'\t' || (b >= b' ' && b != 0x7f)) {
            return Err(Refusal::HeaderValue);
        }
        // Only spaces and tabs are left to trim.
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case(b"host") {
            self.add_host(value)
        } else if name.eq_ignore_ascii_case(b"content-length") {
            self.add_content_length(value)
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.add_transfer_encoding(value)
        } else {
            Ok(())
        }
    }

    fn add_host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        self.n_hosts += 1;
        if self.n_hosts > 1 {
            return Err(Refusal::RepeatedHost);
        }
        let separates = |b: &u8| b"/?#@\\".contains(b) || b.is_ascii_whitespace() || !b.is_ascii();
        if value.iter().any(separates) {
            return Err(Refusal::InvalidHost);
        }
        Ok(())
    }

    /// A list such as `5, 5` is refused with the non-digits. Equal repetitions are refused as
    /// well: no honest client sends them.
    fn add_content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.content_length.is_some() {
            return Err(Refusal::RepeatedContentLength);
        }
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(Refusal::InvalidContentLength);
        }
        let digits = str::from_utf8(value).ok();
        // An i64 keeps well clear of the lengths that hyper reserves for itself.
        let length = digits.and_then(|digits| digits.parse::<i64>().ok());
        let length = length.ok_or(Refusal::InvalidContentLength)?;
        self.content_length = Some(length.unsigned_abs());
        Ok(())
    }

    fn add_transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::TransferEncoding);
        }
        self.chunked = true;
        Ok(())
    }

    fn framing(self, version: Version) -> Result<BodyFraming, Refusal> {
        if self.n_hosts == 0 && version == Version::Http11 {
            return Err(Refusal::MissingHost);
        }
        match (self.content_length, self.chunked) {
            (Some(_), true) => Err(Refusal::LengthAndTransferEncoding),
            (None, true) if version == Version::Http10 => Err(Refusal::TransferEncoding),
            (None, true) => Ok(BodyFraming::Chunked(Chunked::default())),
            (length, false) => Ok(BodyFraming::Length(length.unwrap_or(0))),
        }
    }
}

fn check_request_line(line: &[u8]) -> Result<Version, Refusal> {
    let mut parts = line.split(|&b| b == b' ');
    let (method, target, version) = (parts.next(), parts.next(), parts.next());
    let (Some(method), Some(target), Some(version), None) = (method, target, version, parts.next())
    else {
        return Err(Refusal::RequestLine);
    };
    let method_is_token = !method.is_empty() && method.iter().all(|&b| is_token(b));
    let target_is_visible = !target.is_empty() && target.iter().all(|&b| b > b' ' && b != 0x7f);
    if !method_is_token || !target_is_visible {
        return Err(Refusal::RequestLine);
    }
    // hyper would refuse it too, without a word.
    if !is_plain_path(target) && Uri::try_from(target).is_err() {
        return Err(Refusal::Target);
    }
    match version {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        _ => Err(Refusal::RequestLine),
    }
}

/// Whether a target is a path of such letters as nearly all are: then there is nothing to look at more closely.
fn is_plain_path(target: &[u8]) -> bool {
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"/-_.~?&=%+:,@".contains(b);
    target.first() == Some(&b'/') && target.iter().all(is_plain)
}

/// `scan` has seen to it that every line feed follows a carriage return and the reverse.
fn split_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn judge(head: &str) -> Result<BodyFraming, Refusal> {
        match scan(head.as_bytes(), 0)? {
            Scan::Complete { len } => check(&head.as_bytes()[..len], 5),
            Scan::Partial { .. } => panic!("{head:?} must be complete"),
        }
    }

    #[track_caller]
    fn refused(head: &str, expected: Refusal) {
        assert_eq!(judge(head), Err(expected), "{head:?}");
    }

    #[track_caller]
    fn accepted(head: &str, expected: BodyFraming) {
        assert_eq!(judge(head), Ok(expected), "{head:?}");
    }

    #[test]
    fn legal_heads_are_accepted() {
        let none = BodyFraming::Length(0);
        let chunked = BodyFraming::Chunked(Chunked::default());
        accepted("GET / HTTP/1.1\r\nHost: a\r\n\r\n", none.clone());
        accepted("GET / HTTP/1.1\r\nHost:\r\n\r\n", none.clone());
        accepted("GET / HTTP/1.1\r\nhost: [::1]:80 \r\nA:\tb \r\n\r\n", none.clone());
        accepted("GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n", none.clone());
        accepted("GET / HTTP/1.0\r\n\r\n", none.clone());
        accepted("GET / HTTP/1.1\r\nHost: a\r\nX: caf\u{e9}\r\n\r\n", none);
        let five = BodyFraming::Length(5);
        accepted("POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 005\r\n\r\n", five);
        accepted("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", chunked);
    }

    #[test]
    fn ambiguous_heads_are_refused() {
        let with = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n");
        for (lines, expected) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", Refusal::LengthAndTransferEncoding),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5", Refusal::LengthAndTransferEncoding),
            ("Content-Length: 5\r\nContent-Length: 6", Refusal::RepeatedContentLength),
            ("Content-Length: 5\r\nContent-Length: 5", Refusal::RepeatedContentLength),
            ("Content-Length: 5, 5", Refusal::InvalidContentLength),
            ("Content-Length: +5", Refusal::InvalidContentLength),
            ("Content-Length: -5", Refusal::InvalidContentLength),
            ("Content-Length: 0x5", Refusal::InvalidContentLength),
            ("Content-Length:", Refusal::InvalidContentLength),
            ("Content-Length: 18446744073709551615", Refusal::InvalidContentLength),
            ("Transfer-Encoding: gzip, chunked", Refusal::TransferEncoding),
            ("Transfer-Encoding: identity", Refusal::TransferEncoding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Refusal::TransferEncoding),
            ("Transfer-Encoding: \u{b}chunked", Refusal::HeaderValue),
            ("Transfer-Encoding: \u{c}chunked", Refusal::HeaderValue),
            ("Transfer-Encoding : chunked", Refusal::HeaderName),
            ("Host: b", Refusal::RepeatedHost),
            ("A: b\r\n folded", Refusal::FoldedLine),
            ("A: b\r\n\tfolded", Refusal::FoldedLine),
            ("A: b\0c", Refusal::HeaderValue),
            ("A: b\u{7f}c", Refusal::HeaderValue),
            ("A: b\rc", Refusal::BareCarriageReturn),
            ("A: b\nC: d", Refusal::BareLineFeed),
            ("no colon", Refusal::HeaderName),
            (": empty", Refusal::HeaderName),
            ("A\u{e9}: b", Refusal::HeaderName),
            ("A: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\nE: 1", Refusal::TooManyHeaders),
        ] {
            refused(&with(lines), expected);
        }
    }

    #[test]
    fn malformed_starts_are_refused() {
        refused("GET / HTTP/1.1\r\n\r\n", Refusal::MissingHost);
        refused("GET / HTTP/1.1\nHost: a\n\n", Refusal::BareLineFeed);
        refused("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Refusal::InvalidHost);
        refused("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", Refusal::InvalidHost);
        refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::TransferEncoding);
        for line in [
            "GET /",
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET / HTTP/2.0",
            " / HTTP/1.1",
            "GET /\u{1} HTTP/1.1",
            "G(T / HTTP/1.1",
            "GET / http/1.1",
            "GET\t/ HTTP/1.1",
        ] {
            refused(&format!("{line}\r\nHost: a\r\n\r\n"), Refusal::RequestLine);
        }
        for target in ["/a-b_c.d/1?x=%20&y=+~:,@", "/\"{}|", "*", "http://a/b"] {
            accepted(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), BodyFraming::Length(0));
        }
        for target in ["http:///health", "http://", "http://[::1/health"] {
            refused(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"), Refusal::Target);
        }
    }

    #[test]
    fn a_scan_resumes_anywhere() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for cut in 0..head.len() {
            let first = scan(&head[..cut], 0).expect("a legal head is not refused half-way");
            assert_eq!(first, Scan::Partial { scanned: cut });
            assert_eq!(scan(head, cut), Ok(Scan::Complete { len: head.len() }));
        }
    }
}
