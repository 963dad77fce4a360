//! Names and versions of models, and how a request refers to one.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use thiserror::Error;

/// Longest name of a model or label, in bytes.
const MAX_LEN: usize = 128;

/// A name that matches `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`: safe as a folder, a label and a path
/// segment, so that nothing behind this type has to ask again.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelName(Arc<str>);

/// Text that is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a name starts with a letter or digit and has at most 128 of letters, digits, '.', '_', '-'"
)]
pub struct NameError;

impl ModelName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ModelName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let first = text.as_bytes().first().ok_or(NameError)?;
        let valid =
            first.is_ascii_alphanumeric() && text.len() <= MAX_LEN && text.bytes().all(allowed);
        if valid { Ok(Self(text.into())) } else { Err(NameError) }
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A version of a model: the number that its folder bears. Higher is later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u64);

impl FromStr for Version {
    type Err = std::num::ParseIntError;

    /// Digits alone and no leading zero, so that one version has one spelling.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit());
        let canonical = plain && (text == "0" || !text.starts_with('0'));
        // The empty text is the one way to make the standard error for "this is no number".
        if canonical { text.parse().map(Self) } else { "".parse().map(Self) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which version of a model a request means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VersionSelector {
    /// The one that the version policy serves, which is not always the latest.
    #[default]
    Default,
    /// Exactly this one.
    Specific(Version),
}

/// A model as a request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRef {
    /// The model.
    pub name: ModelName,
    /// Which version of it.
    pub version: VersionSelector,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_grammar_parse() {
        for good in ["a", "breast_cancer", "MiniLM-L6.v2", "9", &"x".repeat(128)] {
            assert_eq!(good.parse::<ModelName>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "_a", "-a", "a/b", "a b", "é", "a\0", "a%2e", &"x".repeat(129)]
        {
            assert_eq!(bad.parse::<ModelName>(), Err(NameError), "{bad:?} must be refused");
        }
    }

    #[test]
    fn a_version_has_one_spelling() {
        assert_eq!("12".parse(), Ok(Version(12)));
        for bad in ["", "01", "+1", "-1", "1.0", "v1", "99999999999999999999"] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?} must be refused");
        }
    }
}
