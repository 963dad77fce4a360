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
        if is_name(text) { Ok(Self(text.into())) } else { Err(NameError) }
    }
}

/// The grammar of names.
fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let first = text.bytes().next();
    first.is_some_and(|byte| byte.is_ascii_alphanumeric())
        && text.len() <= MAX_LEN
        && text.bytes().all(allowed)
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

/// A name for a version of a model that operators move from one version to the next, by the grammar of names.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VersionLabel(Arc<str>);

impl VersionLabel {
    /// The label as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VersionLabel {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if is_name(text) { Ok(Self(text.into())) } else { Err(NameError) }
    }
}

impl fmt::Display for VersionLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for VersionLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Which version of a model a request means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum VersionSelector {
    /// The one that the version policy serves, which is not always the latest.
    #[default]
    Default,
    /// Exactly this one.
    Specific(Version),
    /// The one that bears this label.
    Label(VersionLabel),
}

/// What a caller is known by where a share of the callers gets another version: the same key gets the same version. The text
/// itself is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoutingKey(pub u64);

impl RoutingKey {
    /// The key of a text that the caller sends, the same on every server.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        // FNV-1a, finished by the mixer of SplitMix64, so that texts which differ in their last byte are far apart.
        let hash = text.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(mix(hash))
    }

    /// The place of the key among all, from 0 to below 1, independent for each salt.
    #[must_use]
    pub fn place(self, salt: &str) -> f64 {
        // 53 bits are what a number of this kind holds.
        (mix(self.0 ^ Self::of(salt.as_bytes()).0) >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
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
    fn keys_are_spread_evenly_and_anew_for_each_salt() {
        let n = 20_000;
        let below = |salt: &str, share: f64| {
            let place = |idx: u32| RoutingKey::of(format!("user-{idx}").as_bytes()).place(salt);
            (0..n).filter(|idx| place(*idx) < share).count() as f64 / f64::from(n)
        };
        for share in [0.01, 0.1, 0.5, 0.9] {
            // Four standard deviations.
            let margin = 4.0 * (share * (1.0 - share) / f64::from(n)).sqrt();
            assert!((below("m", share) - share).abs() < margin, "{share}: {}", below("m", share));
        }
        let key = RoutingKey::of(b"user-1");
        assert_ne!(key.place("m"), key.place("n"));
        assert!((0.0..1.0).contains(&key.place("m")));
    }

    #[test]
    fn a_version_has_one_spelling() {
        assert_eq!("12".parse(), Ok(Version(12)));
        for bad in ["", "01", "+1", "-1", "1.0", "v1", "99999999999999999999"] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?} must be refused");
        }
    }
}
