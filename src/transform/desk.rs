//! What a step has at hand while it works on one request.

use crate::inference::{ByteLease, ErrorCode, InferError, Work};
use std::time::Instant;

/// Where a step books what it takes, and counts what it does.
#[derive(Debug, Default)]
pub struct Desk<'l> {
    /// What there was to do so far.
    pub work: Work,
    /// The request's share of the bytes in flight; nothing where no client waits.
    lease: Option<&'l mut ByteLease>,
    /// When its client stops waiting.
    deadline: Option<Instant>,
}

impl<'l> Desk<'l> {
    /// A desk for a request that has booked its bytes here, and whose client waits so long.
    #[must_use]
    pub fn new(lease: &'l mut ByteLease, deadline: Instant) -> Self {
        Self { work: Work::default(), lease: Some(lease), deadline: Some(deadline) }
    }

    /// Looks whether anybody still waits. Steps ask before each row.
    ///
    /// # Errors
    ///
    /// `deadline_exceeded`.
    pub fn go_on(&self) -> Result<(), InferError> {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            let message = "the deadline passed while the texts or images were being read";
            return Err(InferError::new(ErrorCode::DeadlineExceeded, message));
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::ByteBudget;

    #[test]
    fn what_is_booked_is_given_back_and_time_has_an_end() {
        let budget = ByteBudget::new(100);
        let mut lease = budget.lease();
        let mut desk = Desk::new(&mut lease, Instant::now() + crate::testing::PATIENCE);
        desk.book(60).unwrap();
        desk.go_on().unwrap();
        assert_eq!(desk.book(41).unwrap_err().code, ErrorCode::Overloaded);
        desk.give_back(20);
        assert_eq!(budget.used(), 40);
        let late = Desk::new(&mut lease, Instant::now());
        assert_eq!(late.go_on().unwrap_err().code, ErrorCode::DeadlineExceeded);
        assert!(Desk::default().go_on().is_ok() && Desk::default().book(1000).is_ok());
    }
}
