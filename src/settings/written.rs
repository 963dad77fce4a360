//! Gathers what was written: values by key, each with the place that it came from.
//!
//! Not by serde, which stops at the first fault and forgets the line: all faults are reported, with
//! theirs.

use super::closest::closest;
use super::environment;
use super::error::Origin;
use super::reader::{Reader, Table};
use super::section::Key;
use super::value::{Value, Written, shorten};
use std::ffi::OsString;
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// A setting given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlagValue {
    /// How the user gave it, for errors: `--listen` or `--set http.listen`.
    pub flag: String,
    /// The key that it sets.
    pub key: String,
    /// What it is set to.
    pub value: String,
}

impl Reader {
    /// Adds a file. The path serves for messages only.
    pub fn add_file(&mut self, path: &str, text: &str) {
        let file = File::new(path, text);
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let start = error.span().map_or(text.len(), |span| span.start);
            let message = format!("not valid TOML: {}", error.message().replace('\n', ", "));
            self.fault(file.origin(start), "", message);
        }
        // A document with syntax errors is recovered in part: what else is wrong with that part
        // would mostly be an echo of the first fault.
        if errors.is_empty() {
            self.add_table(&file, Path::default(), document.get_ref());
        }
    }

    /// Adds every variable that is ours; the others are none of our business.
    pub fn add_environment(&mut self, variables: &[(OsString, OsString)]) {
        let mut ours: Vec<_> = variables
            .iter()
            .map(|(name, value)| (name.to_string_lossy(), value))
            .filter(|(name, _)| name.starts_with(environment::PREFIX))
            .collect();
        ours.sort();
        for (name, value) in ours {
            let origin = Origin::Variable(name.to_string());
            let key = self.schema.keys.iter().find(|key| key.variable() == name).copied();
            match (key, value.to_str()) {
                (Some(key), Some(text)) => self.put(key.path, Value::Plain(text.into()), origin),
                (Some(key), None) => self.fault(origin, key.path, "the value is not UTF-8".into()),
                (None, _) if environment::is_tolerated(&name, value) => {}
                (None, _) => {
                    let names: Vec<_> = self.schema.keys.iter().map(|key| key.variable()).collect();
                    let nearest = closest(&name, names.iter().map(String::as_str));
                    self.fault(origin, "", self.unknown("variable", nearest));
                }
            }
        }
    }

    /// Adds what the command line gave; of two for one key, the later one counts.
    pub fn add_flags(&mut self, flags: &[FlagValue]) {
        for FlagValue { flag, key, value } in flags {
            let origin = Origin::Flag(flag.clone());
            match self.key(key) {
                Some(known) => self.put(known.path, Value::Plain(value.clone()), origin),
                None => self.unknown_key(origin, &Path::default().join(key)),
            }
        }
    }

    fn add_table(&mut self, file: &File, at: Path, table: &DeTable<'_>) {
        // The table is ordered by name, and people read their file from the top.
        let mut members: Vec<_> = table.iter().collect();
        members.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in members {
            let origin = file.origin(name.span().start);
            self.add_member(file, &at.join(name.get_ref()), value.get_ref(), origin);
        }
    }

    fn add_member(&mut self, file: &File, at: &Path, value: &DeValue<'_>, origin: Origin) {
        let begins = |prefix: &str| self.schema.keys.iter().any(|key| key.path.starts_with(prefix));
        if self.key(&at.known).is_some() {
            self.put(&at.written, Value::from_toml(value), origin);
        } else if begins(&format!("{}[].", at.known)) {
            self.add_list(file, at, value, origin);
        } else if !begins(&format!("{}.", at.known)) {
            self.unknown_key(origin, at);
        } else if let DeValue::Table(table) = value {
            self.add_table(file, at.inside(), table);
        } else {
            self.no_table(origin, at, &format!("a [{}] table", at.known), value);
        }
    }

    fn add_list(&mut self, file: &File, list: &Path, value: &DeValue<'_>, origin: Origin) {
        let expected = format!("[[{}]] tables", list.known);
        let DeValue::Array(items) = value else {
            return self.no_table(origin, list, &expected, value);
        };
        for (index, item) in items.iter().enumerate() {
            let at = list.item(index);
            let origin = file.origin(item.span().start);
            let DeValue::Table(table) = item.get_ref() else {
                self.no_table(origin, &at, &expected, item.get_ref());
                continue;
            };
            let at = at.inside();
            let list = self.lists.entry(list.written.clone()).or_default();
            list.push(Table { prefix: at.written.clone(), origin });
            self.add_table(file, at, table);
        }
    }

    fn no_table(&mut self, origin: Origin, at: &Path, expected: &str, value: &DeValue<'_>) {
        let message = format!("expected {expected}, got {}", Value::from_toml(value));
        self.fault(origin, &at.written, message);
    }

    fn key(&self, path: &str) -> Option<&'static Key> {
        self.schema.keys.iter().find(|key| key.path == path).copied()
    }

    fn put(&mut self, path: &str, value: Value, origin: Origin) {
        self.values.entry(path.into()).or_default().push(Written { value, origin });
    }

    fn unknown_key(&mut self, origin: Origin, at: &Path) {
        let keys = &self.schema.keys;
        let message = if self.schema.misplaced.contains(&&*at.known) {
            self.schema.misplaced_reason.into()
        } else if self.faults.is_full() {
            String::new()
        } else {
            let tables = keys.iter().filter_map(|key| key.path.split_once('.'));
            let known = keys
                .iter()
                .map(|key| key.path)
                .chain(tables.map(|(name, _)| name.trim_end_matches("[]")));
            self.unknown("key", closest(&at.known, known))
        };
        self.fault(origin, &shorten(&at.written), message);
    }

    fn unknown(&self, what: &str, nearest: Option<&str>) -> String {
        match nearest {
            Some(known) => format!("unknown {what}, did you mean {}?", known.replace("[]", "")),
            None => format!("unknown {what}, {} lists every one", self.schema.page),
        }
    }
}

/// The name of a key or table, as it was written and as it is known: `inputs[0].name` is a
/// `inputs[].name`.
#[derive(Default)]
struct Path {
    written: String,
    known: String,
}

impl Path {
    fn join(&self, name: &str) -> Self {
        Self { written: format!("{}{name}", self.written), known: format!("{}{name}", self.known) }
    }

    fn item(&self, index: usize) -> Self {
        Self { written: format!("{}[{index}]", self.written), known: format!("{}[]", self.known) }
    }

    /// In front of the keys of this table.
    fn inside(&self) -> Self {
        self.join(".")
    }
}

/// A file, for turning offsets into lines.
struct File {
    path: Arc<str>,
    /// Where each line ends.
    ends: Vec<usize>,
}

impl File {
    fn new(path: &str, text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self { path: path.into(), ends: ends.map(|(at, _)| at).collect() }
    }

    fn origin(&self, offset: usize) -> Origin {
        let line = 1 + self.ends.partition_point(|end| *end < offset);
        Origin::File { path: self.path.clone(), line }
    }
}
