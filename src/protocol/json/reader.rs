//! A reader that walks over JSON text once, from left to right, and remembers only where it is.

use super::number::{FromNumber, Number};
use super::window::Window;
use super::{Dialect, MARK, MAX_DEPTH};
use crate::inference::{ErrorCode, InferError};
use std::borrow::Cow;

/// The complaint about a word that only the extended dialect has.
const NOT_FINITE: &str = "NaN or an infinity, for which JSON has no word,";

/// Text that is not JSON: what is wrong and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// What was expected, or what is not allowed.
    what: &'static str,
    /// Offset from the start of the text.
    at: usize,
    /// Whether the text ends there.
    is_end: bool,
}

impl From<SyntaxError> for InferError {
    fn from(SyntaxError { what, at, is_end }: SyntaxError) -> Self {
        let end = if is_end { ", where it ends" } else { "" };
        let message = format!("the body is not valid JSON: {what} at byte {at}{end}");
        Self::new(ErrorCode::InvalidJson, message)
    }
}

/// A place in JSON text. A copy of it is a bookmark.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    dialect: Dialect,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, dialect: Dialect::Strict }
    }

    /// A reader that takes what some writers add to JSON.
    pub(crate) fn extended(bytes: &'a [u8]) -> Self {
        Self { dialect: Dialect::Extended, ..Self::new(bytes) }
    }

    /// Steps over a byte-order mark, which is no part of the text.
    pub(crate) fn skip_mark(&mut self) {
        self.literal(MARK);
    }

    /// Whether the dialect has words for the numbers that are not finite.
    pub(super) fn has_words(&self) -> bool {
        self.dialect == Dialect::Extended
    }

    /// Bytes that are still to come.
    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// A complaint about this place.
    pub(crate) fn error(&self, what: &'static str) -> SyntaxError {
        SyntaxError { what, at: self.at, is_end: self.at >= self.bytes.len() }
    }

    /// The next byte that is not white space, left where it is.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    /// Steps over `byte` if it comes next.
    #[inline]
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let comes = self.peek() == Some(byte);
        if comes {
            self.at += 1;
        }
        comes
    }

    /// Whether another item follows the one just read: steps over the comma or the closing bracket.
    #[inline]
    pub(crate) fn goes_on(&mut self, close: u8) -> Result<bool, SyntaxError> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            _ if close == b']' => Err(self.error("expected a comma or ']'")),
            _ => Err(self.error("expected a comma or '}'")),
        }
    }

    /// A member's key and the colon behind it.
    pub(crate) fn key(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("expected a member's name in quotes"));
        }
        let key = self.string()?;
        if self.take(b':') { Ok(key) } else { Err(self.error("expected ':'")) }
    }

    /// A text; `None` when the next value is of another kind.
    pub(crate) fn text(&mut self) -> Result<Option<Cow<'a, str>>, SyntaxError> {
        if self.peek() == Some(b'"') { self.string().map(Some) } else { Ok(None) }
    }

    /// A string; the reader stands at its opening quote.
    fn string(&mut self) -> Result<Cow<'a, str>, SyntaxError> {
        let start = *self;
        let token = self.string_token()?;
        let text = &token[1..token.len() - 1];
        let is_plain = |byte: &u8| (b' '..0x7f).contains(byte) && *byte != b'\\';
        if text.iter().all(is_plain)
            && let Ok(plain) = std::str::from_utf8(text)
        {
            return Ok(Cow::Borrowed(plain));
        }
        // Escapes and encodings are few and intricate: serde_json knows them.
        serde_json::from_slice(token).map(Cow::Owned).map_err(|_| {
            start.error("a string with a control character, wrong escape or bad UTF-8")
        })
    }

    /// A string with its quotes, whatever lies between them.
    fn string_token(&mut self) -> Result<&'a [u8], SyntaxError> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => {
                    self.at = self.bytes.len();
                    return Err(self.error("expected the end of a string"));
                }
            }
        }
        self.at += 1;
        Ok(&self.bytes[start..self.at])
    }

    /// A number of common spelling; `None` leaves the reader where it is, see [`Self::number`].
    #[inline(always)]
    pub(super) fn quick<T: FromNumber>(&mut self) -> Option<T> {
        self.peek();
        let rest = self.bytes.get(self.at..)?;
        let (value, len) = match rest.first_chunk() {
            Some(window) => T::from_window(window)?,
            None => T::from_window(&last_window(rest))?,
        };
        self.at += len;
        Some(value)
    }

    /// A number; `None` when the next value is of another kind.
    pub(crate) fn number(&mut self) -> Result<Option<Number<'a>>, SyntaxError> {
        if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            return Ok(None);
        }
        match Number::scan(&self.bytes[self.at..]) {
            Ok((number, len)) => {
                self.at += len;
                Ok(Some(number))
            }
            Err(_) if self.is_at_word() => Err(self.error(NOT_FINITE)),
            Err((what, offset)) => {
                self.at += offset;
                Err(self.error(what))
            }
        }
    }

    /// The word that the dialect has for a number which is not finite, and what it means.
    pub(super) fn word(&mut self) -> Option<(f64, &'a str)> {
        self.peek();
        let rest = &self.bytes[self.at..];
        let (value, len) = self.dialect.word(rest)?;
        self.at += len;
        Some((value, std::str::from_utf8(&rest[..len]).ok()?))
    }

    /// Whether a word for a number that is not finite comes here, in the dialect or not.
    fn is_at_word(&self) -> bool {
        Dialect::Extended.word(&self.bytes[self.at..]).is_some()
    }

    /// Whether the next value is an object that stands for bytes, as the dialect writes them.
    pub(crate) fn is_at_base64(mut self) -> bool {
        self.dialect == Dialect::Extended
            && self.take(b'{')
            && self.key().is_ok_and(|key| key == "b64")
            && self.peek() == Some(b'"')
    }

    /// `true` or `false`; `None` when the next value is of another kind.
    pub(crate) fn boolean(&mut self) -> Option<bool> {
        self.peek();
        if self.literal(b"true") {
            return Some(true);
        }
        self.literal(b"false").then_some(false)
    }

    /// Steps over `null` if it comes next.
    pub(crate) fn null(&mut self) -> bool {
        self.peek();
        self.literal(b"null")
    }

    fn literal(&mut self, word: &[u8]) -> bool {
        let comes = self.bytes[self.at..].starts_with(word);
        if comes {
            self.at += word.len();
        }
        comes
    }

    /// What kind of value comes next, in a client's words.
    pub(crate) fn kind(&mut self) -> Result<&'static str, SyntaxError> {
        let next = self.peek();
        let starts = |word: &[u8]| self.bytes[self.at..].starts_with(word);
        match next {
            Some(b'{') => Ok("an object"),
            Some(b'[') => Ok("an array"),
            Some(b'"') => Ok("a string"),
            Some(b'-' | b'0'..=b'9') => Ok("a number"),
            _ if starts(b"true") || starts(b"false") => Ok("a boolean"),
            _ if starts(b"null") => Ok("null"),
            _ if self.is_at_word() && self.has_words() => Ok("a number"),
            _ if self.is_at_word() => Err(self.error(NOT_FINITE)),
            _ => Err(self.error("expected a value")),
        }
    }

    /// How many arrays open here, one in another, before anything else comes.
    pub(crate) fn depth(mut self) -> Result<usize, SyntaxError> {
        let mut depth = 0;
        while self.take(b'[') {
            depth += 1;
            if depth > MAX_DEPTH {
                return Err(self.too_deep());
            }
        }
        Ok(depth)
    }

    /// The complaint about arrays and objects in more levels than are walked.
    pub(crate) fn too_deep(&self) -> SyntaxError {
        self.error("nested deeper than 32 levels")
    }

    /// Calls `member` for each member of an object, with its key and the reader before its value.
    /// `false`, with nothing read, when the next value is of another kind.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(Cow<'a, str>, &mut Self) -> Result<(), InferError>,
    ) -> Result<bool, InferError> {
        if !self.take(b'{') {
            return Ok(false);
        }
        let mut goes_on = !self.take(b'}');
        while goes_on {
            member(self.key()?, self)?;
            goes_on = self.goes_on(b'}')?;
        }
        Ok(true)
    }

    /// Calls `item` for each item of an array, with its position and the reader before it. `false`,
    /// with nothing read, when the next value is of another kind.
    pub(crate) fn array(
        &mut self,
        mut item: impl FnMut(usize, &mut Self) -> Result<(), InferError>,
    ) -> Result<bool, InferError> {
        if !self.take(b'[') {
            return Ok(false);
        }
        let mut position = 0;
        let mut goes_on = !self.take(b']');
        while goes_on {
            item(position, self)?;
            position += 1;
            goes_on = self.goes_on(b']')?;
        }
        Ok(true)
    }

    /// Steps over one value of any kind.
    pub(crate) fn skip(&mut self, depth: usize) -> Result<(), SyntaxError> {
        match self.kind()? {
            "a string" => self.string().map(drop),
            "a number" if self.word().is_some() => Ok(()),
            "a number" => self.number().map(drop),
            "a boolean" | "null" => {
                let word =
                    [&b"true"[..], b"false", b"null"].into_iter().any(|word| self.literal(word));
                debug_assert!(word, "the kind was seen");
                Ok(())
            }
            _ if depth == MAX_DEPTH => Err(self.too_deep()),
            "an array" => self.skip_items(b']', depth, Self::skip),
            _ => self.skip_items(b'}', depth, |reader, depth| {
                reader.key()?;
                reader.skip(depth)
            }),
        }
    }

    fn skip_items(
        &mut self,
        close: u8,
        depth: usize,
        item: impl Fn(&mut Self, usize) -> Result<(), SyntaxError>,
    ) -> Result<(), SyntaxError> {
        self.at += 1;
        if self.take(close) {
            return Ok(());
        }
        loop {
            item(self, depth + 1)?;
            if !self.goes_on(close)? {
                return Ok(());
            }
        }
    }

    /// Checks that nothing but white space is left.
    pub(crate) fn end(&mut self) -> Result<(), SyntaxError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.error("more text after the document")),
        }
    }
}

