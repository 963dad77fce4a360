//! One limit for all bytes that requests hold: bodies, decoded tensors and answers together.
//!
//! Answers that wait for their clients to take them are counted apart, and no more of them are let in while they hold
//! half of it: how long they wait is the clients' choice, and what is being read and computed needs the rest.

use super::error::{ErrorCode, InferError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[derive(Debug)]
struct Account {
    limit: usize,
    used: AtomicUsize,
    /// Those of them that are answers.
    answers: AtomicUsize,
}

impl Account {
    fn scarcity(&self) -> f64 {
        let Self { limit, used, answers } = self;
        let (used, answers) = (used.load(Ordering::Relaxed), answers.load(Ordering::Relaxed));
        let held = used.max(answers.saturating_mul(2)) as f64 / (*limit).max(1) as f64;
        (2.0 * held - 1.0).clamp(0.0, 1.0)
    }
}

/// The bytes that all requests of the process may hold at once.
#[derive(Debug, Clone)]
pub struct ByteBudget(Arc<Account>);

impl ByteBudget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let (used, answers) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self(Arc::new(Account { limit, used, answers }))
    }

    /// The bytes that may be held.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// The bytes that are held.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// How scarce room is, from 0 while half of it is free to 1 where there is none, also when that is so of the half
    /// that answers may hold.
    #[must_use]
    pub fn scarcity(&self) -> f64 {
        self.0.scarcity()
    }

    /// A share of nothing, to be grown.
    #[must_use]
    pub fn lease(&self) -> ByteLease {
        ByteLease { account: Arc::clone(&self.0), held: 0, is_answer: false }
    }
}

/// One request's share; given back on drop.
#[derive(Debug)]
pub struct ByteLease {
    account: Arc<Account>,
    held: usize,
    is_answer: bool,
}

impl ByteLease {
    /// Takes `bytes` more, which an answer does not.
    ///
    /// # Errors
    ///
    /// `overloaded` when the budget has no room for them; nothing is taken then.
    pub fn grow(&mut self, bytes: usize) -> Result<(), InferError> {
        let account = &*self.account;
        // Only the sum matters, no other memory is guarded by it: relaxed is enough.
        let before = account.used.fetch_add(bytes, Ordering::Relaxed);
        if before.checked_add(bytes).is_none_or(|sum| sum > account.limit) {
            account.used.fetch_sub(bytes, Ordering::Relaxed);
            let limit = account.limit;
            let alone = self.held.saturating_add(bytes);
            if alone > limit {
                let message = format!(
                    "this request and its answer alone would hold {alone} bytes, the server at most {limit} (limits.inflight_bytes)"
                );
                return Err(InferError::new(ErrorCode::Overloaded, message));
            }
            let message = format!(
                "the server holds {before} bytes of requests and answers, {bytes} more are over its limit of {limit}"
            );
            return Err(overloaded(message));
        }
        self.held += bytes;
        Ok(())
    }

    /// What is held is from now on an answer that waits for its client.
    ///
    /// # Errors
    ///
    /// `overloaded` while such answers hold half of the budget.
    pub fn into_answer(mut self) -> Result<Self, InferError> {
        let account = &*self.account;
        let before = account.answers.fetch_add(self.held, Ordering::Relaxed);
        // By what the others hold: an answer that is larger than the half alone can still be given.
        if before > account.limit / 2 {
            account.answers.fetch_sub(self.held, Ordering::Relaxed);
            let message = format!(
                "answers that their clients have not taken hold {before} bytes, over half of the server's limit of {}",
                account.limit
            );
            return Err(overloaded(message));
        }
        self.is_answer = true;
        Ok(self)
    }

    /// Gives back what is held above `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.held.saturating_sub(bytes);
        self.account.used.fetch_sub(surplus, Ordering::Relaxed);
        if self.is_answer {
            self.account.answers.fetch_sub(surplus, Ordering::Relaxed);
        }
        self.held -= surplus;
    }

    /// How scarce room is in the budget, from 0 to 1.
    #[must_use]
    pub fn scarcity(&self) -> f64 {
        self.account.scarcity()
    }

    /// What is held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }
}

impl Drop for ByteLease {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

fn overloaded(message: String) -> InferError {
    InferError::new(ErrorCode::Overloaded, message).with_retry_after(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_shared_and_given_back() {
        let budget = ByteBudget::new(100);
        let (mut a, mut b) = (budget.lease(), budget.lease());
        a.grow(60).unwrap();
        assert_eq!(b.grow(41).unwrap_err().code, ErrorCode::Overloaded);
        assert_eq!(budget.used(), 60, "a refused share must not stay booked");
        b.grow(40).unwrap();
        a.shrink_to(10);
        assert_eq!(budget.used(), 50);
        drop(b);
        drop(a);
        assert_eq!(budget.used(), 0);
        assert_eq!(budget.lease().grow(usize::MAX).unwrap_err().code, ErrorCode::Overloaded);
    }

    #[test]
    fn answers_that_wait_leave_half_to_others() {
        let budget = ByteBudget::new(100);
        let held = |bytes| {
            let mut lease = budget.lease();
            lease.grow(bytes).map(|()| lease)
        };
        let large = held(60).unwrap().into_answer().unwrap();
        assert_eq!(held(10).unwrap().into_answer().unwrap_err().code, ErrorCode::Overloaded);
        assert_eq!((budget.used(), budget.scarcity()), (60, 1.0), "a refused answer holds nothing");
        let body = held(40).unwrap();
        drop(large);
        let first = held(50).unwrap().into_answer().unwrap();
        drop(body);
        assert_eq!(budget.scarcity(), 1.0, "the answers' half is taken");
        let second = held(10).unwrap().into_answer().unwrap();
        drop(first);
        assert_eq!((budget.used(), budget.scarcity()), (10, 0.0));
        drop(second);
        let _body = held(75).unwrap();
        assert_eq!(budget.scarcity(), 0.5);
    }
}
