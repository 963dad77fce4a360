//! Reads an HTTP/1.1 answer out of a buffer: as much of the protocol as servers under test speak.

use memchr::{memchr, memmem};

/// An answer that is whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Where the body begins in the buffer, and where it ends.
    pub(crate) body: (usize, usize),
    /// The server will close the connection.
    pub(crate) closes: bool,
}

/// What the buffer holds so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// More bytes are needed; of the whole answer so many, when that is known.
    Partial(Option<usize>),
    Whole(Answer),
    /// Not an answer that this reader understands, and why.
    Malformed(&'static str),
}

pub(crate) fn parse(buffer: &[u8]) -> Parsed {
    let Some(end) = memmem::find(buffer, b"\r\n\r\n") else {
        return if buffer.len() > 64 * 1024 {
            Parsed::Malformed("a head over 64 KiB")
        } else {
            Parsed::Partial(None)
        };
    };
    let (head, start) = (&buffer[..end], end + 4);
    let Some(status) = status(head) else {
        return Parsed::Malformed("no status line");
    };
    let (mut length, mut closes) = (None, false);
    for (name, value) in headers(head) {
        if name.eq_ignore_ascii_case(b"content-length") {
            length = number(value);
        } else if name.eq_ignore_ascii_case(b"connection") {
            closes = value.eq_ignore_ascii_case(b"close");
        }
    }
    let Some(whole) = length.and_then(|length| start.checked_add(length)) else {
        return Parsed::Malformed("no content-length");
    };
    if buffer.len() < whole {
        return Parsed::Partial(Some(whole));
    }
    // Requests are not pipelined, so nothing may follow.
    if buffer.len() > whole {
        return Parsed::Malformed("bytes after the answer");
    }
    Parsed::Whole(Answer { status, body: (start, whole), closes })
}

/// Milliseconds of each phase in `Server-Timing`, as `name;dur=1.25`.
pub(crate) fn server_timing(head: &[u8]) -> Vec<(&str, f64)> {
    let value = headers(head).find(|(name, _)| name.eq_ignore_ascii_case(b"server-timing"));
    let text = value.and_then(|(_, value)| std::str::from_utf8(value).ok()).unwrap_or("");
    let phase = |part: &'_ str| -> Option<(usize, f64)> {
        let name = part.find(';')?;
        let duration = part[name..].strip_prefix(";dur=")?.parse().ok()?;
        Some((name, duration))
    };
    text.split(',')
        .map(str::trim)
        .filter_map(|part| phase(part).map(|(name, duration)| (&part[..name], duration)))
        .collect()
}

fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.1 ")?;
    number(rest.get(..3)?).and_then(|status| u16::try_from(status).ok())
}

fn headers(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    head.split(|byte| *byte == b'\n').skip(1).filter_map(|line| {
        let colon = memchr(b':', line)?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Parsed) {
        assert_eq!(parse(text.as_bytes()), expected, "of {text:?}");
    }

    #[test]
    fn answers_are_read_when_they_are_whole() {
        let whole = |status, body, closes| Parsed::Whole(Answer { status, body, closes });
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", whole(200, (38, 40), false));
        check(
            "HTTP/1.1 503 x\r\ncontent-length:0\r\nConnection: Close\r\n\r\n",
            whole(503, (55, 55), true),
        );
        check("", Parsed::Partial(None));
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", Parsed::Partial(None));
        check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh", Parsed::Partial(Some(40)));
    }

    #[test]
    fn what_is_not_understood_is_said() {
        check("HTTP/1.1 200 OK\r\n\r\n", Parsed::Malformed("no content-length"));
        check("HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n", Parsed::Malformed("no status line"));
        check(
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP",
            Parsed::Malformed("bytes after the answer"),
        );
    }

    #[test]
    fn phases_are_read_in_order() {
        let head = b"HTTP/1.1 200 OK\r\nserver-timing: decode;dur=0.04, compute;dur=12, odd\r\n";
        assert_eq!(server_timing(head), [("decode", 0.04), ("compute", 12.0)]);
        assert_eq!(server_timing(b"HTTP/1.1 200 OK\r\n"), []);
    }
}
