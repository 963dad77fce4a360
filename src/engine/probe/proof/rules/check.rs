//! What of a node is refused whatever its operator: arguments, writes and numbers that are not understood.

use super::Call;
use super::elementwise;
use crate::engine::probe::proof::reason::{Doubt, Reason};
use crate::engine::probe::proof::value::{State, Tensor, Value};

/// Operators that take sizes, among which may be the number of rows. Everywhere else a number that hangs on it makes the
/// answer hang on it.
const TAKES_COUNTS: &[&str] = &[
    "view",
    "reshape",
    "_unsafe_view",
    "_reshape_alias",
    "expand",
    "broadcast_to",
    "repeat",
    "zeros",
    "ones",
    "full",
    "new_zeros",
    "new_ones",
    "new_full",
    "arange",
];

/// Operators that may be given the rows' own places.
const TAKES_PLACES: &[&str] = &[
    "index",
    "view",
    "reshape",
    "unsqueeze",
    "contiguous",
    "clone",
    "detach",
    "to",
    "alias",
    "expand",
];

/// Operators that write in place and leave the shape as it is.
const WRITES: &[&str] = &[
    "copy",
    "fill",
    "zero",
    "masked_fill",
    "index_put",
    "_index_put_impl",
    "index_fill",
    "scatter",
    "scatter_add",
    "tril",
    "triu",
];

impl Call<'_, '_> {
    /// Whether the first argument of which nothing is promised, wherever it lies, says so.
    pub(super) fn check_arguments(&self) -> Result<(), Reason> {
        let reasons = || self.arguments.iter().filter_map(|value| self.mixed(value));
        // What is known to be wrong says more than what is not known.
        match reasons().find(|reason| reason.doubt.is_of_rows()).or_else(|| reasons().next()) {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }

    /// Whether something comes in of which nothing is known, but that it hangs on rows.
    pub(super) fn is_of_unknown(&self) -> bool {
        let mut reasons = self.arguments.iter().filter_map(|value| self.mixed(value));
        reasons.any(|reason| reason.doubt == Doubt::Unknown)
    }

    /// Whether it writes at most into its first argument, a tensor, and leaves that its shape.
    pub(super) fn check_writes(&self) -> Result<(), Reason> {
        let is_known = || {
            WRITES.contains(&self.name)
                || elementwise::UNARY.contains(&self.name)
                || elementwise::BINARY.contains(&self.name)
                || self.name.ends_with("dropout")
        };
        if self.node.writes.is_empty() || (self.node.writes == [0] && is_known()) {
            return Ok(());
        }
        Err(Reason::unknown(format!(
            "what {} leaves of what it writes into is not known",
            self.node.kind
        )))
    }

    /// Whether numbers that hang on the number of rows, and the places of rows, go only where they are understood.
    pub(super) fn check_numbers(&self) -> Result<(), Reason> {
        for value in &self.arguments {
            if !TAKES_COUNTS.contains(&self.name)
                && let Some(reason) = self.hangs(value, 0)
            {
                return Err(reason);
            }
            if !TAKES_PLACES.contains(&self.name) && self.has_places(value, 0) {
                return Err(self.meets("computes with the places of rows"));
            }
        }
        Ok(())
    }

    /// Why a number in a value hangs on the number of rows.
    fn hangs(&self, value: &Value, depth: usize) -> Option<Reason> {
        match value {
            Value::Number(number) => number.hangs(),
            Value::Tensor(Tensor { state: State::Number(number), .. }) => number.hangs(),
            _ => self.parts(value, depth)?.into_iter().find_map(|it| self.hangs(it, depth + 1)),
        }
    }

    fn has_places(&self, value: &Value, depth: usize) -> bool {
        match value {
            Value::Tensor(tensor) => matches!(tensor.state, State::Places(_)),
            _ => {
                let parts = self.parts(value, depth).unwrap_or_default();
                parts.into_iter().any(|it| self.has_places(it, depth + 1))
            }
        }
    }
}
