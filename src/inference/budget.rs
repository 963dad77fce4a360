//! One limit for all bytes that requests hold: bodies, decoded tensors and answers together.

use super::error::{ErrorCode, InferError};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[derive(Debug)]
struct Account {
    limit: usize,
    used: AtomicUsize,
}

/// The bytes that all requests of the process may hold at once.
#[derive(Debug, Clone)]
pub struct ByteBudget(Arc<Account>);

impl ByteBudget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Account { limit, used: AtomicUsize::new(0) }))
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

    /// A share of nothing, to be grown.
    #[must_use]
    pub fn lease(&self) -> ByteLease {
        ByteLease { account: Arc::clone(&self.0), held: 0 }
    }
}

/// One request's share; given back on drop.
#[derive(Debug)]
pub struct ByteLease {
    account: Arc<Account>,
    held: usize,
}

impl ByteLease {
    /// Takes `bytes` more.
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
            let message = format!(
                "the server holds {before} bytes of requests, {bytes} more are over its limit of {}",
                account.limit
            );
            return Err(InferError::new(ErrorCode::Overloaded, message)
                .with_retry_after(Duration::from_secs(1)));
        }
        self.held += bytes;
        Ok(())
    }

    /// Gives back what is held above `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.held.saturating_sub(bytes);
        self.account.used.fetch_sub(surplus, Ordering::Relaxed);
        self.held -= surplus;
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
}
