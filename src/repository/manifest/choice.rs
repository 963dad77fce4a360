//! What the server's configuration sets for all models and model.toml for one: where to run, in which
//! form, and how long to wait.

use crate::engine::Device;
use crate::settings::unit::{self, DAY};
use crate::settings::{Setting, ToToml, Value, quote, words};
use std::time::Duration;

/// Where a model is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum DeviceChoice {
    /// On the device that the library names first: a GPU when there is one.
    #[default]
    Auto,
    /// Here, or not at all.
    Only(Device),
}

impl Setting for DeviceChoice {
    const EXPECTED: &'static str = "\"auto\", \"cpu\" or \"cuda:N\"";

    fn read(value: &Value) -> Option<Self> {
        match value.text()? {
            "auto" => Some(Self::Auto),
            text => text.parse().ok().map(Self::Only),
        }
    }
}

impl ToToml for DeviceChoice {
    fn to_toml(&self) -> String {
        match self {
            Self::Auto => quote("auto"),
            Self::Only(device) => quote(&device.to_string()),
        }
    }
}

/// Whether the fastest form of a model is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Optimize {
    /// The trial tries forms, and the fastest that gives the same answers serves.
    #[default]
    Auto,
    /// The model runs as its file has it.
    Off,
}

words! { Optimize, "\"auto\" or \"off\"", Auto = "auto", Off = "off"; }

/// How long a request may have to wait for its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum QueueWait {
    /// For as long as its model bears, by how long its runs take.
    #[default]
    Auto,
    /// For so long.
    AtMost(Duration),
}

impl QueueWait {
    /// The bound, where one is set.
    #[must_use]
    pub fn bound(self) -> Option<Duration> {
        match self {
            Self::Auto => None,
            Self::AtMost(bound) => Some(bound),
        }
    }
}

impl Setting for QueueWait {
    const EXPECTED: &'static str = "\"auto\" or a duration of at most 24 h like \"500ms\"";

    fn read(value: &Value) -> Option<Self> {
        match value.text()? {
            "auto" => Some(Self::Auto),
            text => unit::duration(text).filter(|bound| *bound <= DAY).map(Self::AtMost),
        }
    }
}

impl ToToml for QueueWait {
    fn to_toml(&self) -> String {
        self.bound().map_or_else(|| quote("auto"), |bound| bound.to_toml())
    }
}
