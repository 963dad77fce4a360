//! How a body of text begins: what is looked at before it is read as JSON.

use super::{Dialect, Reader};
use crate::inference::{ErrorCode, InferError};

/// The byte-order mark in UTF-8, which editors and shells on Windows put before a text.
pub(crate) const MARK: &[u8] = b"\xef\xbb\xbf";

/// A reader of a whole body, behind its byte-order mark if it has one. `expected` says what should be in it.
///
/// # Errors
///
/// `invalid_body` for a body with nothing in it, `invalid_json` for one in UTF-16.
pub(crate) fn open<'a>(
    body: &'a [u8],
    dialect: Dialect,
    expected: &str,
) -> Result<Reader<'a>, InferError> {
    if body.starts_with(b"\xff\xfe") || body.starts_with(b"\xfe\xff") {
        let message = "the body is not valid JSON: it is UTF-16, expected UTF-8";
        return Err(InferError::new(ErrorCode::InvalidJson, message));
    }
    let mut reader = match dialect {
        Dialect::Strict => Reader::new(body),
        Dialect::Extended => Reader::extended(body),
    };
    reader.skip_mark();
    match reader.peek() {
        Some(_) => Ok(reader),
        None => Err(empty_body(expected)),
    }
}

/// The report of a body that has nothing in it.
pub(crate) fn empty_body(expected: &str) -> InferError {
    let message = format!("the body is empty, expected {expected}");
    InferError::new(ErrorCode::InvalidBody, message).with_mismatch(expected, "nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &[u8], expected: Result<usize, &str>) {
        for dialect in [Dialect::Strict, Dialect::Extended] {
            let opened = open(body, dialect, "an object");
            let left = opened.map(|reader| reader.remaining()).map_err(|error| error.to_string());
            assert_eq!(left, expected.map_err(str::to_owned), "{body:?}");
        }
    }

    #[test]
    fn marks_are_skipped_and_nothing_is_called_nothing() {
        let empty = Err("the body is empty, expected an object");
        check(b"", empty);
        check(b" \r\n\t", empty);
        check(b"\xef\xbb\xbf", empty);
        check(b"\xef\xbb\xbf\n", empty);
        check(b"{}", Ok(2));
        check(b"\xef\xbb\xbf{}", Ok(2));
        check(b" {}", Ok(2));
        let utf_16 = Err("the body is not valid JSON: it is UTF-16, expected UTF-8");
        check(b"\xff\xfe{\0}\0", utf_16);
        check(b"\xfe\xff\0{\0}", utf_16);
    }

    /// Faults are told by their place in the body, of which the mark is a part.
    #[test]
    fn a_mark_counts_as_bytes_and_only_at_the_start() {
        let mut reader = open(b"\xef\xbb\xbf{,", Dialect::Strict, "an object").unwrap();
        assert!(reader.take(b'{'));
        let error = InferError::from(reader.key().unwrap_err());
        let expected = "the body is not valid JSON: expected a member's name in quotes at byte 4";
        assert_eq!(error.to_string(), expected);
        let twice = open(b"\xef\xbb\xbf\xef\xbb\xbf{}", Dialect::Strict, "an object").unwrap();
        assert_eq!(twice.remaining(), 5);
    }
}
