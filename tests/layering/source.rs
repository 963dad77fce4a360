//! Rust source as the layering test sees it: words with their lines, without comments, texts and
//! test code.
//!
//! No parser: words and their neighbors are enough to find the paths that a file names, and what
//! is found this way does not depend on which features are on.

use std::iter::Peekable;
use std::str::CharIndices;

/// A word, `::` or a single character of punctuation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'s> {
    pub(crate) text: &'s str,
    pub(crate) line: usize,
}

impl Token<'_> {
    pub(crate) fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// What is left of a file.
#[derive(Debug)]
pub(crate) struct Source<'s> {
    pub(crate) tokens: Vec<Token<'s>>,
    /// Modules that are declared for tests only; their files are test code as a whole.
    pub(crate) test_modules: Vec<&'s str>,
}

impl<'s> Source<'s> {
    pub(crate) fn read(text: &'s str) -> Self {
        let mut source = Self { tokens: tokens(text), test_modules: Vec::new() };
        while let Some(start) = source.tokens.windows(TEST.len()).position(is_test) {
            let mut end = start + TEST.len();
            while source.text(end) == "#" {
                end = source.end_of_group(end + 1);
            }
            if source.text(end) == "mod" && source.text(end + 2) == ";" {
                source.test_modules.push(source.text(end + 1));
            }
            source.tokens.drain(start..source.end_of_item(end));
        }
        source
    }

    /// The text at a place; nothing behind the end.
    pub(crate) fn text(&self, at: usize) -> &'s str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    pub(crate) fn is_word(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(Token::is_word)
    }

    /// Whether a path of several words begins here.
    pub(crate) fn starts_path(&self, at: usize) -> bool {
        self.is_word(at) && self.text(at + 1) == "::" && (at == 0 || self.text(at - 1) != "::")
    }

    /// Just behind the first `;` or `{…}` that belongs to no inner group.
    fn end_of_item(&self, mut at: usize) -> usize {
        while at < self.tokens.len() {
            match self.text(at) {
                ";" => return at + 1,
                "{" => return self.end_of_group(at),
                "(" | "[" => at = self.end_of_group(at),
                _ => at += 1,
            }
        }
        at
    }

    /// Just behind the bracket that closes the one at this place.
    pub(crate) fn end_of_group(&self, mut at: usize) -> usize {
        let mut depth = 0;
        while at < self.tokens.len() {
            match self.text(at) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
            at += 1;
            if depth == 0 {
                break;
            }
        }
        at
    }
}

const TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];

fn is_test(tokens: &[Token<'_>]) -> bool {
    tokens.iter().map(|token| token.text).eq(TEST)
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment_len(rest),
            '"' => text_len(rest),
            '\'' => quote_len(rest),
            _ if first.is_whitespace() => first.len_utf8(),
            _ if let Some(len) = prefixed_text_len(rest) => len,
            _ => {
                let len = word_len(rest);
                tokens.push(Token { text: &rest[..len], line });
                len
            }
        };
        line += rest[..len].matches('\n').count();
        rest = &rest[len..];
    }
    tokens
}

fn word_len(text: &str) -> usize {
    if text.starts_with("::") {
        return 2;
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    if end > 0 { end } else { text.chars().next().map_or(0, char::len_utf8) }
}

/// Block comments nest.
fn comment_len(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let step = match text.get(at..at + 2) {
            Some("/*") => {
                depth += 1;
                2
            }
            Some("*/") => {
                depth -= 1;
                2
            }
            _ => text[at..].chars().next().map_or(1, char::len_utf8),
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

fn text_len(text: &str) -> usize {
    end_of_quoted(text.char_indices().peekable(), '"').unwrap_or(text.len())
}

/// A character, or only the quote of a lifetime.
fn quote_len(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), _) => {
            end_of_quoted(text.char_indices().peekable(), '\'').unwrap_or(text.len())
        }
        (Some(_), Some((at, '\''))) => at + 1,
        // The lifetime's name goes with it: `&'static` is no `static`.
        _ => 1 + word_len(&text[1..]),
    }
}

fn end_of_quoted(mut chars: Peekable<CharIndices<'_>>, quote: char) -> Option<usize> {
    chars.next();
    loop {
        match chars.next()? {
            (_, '\\') => {
                chars.next();
            }
            (at, c) if c == quote => return Some(at + 1),
            _ => {}
        }
    }
}

/// `b"…"`, `r"…"`, `br#"…"#` and their like.
fn prefixed_text_len(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r"].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| {
            rest.starts_with('"')
                || prefix.ends_with('r') && rest.starts_with("#")
                || *prefix == "b" && rest.starts_with('\'')
        })
    })?;
    let rest = &text[prefix.len()..];
    if !prefix.ends_with('r') {
        let len = if rest.starts_with('"') { text_len(rest) } else { quote_len(rest) };
        return Some(prefix.len() + len);
    }
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    // `r#type` is a word.
    let body = rest[hashes..].strip_prefix('"')?;
    let len = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(prefix.len() + hashes + 1 + len)
}
