//! One table for each section: a key's name, type, default, range, flag and meaning are written
//! once, and the structure, its reading, its printing and its documentation follow from that.

use super::error::ConfigError;
use super::host::Host;
use super::raw::{Origin, Raw};
use super::value::{Setting, Value};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use toml::de::DeValue;

/// What there is to know about a key without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Its name with its section: `http.listen`.
    pub path: &'static str,
    /// What it means, as it stands in the documents.
    pub(super) doc: &'static str,
    /// Its default as TOML.
    pub default: &'static str,
    /// The flag that sets it, where it has one of its own.
    pub flag: Option<&'static str>,
}

impl Key {
    /// What it means, in one line.
    #[must_use]
    pub fn meaning(&self) -> &'static str {
        self.doc.trim()
    }

    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        super::environment::name(self.path)
    }
}

/// A value that was taken: where from, and whether `auto` chose it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it was written.
    pub origin: Origin,
    /// Whether `auto` was written there and the value found from the machine.
    pub is_auto: bool,
}

/// Where each value came from.
pub type Sources = BTreeMap<&'static str, Source>;

/// Takes the sections' values out of what was written, and collects the faults.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) raw: Raw,
    pub(super) host: &'a Host,
    pub(super) sources: Sources,
}

impl Reader<'_> {
    /// The value of a key. When what was written is faulty, the fault is noted and the default
    /// stands in for it, so that the other keys are checked as well.
    pub(super) fn read<T: Setting>(
        &mut self,
        key: &Key,
        range: Option<RangeInclusive<T>>,
        auto: Option<impl FnOnce() -> T>,
    ) -> T {
        let parse = |value: &Value| match T::read(value) {
            _ if auto.is_some() && value.text() == Some("auto") => Some(None),
            Some(read) if range.as_ref().is_none_or(|range| range.contains(&read)) => {
                Some(Some(read))
            }
            _ => None,
        };
        let default = default_value(key);
        let mut taken = (parse(&default), Origin::Default);
        for written in self.raw.take(key.path) {
            // A faulty value counts even where a stronger source hides it: it would come to light
            // on the day on which that source is taken away.
            match parse(&written.value) {
                Some(read) => taken = (Some(read), written.origin),
                None => {
                    let mut expected = T::EXPECTED.to_owned();
                    if let Some(range) = &range {
                        let (start, end) = (range.start().to_toml(), range.end().to_toml());
                        expected += &format!(" from {start} to {end}");
                    }
                    if auto.is_some() {
                        expected += " or \"auto\"";
                    }
                    let message = format!("expected {expected}, got {}", written.value);
                    let origin = written.origin;
                    self.raw.errors.push(ConfigError { origin, key: key.path.into(), message });
                }
            }
        }
        let (read, origin) = taken;
        let read = read.expect("a test reads every default");
        self.sources.insert(key.path, Source { origin, is_auto: read.is_none() });
        read.or_else(|| auto.map(|choose| clamp(choose(), range)))
            .expect("only `auto` leaves the value open")
    }
}

/// Keeps what was found from the machine within what can be written.
fn clamp<T: PartialOrd>(value: T, range: Option<RangeInclusive<T>>) -> T {
    let Some((start, end)) = range.map(RangeInclusive::into_inner) else { return value };
    if value < start {
        start
    } else if value > end {
        end
    } else {
        value
    }
}

fn default_value(key: &Key) -> Value {
    let default = DeValue::parse(key.default);
    default.map_or_else(
        |_| Value::Other(key.default.into()),
        |value| Value::from_toml(value.get_ref()),
    )
}

/// Makes a section: `pub struct Name("prefix.", host) { /// Meaning. key: Type = default; }`.
///
/// After the default may stand, in this order: `=> expression` for what `auto` means, in which
/// `host` and the keys above can be named; `, range low..=high`; `, flag "--name"`.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        pub struct $Section:ident($prefix:literal, $host:ident) {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $ty:ty = $default:tt $(=> $auto:expr)?
                $(, range $range:expr)? $(, flag $flag:literal)?;
            )+
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq)]
        pub struct $Section { $($(#[doc = $doc])+ pub $field: $ty,)+ }

        impl $Section {
            /// The keys of this section, in the order of the documents.
            pub(super) const KEYS: &'static [Key] = &[$(Key {
                path: concat!($prefix, stringify!($field)),
                doc: concat!($($doc),+),
                default: stringify!($default),
                flag: section!(@option $($flag)?),
            }),+];

            pub(super) fn read(reader: &mut Reader<'_>) -> Self {
                let $host = reader.host;
                let _ = $host;
                let mut keys = Self::KEYS.iter();
                $(
                    let key = keys.next().expect("KEYS has an entry for each field");
                    let auto = section!(@auto $ty $(, $auto)?);
                    let $field: $ty = reader.read(key, section!(@option $($range)?), auto);
                )+
                Self { $($field),+ }
            }

            /// The values as TOML, in the order of `KEYS`.
            pub(super) fn values(&self) -> Vec<String> {
                vec![$(Setting::to_toml(&self.$field)),+]
            }
        }
    };
    (@option) => { None };
    (@option $value:expr) => { Some($value) };
    (@auto $ty:ty) => { None::<fn() -> $ty> };
    (@auto $ty:ty, $auto:expr) => { Some(|| $auto) };
}

pub(super) use section;
