//! The types of keys that any room can use. Rooms add their own.
//!
//! A type reads itself from a written value. One that is printed as TOML reads back as the same.

use super::unit;
use super::value::Value;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A type that a key can have.
pub trait Setting: Sized {
    /// What to write, as it stands in "expected …".
    const EXPECTED: &'static str;

    /// The value, unless what was written is none of this type.
    fn read(value: &Value) -> Option<Self>;
}

/// A type that can be printed as it is written.
pub trait ToToml {
    /// The value as TOML.
    fn to_toml(&self) -> String;
}

/// Text as a TOML string on one line.
#[must_use]
pub fn quote(text: &str) -> String {
    toml::Value::String(text.into()).to_string()
}

/// Types that read themselves from text: `parsed! { Type, "what is expected"; }`.
macro_rules! parsed {
    ($($Type:ty, $expected:literal;)+) => {$(
        impl $crate::settings::Setting for $Type {
            const EXPECTED: &'static str = $expected;

            fn read(value: &$crate::settings::Value) -> Option<Self> {
                value.text()?.parse().ok()
            }
        }
    )+};
}

/// Types that are one of a few words: `words! { Type, "what is expected", Variant = "word"; }`.
macro_rules! words {
    ($($Type:ty, $expected:literal, $($variant:ident = $word:literal),+;)+) => {$(
        impl $crate::settings::Setting for $Type {
            const EXPECTED: &'static str = $expected;

            fn read(value: &$crate::settings::Value) -> Option<Self> {
                match value.text()? { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl $crate::settings::ToToml for $Type {
            fn to_toml(&self) -> String {
                $crate::settings::quote(match self { $(Self::$variant => $word,)+ })
            }
        }
    )+};
}

pub(crate) use {parsed, words};

parsed! {
    SocketAddr, "an IP address and port like \"127.0.0.1:8080\" or \"[::]:8080\"";
}

impl ToToml for SocketAddr {
    fn to_toml(&self) -> String {
        quote(&self.to_string())
    }
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
}

impl ToToml for bool {
    fn to_toml(&self) -> String {
        self.to_string()
    }
}

impl Setting for usize {
    const EXPECTED: &'static str = "a whole number";

    fn read(value: &Value) -> Option<Self> {
        value.integer()
    }
}

impl ToToml for usize {
    fn to_toml(&self) -> String {
        self.to_string()
    }
}

impl Setting for f64 {
    const EXPECTED: &'static str = "a number";

    fn read(value: &Value) -> Option<Self> {
        value.number()
    }
}

impl ToToml for f64 {
    fn to_toml(&self) -> String {
        // TOML wants a point or an exponent, which this form always has.
        format!("{self:?}")
    }
}

impl Setting for String {
    const EXPECTED: &'static str = "a text";

    fn read(value: &Value) -> Option<Self> {
        value.text().map(Self::from)
    }
}

impl Setting for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn read(value: &Value) -> Option<Self> {
        value.text().filter(|text| !text.is_empty() && !text.contains('\0')).map(Self::from)
    }
}

impl ToToml for PathBuf {
    fn to_toml(&self) -> String {
        quote(&self.to_string_lossy())
    }
}

impl Setting for Duration {
    const EXPECTED: &'static str = "a duration with its unit, like \"30s\" or \"250ms\",";

    fn read(value: &Value) -> Option<Self> {
        unit::duration(value.text()?)
    }
}

impl ToToml for Duration {
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
}

impl ToToml for ByteSize {
    fn to_toml(&self) -> String {
        quote(&self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check<T: Setting + ToToml + fmt::Debug + PartialEq>(text: &str, expected: Option<T>) {
        let value = Value::Text(text.into());
        assert_eq!(T::read(&value), expected, "{text:?}");
        if let Some(read) = expected {
            let printed = read.to_toml();
            let again = Value::of_default(&printed);
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
}
