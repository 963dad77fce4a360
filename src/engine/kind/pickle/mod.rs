//! What the pickles of an archive say of its tensors, held against the records that they are of.
//!
//! libtorch believes them: a storage that is said to be larger than its record, or a tensor that reaches beyond its storage,
//! reads and writes foreign memory. So each pickle is walked here first, by a machine that knows the opcodes of libtorch's own
//! reader (torch/csrc/jit/serialization/unpickler.cpp) and does what they do, except that it makes nothing: an object is
//! its class, a tensor its figures. What libtorch would understand otherwise, or in several ways, is refused.

mod layout;
mod machine;
mod types;
mod value;

#[cfg(test)]
mod tests;

pub(super) use layout::{Indices, Rule};

use machine::Machine;
use std::collections::HashMap;
use std::fmt;

/// Longest pickle that is walked, in bytes. Weights are not in it.
pub(super) const MAX_BYTES: u64 = 64 << 20;

/// Why a pickle is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PickleError(String);

impl PickleError {
    fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for PickleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Sizes of the records that a pickle's storages may be, by their keys in small letters: libtorch tells no large ones from
/// small ones.
pub(super) type Records = HashMap<String, u64>;

/// Walks a pickle; hands back what is still to be looked at in the records themselves.
pub(super) fn check(pickle: &[u8], records: &Records) -> Result<Vec<Indices>, PickleError> {
    Machine::new(pickle, records).run()
}