/// The end of the text, with zeros behind it.
#[inline(never)]
fn last_window(rest: &[u8]) -> Window {
    let mut window = [0; size_of::<Window>()];
    window[..rest.len()].copy_from_slice(rest);
    window
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepts(text: &[u8]) -> bool {
        let mut reader = Reader::new(text);
        reader.skip(0).and_then(|()| reader.end()).is_ok()
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(accepts(nested(32).as_bytes()));
        assert!(!accepts(nested(33).as_bytes()));
        assert!(!accepts("[".repeat(100_000).as_bytes()));
        assert!(!accepts("{\"a\":".repeat(100_000).as_bytes()));
    }

    #[test]
    fn keys_are_read_with_their_escapes() {
        assert_eq!(Reader::new(br#" "a\u0062\n" :"#).key().unwrap(), "ab\n");
        assert_eq!(Reader::new("\"é\":".as_bytes()).key().unwrap(), "é");
        for bad in [&b"\"\xff\":"[..], b"\"\\x\":", b"\"a\nb\":", b"\"a", b"\"a\\", b"\"a\"", b"a:"]
        {
            assert!(Reader::new(bad).key().is_err(), "{bad:?} must be refused");
        }
    }

    proptest! {
        /// The reader takes exactly what serde_json takes.
        #[test]
        fn it_agrees_with_serde_json(text in r#"([\[\]{},: 0-9eE.+\-"\\u]|"a":|true|false|null|\[1,){0,24}"#) {
            // Only serde_json refuses a number that overflows an f64; here the datatype decides.
            let reference = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
            prop_assert_eq!(accepts(text.as_bytes()), reference);
        }
    }
}
