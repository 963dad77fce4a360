//! What the proof knows of a plain number: its value, or a size that it is, and whether it hangs on the rows.

use super::reason::{Doubt, Reason};
use super::size::Size;
use super::value::Kind;

/// What is known of a number's value.
#[derive(Debug, Clone)]
pub(super) enum Known {
    Int(Size),
    Float(f64),
    Bool(bool),
    Unknown,
}

impl PartialEq for Known {
    /// Whether the program cannot tell them apart: zero has two signs.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Unknown, Self::Unknown) => true,
            _ => false,
        }
    }
}

/// A number or truth value of the program.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Number {
    pub(super) known: Known,
    /// Why it may differ between batches; a size with the number of rows in it does so without.
    pub(super) taint: Option<Reason>,
}

impl Number {
    pub(super) fn new(known: Known) -> Self {
        Self { known, taint: None }
    }

    pub(super) fn int(value: i64) -> Self {
        Self::new(Known::Int(Size::of(value)))
    }

    pub(super) fn size(size: Size) -> Self {
        Self::new(Known::Int(size))
    }

    pub(super) fn truth(value: bool) -> Self {
        Self::new(Known::Bool(value))
    }

    pub(super) fn unknown() -> Self {
        Self::new(Known::Unknown)
    }

    pub(super) fn tainted(reason: Reason) -> Self {
        Self { known: Known::Unknown, taint: Some(reason) }
    }

    /// Why it may differ between batches.
    pub(super) fn hangs(&self) -> Option<Reason> {
        let counts = matches!(&self.known, Known::Int(size) if size.has_rows());
        let counted = || Reason::new(Doubt::Counted, "a value hangs on the number of rows");
        self.taint.clone().or_else(|| counts.then(counted))
    }

    pub(super) fn kind(&self) -> Kind {
        match self.known {
            Known::Int(_) => Kind::Whole,
            Known::Float(_) => Kind::Float,
            Known::Bool(_) => Kind::Truth,
            Known::Unknown => Kind::Unknown,
        }
    }

    pub(super) fn as_size(&self) -> Option<&Size> {
        if let Known::Int(size) = &self.known { Some(size) } else { None }
    }

    pub(super) fn as_int(&self) -> Option<i64> {
        match &self.known {
            Known::Int(size) => size.value(),
            Known::Bool(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    pub(super) fn as_truth(&self) -> Option<bool> {
        match &self.known {
            Known::Bool(value) => Some(*value),
            Known::Int(size) => size.value().map(|value| value != 0),
            _ => None,
        }
    }
}

pub(super) fn join_numbers(a: &Number, b: &Number) -> Number {
    if a == b {
        return a.clone();
    }
    match a.hangs().or_else(|| b.hangs()) {
        Some(reason) => Number::tainted(reason),
        None => Number::unknown(),
    }
}
