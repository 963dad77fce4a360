//! Walks a TOML document and gathers everything that is wrong with it.

use std::fmt;
use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Most problems that one report names.
const MAX_PROBLEMS: usize = 100;
/// Longest piece of a written key or value that a message repeats, in characters.
const MAX_SHOWN: usize = 60;

/// One thing that is wrong in a model.toml.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The key, as far as it is known.
    pub key: String,
    /// What was expected and what came.
    pub message: String,
}

/// All that is wrong in a model.toml.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct ManifestError {
    /// How messages call the file.
    pub file: String,
    /// In the order of their lines; never empty.
    pub problems: Vec<Problem>,
}

impl fmt::Display for ManifestError {
    /// One line a problem: `breast_cancer/model.toml:3: instances: expected …`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { line, key, message }) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            let colon = if key.is_empty() { "" } else { ": " };
            write!(f, "{separator}{}:{line}: {key}{colon}{message}", self.file)?;
        }
        Ok(())
    }
}

/// A table of the document and where it stands in it.
#[derive(Debug)]
pub(super) struct Section<'a, 'i> {
    table: &'a DeTable<'i>,
    /// What goes before a key in messages: `batching.`, `inputs[0].`.
    path: String,
    /// What goes before a key in the list of keys: `batching.`, `inputs.`.
    prefix: String,
    start: usize,
}

impl<'a, 'i> Section<'a, 'i> {
    pub(super) fn root(table: &'a DeTable<'i>) -> Self {
        Self { table, path: String::new(), prefix: String::new(), start: 0 }
    }
}

/// Reads values and remembers what was wrong.
#[derive(Debug)]
pub(super) struct Reader<'s> {
    file: String,
    source: &'s str,
    problems: Vec<Problem>,
    known: &'static [&'static str],
}

impl<'s> Reader<'s> {
    pub(super) fn new(file: &str, source: &'s str) -> Self {
        Self { file: file.into(), source, problems: Vec::new(), known: &[] }
    }

    /// The document, as far as it can be parsed.
    pub(super) fn document(&mut self) -> Spanned<DeTable<'s>> {
        let (document, errors) = DeTable::parse_recoverable(self.source);
        for error in errors {
            let start = error.span().map_or(0, |span| span.start);
            self.problem(start, String::new(), error.message().replace('\n', ", "));
        }
        document
    }

    /// Reports keys that are not in `known`; `elsewhere` names those that the server's
    /// configuration has and a model must not.
    pub(super) fn refuse_unknown(
        &mut self,
        root: &Section<'_, 's>,
        known: &'static [&'static str],
        elsewhere: &[&str],
    ) {
        self.known = known;
        for key in root.table.keys().filter(|key| elsewhere.contains(&&**key.get_ref())) {
            let message = "only the server's configuration sets this, a model's folder cannot";
            self.problem(key.span().start, shorten(key.get_ref()), message.into());
        }
        self.unknown(root, elsewhere);
    }

    fn unknown(&mut self, section: &Section<'_, 's>, except: &[&str]) {
        let heads: Vec<&str> = self
            .known
            .iter()
            .filter_map(|known| known.strip_prefix(&*section.prefix))
            .map(|rest| rest.split_once('.').map_or(rest, |(head, _)| head))
            .collect();
        for key in section.table.keys() {
            let name: &str = key.get_ref();
            if heads.contains(&name) || except.contains(&name) {
                continue;
            }
            let mut expected = heads.clone();
            expected.dedup();
            let message = format!("unknown key, expected one of {}", expected.join(", "));
            let key_path = format!("{}{}", section.path, shorten(name));
            self.problem(key.span().start, key_path, message);
        }
    }

    /// The value of a key that may be left out.
    pub(super) fn take<T>(
        &mut self,
        section: &Section<'_, 's>,
        key: &str,
        expected: &str,
        read: impl FnOnce(&DeValue<'s>) -> Option<T>,
    ) -> Option<T> {
        let path = format!("{}{key}", section.prefix);
        debug_assert!(self.known.contains(&&*path), "{path} is not in the list of keys");
        let found = section.table.get(key)?;
        let value = read(found.get_ref());
        if value.is_none() {
            let message = format!("expected {expected}, got {}", shown(found.get_ref()));
            self.problem(found.span().start, format!("{}{key}", section.path), message);
        }
        value
    }

    /// The value of a key that must be there.
    pub(super) fn require<T>(
        &mut self,
        section: &Section<'_, 's>,
        key: &str,
        expected: &str,
        read: impl FnOnce(&DeValue<'s>) -> Option<T>,
    ) -> Option<T> {
        if !section.table.contains_key(key) {
            let message = format!("missing, expected {expected}");
            self.problem(section.start, format!("{}{key}", section.path), message);
        }
        self.take(section, key, expected, read)
    }

    /// The table under a key.
    pub(super) fn section<'a>(
        &mut self,
        parent: &Section<'a, 's>,
        key: &str,
    ) -> Option<Section<'a, 's>> {
        let found = parent.table.get(key)?;
        self.open(found, format!("{key}."), format!("{key}."))
    }

    /// The tables of the list under a key.
    pub(super) fn sections<'a>(
        &mut self,
        parent: &Section<'a, 's>,
        key: &str,
    ) -> Vec<Section<'a, 's>> {
        let Some(found) = parent.table.get(key) else { return Vec::new() };
        let Some(items) = found.get_ref().as_array() else {
            let message = format!("expected [[{key}]] tables, got {}", shown(found.get_ref()));
            self.problem(found.span().start, key.into(), message);
            return Vec::new();
        };
        let open = |(index, item)| self.open(item, format!("{key}[{index}]."), format!("{key}."));
        items.iter().enumerate().filter_map(open).collect()
    }

    fn open<'a>(
        &mut self,
        found: &'a Spanned<DeValue<'s>>,
        path: String,
        prefix: String,
    ) -> Option<Section<'a, 's>> {
        let start = found.span().start;
        let Some(table) = found.get_ref().as_table() else {
            let message = format!("expected a table, got {}", shown(found.get_ref()));
            self.problem(start, path.trim_end_matches('.').into(), message);
            return None;
        };
        let section = Section { table, path, prefix, start };
        self.unknown(&section, &[]);
        Some(section)
    }

    /// Reports a problem that the value alone does not show.
    pub(super) fn report(&mut self, section: &Section<'_, 's>, key: &str, message: &str) {
        let start = section.table.get(key).map_or(section.start, |found| found.span().start);
        self.problem(start, format!("{}{key}", section.path), message.into());
    }

    pub(super) fn finish(mut self) -> Result<(), ManifestError> {
        if self.problems.is_empty() {
            return Ok(());
        }
        self.problems.sort_by_key(|problem| problem.line);
        Err(ManifestError { file: self.file, problems: self.problems })
    }

    fn problem(&mut self, start: usize, key: String, message: String) {
        if self.problems.len() < MAX_PROBLEMS {
            let before = self.source.as_bytes().iter().take(start);
            let line = 1 + before.filter(|byte| **byte == b'\n').count();
            self.problems.push(Problem { line, key, message });
        }
    }
}

fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{:?}", shorten(text)),
        DeValue::Integer(integer) => shorten(integer.as_str()),
        DeValue::Float(float) => shorten(float.as_str()),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(time) => format!("the time {time}"),
        DeValue::Array(items) => format!("a list of {}", items.len()),
        DeValue::Table(_) => "a table".into(),
    }
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
