//! Takes the values of keys out of what was written, and collects the faults.

use super::error::{Origin, SettingError, SettingErrors};
use super::limits::Limits;
use super::section::{Key, Schema};
use super::types::{Setting, ToToml};
use super::value::{Value, Written};
use std::collections::BTreeMap;

/// A value that was taken: what it is, where from, and whether `auto` chose it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it was written.
    pub origin: Origin,
    /// Whether `auto` was written there and the value found from the machine.
    pub is_auto: bool,
    /// The value as TOML; empty for keys that may be left out.
    pub value: String,
}

/// Where each value came from, by the names of the keys.
pub type Sources = BTreeMap<String, Source>;

/// A table that is read: what stands in front of its keys, and where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// `http.`, or `inputs[0].` in a list of tables.
    pub(super) prefix: String,
    pub(super) origin: Origin,
}

impl Table {
    /// The table that has these keys, where there is only one.
    #[must_use]
    pub fn of(keys: &[Key]) -> Self {
        let table = keys.first().and_then(|key| key.path.rsplit_once('.'));
        let prefix = table.map_or_else(String::new, |(table, _)| format!("{table}."));
        Self { prefix, origin: Origin::Default }
    }

    /// The full name of a key in this table.
    #[must_use]
    pub fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn path_of(&self, key: &Key) -> String {
        self.path(key.path.rsplit('.').next().unwrap_or(key.path))
    }
}

/// Everything that was written, what was taken of it, and the faults so far.
#[derive(Debug)]
pub struct Reader {
    pub(super) schema: Schema,
    /// By the name of the key, the weakest source first.
    pub(super) values: BTreeMap<String, Vec<Written>>,
    /// By the name of the list.
    pub(super) lists: BTreeMap<String, Vec<Table>>,
    pub(super) faults: SettingErrors,
    sources: Sources,
}

impl Reader {
    /// Nothing written yet, and these keys known.
    #[must_use]
    pub fn new(schema: Schema) -> Self {
        let (values, lists) = (BTreeMap::new(), BTreeMap::new());
        Self { schema, values, lists, faults: SettingErrors::default(), sources: Sources::new() }
    }

    /// The value of a key that has a default. When what was written is faulty, the default stands in
    /// for it, so that the other keys are checked as well.
    pub fn value<T: Setting + ToToml>(
        &mut self,
        key: &Key,
        table: &Table,
        limits: &impl Limits<T>,
        auto: Option<impl FnOnce() -> T>,
    ) -> T {
        let parse = |value: &Value| match T::read(value) {
            _ if auto.is_some() && value.text() == Some("auto") => Some(None),
            read => read.filter(|read| limits.allows(read)).map(Some),
        };
        let path = table.path_of(key);
        let (read, origin) = self.take(&path, key, parse).unwrap_or_else(|| {
            let default = parse(&Value::of_default(key.default));
            (default.expect("a test reads every default"), Origin::Default)
        });
        let is_auto = read.is_none();
        let value = read
            .or_else(|| auto.map(|choose| limits.clamp(choose())))
            .expect("only `auto` leaves the value open");
        self.sources.insert(path, Source { origin, is_auto, value: value.to_toml() });
        value
    }

    /// The value of a key that may be left out.
    pub fn optional<T: Setting>(
        &mut self,
        key: &Key,
        table: &Table,
        limits: &impl Limits<T>,
    ) -> Option<T> {
        let path = table.path_of(key);
        let parse = |value: &Value| T::read(value).filter(|read| limits.allows(read));
        let (value, origin) = self.take(&path, key, parse)?;
        self.sources.insert(path, Source { origin, is_auto: false, value: String::new() });
        Some(value)
    }

    /// The value of a key that must be written; nothing where it is missing or faulty.
    pub fn required<T: Setting>(
        &mut self,
        key: &Key,
        table: &Table,
        limits: &impl Limits<T>,
    ) -> Option<T> {
        let path = table.path_of(key);
        if !self.values.contains_key(&path) {
            let message = format!("missing, expected {}", key.takes());
            self.fault(table.origin.clone(), &path, message);
        }
        self.optional(key, table, limits)
    }

    /// The tables of a list, in their order.
    #[must_use]
    pub fn tables(&self, list: &str) -> Vec<Table> {
        self.lists.get(list).cloned().unwrap_or_default()
    }

    /// Reports values that are wrong together. Blamed is the first of these keys that somebody wrote;
    /// nobody where all of them are defaults, which meet a very small machine: it runs, with less than
    /// usual.
    pub fn conflict(&mut self, paths: &[&str], message: String) {
        let origin = |path: &&str| self.sources.get(*path).map(|source| source.origin.clone());
        let written = |path| Some((path, origin(path).filter(|it| *it != Origin::Default)?));
        if let Some((path, origin)) = paths.iter().find_map(written) {
            self.fault(origin, path, message);
        }
    }

    /// Where the values came from.
    ///
    /// # Errors
    ///
    /// Every fault of every source.
    pub fn finish(self) -> Result<Sources, SettingErrors> {
        self.faults.check().map(|()| self.sources)
    }

    /// The strongest good value that was written for a key.
    ///
    /// A faulty value counts even where a stronger source hides it: it would come to light on the day
    /// on which that source is taken away.
    fn take<T>(
        &mut self,
        path: &str,
        key: &Key,
        parse: impl Fn(&Value) -> Option<T>,
    ) -> Option<(T, Origin)> {
        let mut taken = None;
        for Written { value, origin } in self.values.remove(path).unwrap_or_default() {
            match parse(&value) {
                Some(read) => taken = Some((read, origin)),
                None => {
                    self.fault(origin, path, format!("expected {}, got {value}", key.takes()));
                }
            }
        }
        taken
    }

    pub(super) fn fault(&mut self, origin: Origin, key: &str, message: String) {
        self.faults.add(SettingError { origin, key: key.into(), message });
    }
}
