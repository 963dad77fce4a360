//! What was written, before it is checked: values by key, each with the place it came from.
//!
//! A flat list of values and not a serde structure: serde stops at the first fault and forgets the
//! line, and we report all of them with theirs. Which keys exist is told by `keys`; what they mean
//! is not known here.

use super::closest::closest;
use super::environment;
use super::error::ConfigError;
use super::section::Key;
use super::value::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: it is the default.
    Default,
    /// In the configuration file, at this line.
    File {
        /// The file, as the user named it.
        path: Arc<str>,
        /// Counted from one; 0 when the file as a whole is meant.
        line: usize,
    },
    /// In an environment variable of this name.
    Variable(String),
    /// In a command-line flag, as it was typed, without its value.
    Flag(String),
}

impl Origin {
    /// Whether the text of this origin names the key as well.
    pub(super) fn names(&self, key: &str) -> bool {
        matches!(self, Self::Flag(flag) if flag.ends_with(key))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: 0 } => f.write_str(path),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Variable(name) | Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Written {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

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

/// Everything that was written, and the faults found so far.
#[derive(Debug)]
pub(super) struct Raw {
    keys: Vec<&'static Key>,
    values: BTreeMap<&'static str, Vec<Written>>,
    pub(super) errors: Vec<ConfigError>,
}

impl Raw {
    /// Nothing written yet, and these keys known.
    pub(super) fn new(keys: Vec<&'static Key>) -> Self {
        Self { keys, values: BTreeMap::new(), errors: Vec::new() }
    }

    /// What was written for a key, the weakest source first.
    pub(super) fn take(&mut self, path: &str) -> Vec<Written> {
        self.values.remove(path).unwrap_or_default()
    }

    /// Adds a configuration file. The path serves for messages only.
    pub(super) fn add_file(&mut self, path: &Path, text: &str) {
        let file = File { path: path.display().to_string().into(), text };
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let start = error.span().map_or(text.len(), |span| span.start);
            let message = format!("not valid TOML: {}", error.message().replace('\n', ", "));
            self.fault(file.origin(start), "", message);
        }
        // A document with syntax errors is recovered in part: what else is wrong with that part
        // would mostly be an echo of the first fault.
        if errors.is_empty() {
            self.add_table(&file, "", document.get_ref());
        }
    }

    /// Adds every variable that is ours; the others are none of our business.
    pub(super) fn add_environment(&mut self, variables: &[(OsString, OsString)]) {
        let mut ours: Vec<_> = variables
            .iter()
            .map(|(name, value)| (name.to_string_lossy(), value))
            .filter(|(name, _)| name.starts_with(environment::PREFIX))
            .collect();
        ours.sort();
        for (name, value) in ours {
            let origin = Origin::Variable(name.to_string());
            let key = self.keys.iter().find(|key| environment::name(key.path) == name).copied();
            match (key, value.to_str()) {
                (Some(key), Some(text)) => self.put(key.path, Value::Plain(text.into()), origin),
                (Some(key), None) => self.fault(origin, key.path, "the value is not UTF-8".into()),
                (None, _) if environment::is_tolerated(&name, value) => {}
                (None, _) => {
                    let names: Vec<_> =
                        self.keys.iter().map(|key| environment::name(key.path)).collect();
                    let names = names.iter().map(String::as_str);
                    let message = unknown("variable", closest(&name, names));
                    self.fault(origin, "", message);
                }
            }
        }
    }

    /// Adds what the command line gave; of two for one key, the later one counts.
    pub(super) fn add_flags(&mut self, flags: &[FlagValue]) {
        for FlagValue { flag, key, value } in flags {
            let origin = Origin::Flag(flag.clone());
            match self.keys.iter().find(|known| known.path == key).copied() {
                Some(known) => self.put(known.path, Value::Plain(value.clone()), origin),
                None => self.unknown_key(origin, key),
            }
        }
    }

    fn add_table(&mut self, file: &File<'_>, prefix: &str, table: &DeTable<'_>) {
        // The table is ordered by name, and people read their file from the top.
        let mut members: Vec<_> = table.iter().collect();
        members.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in members {
            let path = format!("{prefix}{}", name.get_ref());
            self.add_member(file, name, &path, value.get_ref());
        }
    }

    fn add_member<T>(
        &mut self,
        file: &File<'_>,
        name: &Spanned<T>,
        path: &str,
        value: &DeValue<'_>,
    ) {
        let origin = file.origin(name.span().start);
        let section = format!("{path}.");
        if let Some(key) = self.keys.iter().find(|key| key.path == path).copied() {
            self.put(key.path, Value::from_toml(value), origin);
        } else if !self.keys.iter().any(|key| key.path.starts_with(&section)) {
            self.unknown_key(origin, path);
        } else if let DeValue::Table(table) = value {
            self.add_table(file, &section, table);
        } else {
            let message = format!("expected a section, got {}", Value::from_toml(value));
            self.fault(origin, path, message);
        }
    }

    fn put(&mut self, path: &'static str, value: Value, origin: Origin) {
        self.values.entry(path).or_default().push(Written { value, origin });
    }

    fn unknown_key(&mut self, origin: Origin, path: &str) {
        let sections = self.keys.iter().filter_map(|key| key.path.split_once('.'));
        let known = self.keys.iter().map(|key| key.path).chain(sections.map(|(name, _)| name));
        let message = unknown("key", closest(path, known));
        self.fault(origin, path, message);
    }

    fn fault(&mut self, origin: Origin, key: &str, message: String) {
        self.errors.push(ConfigError { origin, key: key.into(), message });
    }
}

fn unknown(what: &str, known: Option<&str>) -> String {
    match known {
        Some(known) => format!("unknown {what}, did you mean {known}?"),
        None => format!("unknown {what}, docs/configuration.md lists every one"),
    }
}

/// A configuration file, for turning offsets into lines.
struct File<'a> {
    path: Arc<str>,
    text: &'a str,
}

impl File<'_> {
    fn origin(&self, offset: usize) -> Origin {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Origin::File { path: self.path.clone(), line }
    }
}
