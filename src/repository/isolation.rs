//! Which models run in a process of their own. Pure.

use crate::inference::ModelName;
use crate::settings::words;
use std::fmt;
use std::str::FromStr;

/// Whether models run in processes of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Isolation {
    /// Those whose code has something that can end its process.
    #[default]
    Auto,
    /// All.
    Process,
    /// None: they run in the process of the server, and what could end that is refused unless it is trusted.
    None,
}

words! { Isolation, "\"auto\", \"process\" or \"none\"", Auto = "auto", Process = "process", None = "none"; }

/// Names of models: `*` stands for any characters, also for none.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamePattern(String);

impl NamePattern {
    /// Whether a name is one of them.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else {
            return false;
        };
        // What stands before the first `*` has been taken; the last part has to end the name.
        let parts: Vec<&str> = parts.collect();
        let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
        for part in between {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.replace('*', "x");
        match name.parse::<ModelName>() {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(format!(
                "expected a model's name, in which * stands for any characters, got {text:?}"
            )),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the configuration says of all models, and of some.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IsolationPolicy {
    /// What holds for those that are not listed.
    pub mode: Isolation,
    /// Models that always have a process of their own.
    pub process: Vec<NamePattern>,
    /// Models that never do, unless they are listed there too.
    pub none: Vec<NamePattern>,
}

impl IsolationPolicy {
    /// What holds for a model.
    #[must_use]
    pub fn of(&self, name: &ModelName) -> Isolation {
        let lists = |patterns: &[NamePattern]| patterns.iter().any(|it| it.matches(name.as_str()));
        if lists(&self.process) {
            Isolation::Process
        } else if lists(&self.none) {
            Isolation::None
        } else {
            self.mode
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, names: &[(&str, bool)]) {
        let pattern: NamePattern = pattern.parse().unwrap();
        for (name, expected) in names {
            assert_eq!(pattern.matches(name), *expected, "{pattern} and {name}");
        }
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        check("digits", &[("digits", true), ("digits2", false), ("digit", false)]);
        check("risky-*", &[("risky-", true), ("risky-1", true), ("a-risky-1", false)]);
        check("*", &[("a", true)]);
        check("a*b*c", &[("abc", true), ("a-b-c", true), ("acb", false), ("abcd", false)]);
        check("*aa", &[("aaa", true), ("a", false)]);
        check("ab*ba", &[("abba", true), ("aba", false)]);
        assert!("".parse::<NamePattern>().is_err() && "a/*".parse::<NamePattern>().is_err());
    }

    #[test]
    fn the_stricter_list_counts() {
        let patterns = |text: &str| vec![text.parse().unwrap()];
        let policy = IsolationPolicy {
            mode: Isolation::Auto,
            process: patterns("a*"),
            none: patterns("*b"),
        };
        let of = |name: &str| policy.of(&name.parse().unwrap());
        assert_eq!(
            [of("ab"), of("b"), of("c")],
            [Isolation::Process, Isolation::None, Isolation::Auto]
        );
    }
}
