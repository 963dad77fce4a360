//! What a step has at hand while it works on one request.

use crate::inference::{ByteLease, InferError, Work};

/// Where a step books what it takes, and counts what it does.
#[derive(Debug, Default)]
pub struct Desk<'l> {
    /// What there was to do so far.
    pub work: Work,
    /// The request's share of the bytes in flight; nothing where no client waits.
    lease: Option<&'l mut ByteLease>,
}

impl<'l> Desk<'l> {
    /// A desk for a request that has booked its bytes here.
    #[must_use]
    pub fn new(lease: &'l mut ByteLease) -> Self {
        Self { work: Work::default(), lease: Some(lease) }
    }

    /// Books bytes that are about to be taken.
    ///
    /// # Errors
    ///
    /// `overloaded` when there is no room for them.
    pub fn book(&mut self, bytes: usize) -> Result<(), InferError> {
        self.lease.as_mut().map_or(Ok(()), |lease| lease.grow(bytes))
    }

    /// Gives booked bytes back that are no longer held.
    pub fn give_back(&mut self, bytes: usize) {
        if let Some(lease) = &mut self.lease {
            lease.shrink_to(lease.held().saturating_sub(bytes));
        }
    }
}
