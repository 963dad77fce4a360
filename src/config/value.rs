//! A value as it was written, and the types that can be read from one.
//!
//! Each type reads itself from a written value and prints itself as TOML, so that what is printed
//! reads back as the same.

use crate::repository::manifest::unit;
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use toml::de::DeValue;

/// Longest piece of a written value that a message repeats, in characters.
const SHOWN: usize = 60;

/// A value as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// A TOML string.
    Text(String),
    /// Text from a variable or flag, which has no quotes: its key decides what it is.
    Plain(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Self>),
    /// A kind that no key takes, in words.
    Other(String),
}

impl Value {
    /// A value of a parsed TOML document.
    pub(super) fn from_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map_or_else(|_| Self::Other(integer.to_string()), Self::Integer),
            DeValue::Float(float) => Self::Other(float.as_str().into()),
            DeValue::Boolean(value) => Self::Boolean(*value),
            DeValue::Datetime(time) => Self::Other(format!("the time {time}")),
            DeValue::Array(items) => {
                Self::List(items.iter().map(|item| Self::from_toml(item.get_ref())).collect())
            }
            DeValue::Table(_) => Self::Other("a table".into()),
        }
    }

    /// The text, quoted or plain.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Plain(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a list. Text from a variable or flag is a list as in the file, `["a", "b"]`, or has commas between
    /// its items.
    pub(super) fn items(&self) -> Option<Vec<Cow<'_, Self>>> {
        match self {
            Self::List(items) => Some(items.iter().map(Cow::Borrowed).collect()),
            Self::Plain(text) if text.is_empty() => Some(Vec::new()),
            Self::Plain(text) if text.starts_with('[') => {
                match DeValue::parse(text).ok()?.get_ref() {
                    DeValue::Array(items) => Some(
                        items
                            .iter()
                            .map(|item| Cow::Owned(Self::from_toml(item.get_ref())))
                            .collect(),
                    ),
                    _ => None,
                }
            }
            Self::Plain(text) => {
                let plain = |item: &str| Cow::Owned(Self::Plain(item.trim().into()));
                Some(text.split(',').map(plain).collect())
            }
            _ => None,
        }
    }

    fn integer(&self) -> Option<u64> {
        match self {
            Self::Integer(integer) => u64::try_from(*integer).ok(),
            Self::Plain(text) => text.parse().ok(),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Plain(text) if text.chars().count() > SHOWN => {
                let shown: String = text.chars().take(SHOWN).collect();
                write!(f, "{shown:?}…")
            }
            Self::Text(text) | Self::Plain(text) => write!(f, "{text:?}"),
            Self::Integer(integer) => integer.fmt(f),
            Self::Boolean(value) => value.fmt(f),
            Self::List(items) => write!(f, "a list of {}", items.len()),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// A type that a key can have.
pub(super) trait Setting: Sized + PartialOrd {
    /// What to write, as it stands in "expected …".
    const EXPECTED: &'static str;

    /// The value, unless what was written is none of this type.
    fn read(value: &Value) -> Option<Self>;

    /// The value as TOML.
    fn to_toml(&self) -> String;
}

/// Text as a TOML string on one line.
pub(super) fn quote(text: &str) -> String {
    toml::Value::String(text.into()).to_string()
}

impl Setting for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Boolean(value) => Some(*value),
            Value::Plain(text) => text.parse().ok(),
            _ => None,
        }
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

impl Setting for usize {
    const EXPECTED: &'static str = "a whole number";

    fn read(value: &Value) -> Option<Self> {
        value.integer()?.try_into().ok()
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

impl Setting for SocketAddr {
    const EXPECTED: &'static str =
        "an IP address and port like \"127.0.0.1:8080\" or \"[::]:8080\"";

    fn read(value: &Value) -> Option<Self> {
        value.text()?.parse().ok()
    }

    fn to_toml(&self) -> String {
        quote(&self.to_string())
    }
}

impl Setting for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn read(value: &Value) -> Option<Self> {
        value.text().filter(|text| !text.is_empty() && !text.contains('\0')).map(Self::from)
    }

    fn to_toml(&self) -> String {
        quote(&self.to_string_lossy())
    }
}

impl Setting for Duration {
    const EXPECTED: &'static str = "a duration with its unit, like \"30s\" or \"250ms\",";

    fn read(value: &Value) -> Option<Self> {
        unit::duration(value.text()?)
    }

    fn to_toml(&self) -> String {
        quote(&unit::print_duration(*self))
    }
}

/// A number of bytes, written as a whole number or with a unit: `16777216`, `"16MiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl fmt::Display for ByteSize {
    /// In the largest binary unit that gives a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |unit: &u64| self.0 > 0 && self.0.is_multiple_of(*unit);
        match unit::SIZE[..4].iter().find(|(_, unit)| exact(unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Setting for ByteSize {
    const EXPECTED: &'static str = "a number of bytes, plain or like \"16MiB\",";

    fn read(value: &Value) -> Option<Self> {
        value.integer().or_else(|| unit::size(value.text()?)).map(Self)
    }

    fn to_toml(&self) -> String {
        quote(&self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: Setting + fmt::Debug>(text: &str, expected: Option<T>) {
        let value = Value::Text(text.into());
        assert_eq!(T::read(&value), expected, "{text:?}");
        if let Some(read) = expected {
            let printed = format!("x = {}", read.to_toml());
            let document = toml::de::DeTable::parse(&printed).unwrap();
            let again = Value::from_toml(document.get_ref().values().next().unwrap().get_ref());
            assert_eq!(T::read(&again), Some(read), "{printed} must read back as the same");
        }
    }

    #[test]
    fn durations_need_a_unit() {
        check("30s", Some(Duration::from_secs(30)));
        check("250 ms", Some(Duration::from_millis(250)));
        check("7us", Some(Duration::from_micros(7)));
        check("90m", Some(Duration::from_secs(5400)));
        check("2h", Some(Duration::from_secs(7200)));
        check("0ms", Some(Duration::ZERO));
        for bad in ["", "30", "s", "-1s", "1.5s", "30 seconds", "1s2", "99999999999999999999s"] {
            check::<Duration>(bad, None);
        }
        check::<Duration>("18446744073709551615h", None);
    }

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        check("16MiB", Some(ByteSize(16 << 20)));
        check("1 GB", Some(ByteSize(1_000_000_000)));
        check("12B", Some(ByteSize(12)));
        for bad in ["", "16", "16M", "16mib", "1.5GiB", "-1B", "18446744073709551615KiB"] {
            check::<ByteSize>(bad, None);
        }
        assert_eq!(ByteSize::read(&Value::Integer(4096)), Some(ByteSize(4096)));
        assert_eq!(ByteSize::read(&Value::Plain("4096".into())), Some(ByteSize(4096)));
        assert_eq!(ByteSize::read(&Value::Integer(-1)), None);
    }

    #[test]
    fn a_quoted_number_is_no_number_but_a_plain_one_is() {
        assert_eq!(usize::read(&Value::Text("4".into())), None);
        assert_eq!(usize::read(&Value::Plain("4".into())), Some(4));
        assert_eq!(bool::read(&Value::Text("true".into())), None);
        assert_eq!(bool::read(&Value::Plain("true".into())), Some(true));
    }

    #[test]
    fn addresses_and_paths_print_what_they_read() {
        check::<SocketAddr>("127.0.0.1:0", Some(([127, 0, 0, 1], 0).into()));
        check::<SocketAddr>("localhost:80", None);
        check::<SocketAddr>("127.0.0.1", None);
        check("a \"b\"\\c\nd", Some(PathBuf::from("a \"b\"\\c\nd")));
        check::<PathBuf>("", None);
    }

    #[test]
    fn a_long_value_is_not_repeated_in_full() {
        let shown = Value::Text("x".repeat(5000)).to_string();
        assert!(shown.len() < 100, "a message must stay readable, got {} bytes", shown.len());
    }
}
