//! Why there is no proof.

use std::sync::Arc;

/// Why rows are not proved to keep apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// An operator lets rows meet.
    Coupled,
    /// One scale is taken over all rows; what that changes is bounded by the scale.
    Scaled,
    /// An operator draws random numbers.
    Random,
    /// Something hangs on the number of rows.
    Counted,
    /// Control flow hangs on the values of a tensor, or a number that is taken out of it does.
    Values,
    /// The size of an output hangs on the values of a tensor.
    Shapes,
    /// An operator or a shape is not known well enough.
    Unknown,
}

impl Doubt {
    /// Whether rows are known to meet, or their number or chance to count: samples cannot settle that.
    pub(super) fn is_of_rows(self) -> bool {
        matches!(self, Self::Coupled | Self::Scaled | Self::Random | Self::Counted)
    }
}

/// A doubt and its cause, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Its kind.
    pub doubt: Doubt,
    /// What causes it, for people.
    pub text: Arc<str>,
}

impl Reason {
    pub(super) fn new(doubt: Doubt, text: impl Into<Arc<str>>) -> Self {
        Self { doubt, text: text.into() }
    }

    pub(super) fn coupled(text: impl Into<Arc<str>>) -> Self {
        Self::new(Doubt::Coupled, text)
    }

    pub(super) fn unknown(text: impl Into<Arc<str>>) -> Self {
        Self::new(Doubt::Unknown, text)
    }
}
