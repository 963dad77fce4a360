//! What orders are given: to which servers, and about what.

use crate::inference::{ModelName, Version};
use clap::Args;
use std::fmt;
use std::str::FromStr;

/// Where a server's management listener is by default.
const BY_DEFAULT: &str = "127.0.0.1:8081";

/// Which servers are told, and how the answer is written.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct To {
    /// Management addresses of the replicas, in the order in which they are told; may be repeated
    #[arg(long = "to", value_name = "HOST:PORT", value_delimiter = ',', default_value = BY_DEFAULT)]
    pub to: Vec<Address>,
    /// Seconds that each of them may take [default: 600, to tell what is there 10]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub patience: Option<u64>,
    /// JSON for programs: a line for each replica
    #[arg(long)]
    pub json: bool,
}

/// Where a management listener is, written `host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let is_address = text.rsplit_once(':').is_some_and(|(host, port)| {
            let has_host = !host.is_empty() && !host.contains(['/', '@', ' ']);
            has_host && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if is_address {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("expected HOST:PORT like {BY_DEFAULT}, got {text:?}"))
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A model and a version of it, written `name/version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelVersion {
    /// The model.
    pub model: ModelName,
    /// The version.
    pub version: Version,
}

impl FromStr for ModelVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected MODEL/VERSION like digits/2, got {text:?}");
        let (model, version) = text.split_once('/').ok_or_else(expected)?;
        let model = model.parse().map_err(|_| expected())?;
        let version = version.parse().map_err(|_| expected())?;
        Ok(Self { model, version })
    }
}

/// A percentage, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Percent(String);

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse::<f64>().ok().filter(|it| (0.0..=100.0).contains(it));
        number.ok_or_else(|| format!("expected a number from 0 to 100, got {text:?}"))?;
        Ok(Self(text.to_owned()))
    }
}

impl Percent {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_arguments_are_refused() {
        for odd in ["", "a", "a:", ":1", "a:0", "a:x", "http://a:1", "a:1/x", "a:65536"] {
            assert!(odd.parse::<Address>().unwrap_err().contains("expected HOST:PORT"), "{odd}");
        }
        assert_eq!(" [::1]:81 ".parse::<Address>().unwrap().to_string(), "[::1]:81");
        for odd in ["m", "m/", "/1", "m/x", "m/01"] {
            assert!(odd.parse::<ModelVersion>().unwrap_err().contains("expected MODEL/VERSION"));
        }
        for odd in ["-1", "101", "x", "NaN", ""] {
            assert!(odd.parse::<Percent>().is_err(), "{odd}");
        }
    }
}
