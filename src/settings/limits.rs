//! Ranges: written once, with the key, and printed from there.

use super::types::ToToml;
use std::ops::RangeInclusive;

/// Which values of its type a key takes.
pub trait Limits<T> {
    /// Whether the value is among them.
    fn allows(&self, value: &T) -> bool;

    /// As it stands behind what the type takes: ` from 1 to 1024`.
    fn words(&self) -> String;

    /// The nearest value that is allowed.
    fn clamp(&self, value: T) -> T {
        value
    }
}

/// Every value of the type.
#[derive(Debug, Clone, Copy)]
pub struct Any;

impl<T> Limits<T> for Any {
    fn allows(&self, _: &T) -> bool {
        true
    }

    fn words(&self) -> String {
        String::new()
    }
}

impl<T: ToToml + PartialOrd + Clone> Limits<T> for RangeInclusive<T> {
    fn allows(&self, value: &T) -> bool {
        self.contains(value)
    }

    fn words(&self) -> String {
        format!(" from {} to {}", self.start().to_toml(), self.end().to_toml())
    }

    fn clamp(&self, value: T) -> T {
        if value < *self.start() {
            self.start().clone()
        } else if value > *self.end() {
            self.end().clone()
        } else {
            value
        }
    }
}

/// Numbers above zero.
#[derive(Debug, Clone, Copy)]
pub struct Positive;

impl Limits<f64> for Positive {
    fn allows(&self, value: &f64) -> bool {
        *value > 0.0 && value.is_finite()
    }

    fn words(&self) -> String {
        " above 0".to_owned()
    }
}

/// Numbers above the first, up to the second.
#[derive(Debug, Clone, Copy)]
pub struct Above(pub f64, pub f64);

impl Limits<f64> for Above {
    fn allows(&self, value: &f64) -> bool {
        *value > self.0 && *value <= self.1
    }

    fn words(&self) -> String {
        format!(" above {}, at most {}", self.0, self.1)
    }
}
