//! A value as it was written, before anybody knows which type it is to have.

use super::error::Origin;
use std::borrow::Cow;
use std::fmt;
use toml::de::DeValue;

/// Longest piece of a written key or value that a message repeats, in characters.
const MAX_SHOWN: usize = 60;

/// A value as it was written.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A TOML string.
    Text(String),
    /// Text from a variable or flag, which has no quotes: its key decides what it is.
    Plain(String),
    /// A whole number.
    Integer(i64),
    /// Another number, in its own digits.
    Float(String),
    /// `true` or `false`.
    Boolean(bool),
    /// A list.
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
                .map_or_else(|_| Self::Other(shorten(&integer.to_string())), Self::Integer),
            DeValue::Float(float) => Self::Float(float.as_str().into()),
            DeValue::Boolean(value) => Self::Boolean(*value),
            DeValue::Datetime(time) => Self::Other(format!("the time {time}")),
            DeValue::Array(items) => {
                Self::List(items.iter().map(|item| Self::from_toml(item.get_ref())).collect())
            }
            DeValue::Table(_) => Self::Other("a table".into()),
        }
    }

    /// A value written as TOML in the program itself.
    pub(super) fn of_default(text: &str) -> Self {
        DeValue::parse(text)
            .map_or_else(|_| Self::Other(text.into()), |value| Self::from_toml(value.get_ref()))
    }

    /// The text, quoted or plain.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Plain(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, if it fits its type.
    #[must_use]
    pub fn integer<T: TryFrom<i128>>(&self) -> Option<T> {
        let integer = match self {
            Self::Integer(integer) => i128::from(*integer),
            Self::Plain(text) => text.parse().ok()?,
            _ => return None,
        };
        integer.try_into().ok()
    }

    /// The number, whole or not.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Integer(integer) => Some(*integer as f64),
            Self::Float(text) => text.replace('_', "").parse().ok(),
            Self::Plain(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The items of a list. Text from a variable or flag is a list as in the file, `["a", "b"]`, or has commas between
    /// its items.
    #[must_use]
    pub fn items(&self) -> Option<Vec<Cow<'_, Self>>> {
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
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Written {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Plain(text) => {
                let text = without_password(text);
                let shown: String = text.chars().take(MAX_SHOWN).collect();
                let rest = if shown.len() < text.len() { "…" } else { "" };
                write!(f, "{shown:?}{rest}")
            }
            Self::Integer(integer) => integer.fmt(f),
            Self::Float(text) => f.write_str(&shorten(text)),
            Self::Boolean(value) => value.fmt(f),
            Self::List(items) => write!(f, "a list of {}", items.len()),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// The text, with nothing of the user whom an address names: messages go to logs.
fn without_password(text: &str) -> Cow<'_, str> {
    let parts = text.split_once("://").and_then(|(scheme, rest)| {
        let authority = rest.split(['/', '?', '#']).next()?;
        let at = authority.rfind('@')?;
        Some((scheme, &rest[at..]))
    });
    parts.map_or(Cow::Borrowed(text), |(scheme, rest)| Cow::Owned(format!("{scheme}://***{rest}")))
}

/// The text, or its beginning when it is too long for a message.
pub(super) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_not_repeated_in_full() {
        let shown = Value::Text("x".repeat(5000)).to_string();
        assert!(shown.len() < 100, "a message must stay readable, got {} bytes", shown.len());
        let shown = Value::of_default(&"9".repeat(5000)).to_string();
        assert!(shown.len() < 100, "a message must stay readable, got {} bytes", shown.len());
    }

    #[test]
    fn a_password_in_an_address_is_not_repeated() {
        let shown = |text: &str| Value::Text(text.to_owned()).to_string();
        assert_eq!(shown("http://me:secr@t@host:1/a@b"), "\"http://***@host:1/a@b\"");
        assert_eq!(shown("http://host/a@b"), "\"http://host/a@b\"");
        assert_eq!(shown("a@b"), "\"a@b\"");
    }

    #[test]
    fn numbers_are_read_as_toml_writes_them() {
        assert_eq!(Value::of_default("1_000.5").number(), Some(1000.5));
        assert_eq!(Value::of_default("-inf").number(), Some(f64::NEG_INFINITY));
        assert_eq!(Value::of_default("2e-2").number(), Some(0.02));
        assert_eq!(Value::of_default("0x10").integer(), Some(16u8));
        assert_eq!(Value::of_default("256").integer::<u8>(), None);
        assert_eq!(Value::of_default("1.0").integer::<u8>(), None);
    }
}
