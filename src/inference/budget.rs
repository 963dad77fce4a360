//! One limit for all bytes that requests hold: bodies, decoded tensors and answers together.
//!
//! Answers that wait for their clients to take them are counted apart, and no more of them are let in while they hold
//! half of it: how long they wait is the clients' choice, and what is being read and computed needs the rest. Of that half a
//! connection that carries many streams gets at most as much as is left for all others, as buffers of switches are shared
//! (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998): n of them that take
//! nothing hold n parts of n + 1, and whoever comes then finds room.

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
        self.lease_for(None)
    }

    /// The same for a request whose answer goes to `recipient`.
    #[must_use]
    pub fn lease_for(&self, recipient: Option<Recipient>) -> ByteLease {
        ByteLease {
            account: Arc::clone(&self.0),
            recipient,
            held: 0,
            is_answer: false,
            is_extra: false,
        }
    }
}

/// Who takes the answers of a connection that carries many at once, with the bytes that wait for it. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Recipient(Arc<AtomicUsize>);

#[cfg(test)]
impl Recipient {
    /// The same of clones, and of no other.
    pub fn identity(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

/// One request's share; given back on drop.
#[derive(Debug)]
pub struct ByteLease {
    account: Arc<Account>,
    recipient: Option<Recipient>,
    held: usize,
    is_answer: bool,
    /// It is counted among answers that wait, and no part of the budget.
    is_extra: bool,
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
    /// `overloaded` while such answers hold half of the budget, or those for this recipient as much as is left of that half.
    pub fn into_answer(mut self) -> Result<Self, InferError> {
        let half = self.account.limit / 2;
        let before = self.account.answers.fetch_add(self.held, Ordering::Relaxed);
        let of_recipient =
            self.recipient.as_ref().map(|it| it.0.fetch_add(self.held, Ordering::Relaxed));
        self.is_answer = true;
        // By what was held before: an answer that is larger than the half alone can still be given. Dropped, it gives
        // everything back.
        let Some(left) = half.checked_sub(before) else {
            let message = format!(
                "answers that their clients have not taken hold {before} bytes, over half of the server's limit of {}",
                self.account.limit
            );
            return Err(overloaded(message));
        };
        match of_recipient {
            Some(own) if own > left => {
                let message = format!(
                    "answers that were not taken on this connection hold {own} bytes, more than the {left} that are left for all others"
                );
                Err(overloaded(message))
            }
            _ => Ok(self),
        }
    }

    /// A share of nothing becomes an answer of so many bytes, which is too small to be refused and is only counted among those
    /// that wait: many of them make room scarce all the same. `None` where its recipient has one at a time.
    #[must_use]
    pub fn into_small_answer(mut self, bytes: usize) -> Option<Self> {
        let Recipient(waiting) = self.recipient.as_ref()?;
        waiting.fetch_add(bytes, Ordering::Relaxed);
        self.account.answers.fetch_add(bytes, Ordering::Relaxed);
        (self.held, self.is_answer, self.is_extra) = (bytes, true, true);
        Some(self)
    }

    /// Gives back what is held above `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.held.saturating_sub(bytes);
        if !self.is_extra {
            self.account.used.fetch_sub(surplus, Ordering::Relaxed);
        }
        if self.is_answer {
            self.account.answers.fetch_sub(surplus, Ordering::Relaxed);
            if let Some(Recipient(waiting)) = &self.recipient {
                waiting.fetch_sub(surplus, Ordering::Relaxed);
            }
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

    #[test]
    fn many_small_answers_make_room_scarce_and_refuse_nobody() {
        let budget = ByteBudget::new(100);
        let recipient = Recipient::default();
        let small = |recipient| budget.lease_for(recipient).into_small_answer(20);
        assert!(small(None).is_none(), "one at a time is no crowd");
        let waiting: Vec<_> = (0..5).map(|_| small(Some(recipient.clone())).unwrap()).collect();
        assert_eq!((budget.used(), budget.scarcity()), (0, 1.0));
        budget.lease().grow(100).expect("bodies have their room");
        drop(waiting);
        assert_eq!(budget.scarcity(), 0.0);
    }

    #[test]
    fn connections_that_take_nothing_leave_room_to_others() {
        const SIZE: usize = 10;
        let budget = ByteBudget::new(2000);
        let answer_for = |recipient: Option<&Recipient>| {
            let mut lease = budget.lease_for(recipient.cloned());
            lease.grow(SIZE).and_then(|()| lease.into_answer())
        };
        let hostile: [_; 9] = std::array::from_fn(|_| Recipient::default());
        let mut untaken = Vec::new();
        // Each asks for more until all are refused.
        for _ in 0..budget.limit() {
            untaken.extend(hostile.iter().filter_map(|it| answer_for(Some(it)).ok()));
        }
        let left = budget.limit() / 2 - untaken.len() * SIZE;
        assert!((SIZE..=150).contains(&left), "a tenth and at most an answer each: {left}");
        assert!(budget.scarcity() >= 0.8, "the slow ones are soon found out");
        let refused = answer_for(Some(&hostile[0])).unwrap_err();
        assert!(refused.message.contains("this connection"), "{refused}");
        let other = Recipient::default();
        let of_others = [answer_for(Some(&other)).unwrap(), answer_for(None).unwrap()];
        drop((of_others, untaken));
        assert_eq!((budget.used(), budget.scarcity()), (0, 0.0));
        answer_for(Some(&hostile[0])).expect("who has taken all begins anew");
    }
}
