//! Reads what people write: the server's file, its environment and flags, and every model.toml.
//!
//! A room lists its keys with `section!`, one entry a key: name, type, default, range and meaning. The
//! rest follows from that list: the structure, how it is read, what a fault says, and the rows of the
//! documents. Every fault is reported at once, each with the place where it was written. Which keys
//! exist and what they mean is not known here.

mod closest;
mod environment;
mod error;
mod limits;
mod reader;
mod section;
mod types;
mod value;
mod written;

#[cfg(test)]
pub(crate) mod page;
#[cfg(test)]
mod tests;

pub mod unit;

pub use environment::CONFIG_FILE;
pub use error::{Origin, SettingError, SettingErrors};
pub use limits::{Above, Any, Limits, Positive};
pub use reader::{Reader, Source, Sources, Table};
pub(crate) use section::section;
pub use section::{Key, Optional, Schema, takes};
pub use types::{ByteSize, Setting, ToToml, quote};
pub(crate) use types::{parsed, words};
pub use value::Value;
pub use written::FlagValue;
