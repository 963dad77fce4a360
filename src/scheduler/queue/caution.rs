//! What is remembered of requests that made a run fail, so that those who send them pay for it and not their neighbors.
//!
//! Nothing at all until one does. From then on, for as long as another comes within a thousand, a request whose numbers
//! lie within those of requests that were answered shares runs with its like, and one that goes beyond them, as an id
//! that is out of range does, only with others that do: such outliers have one turn in a few. Of each kind the share that fails is
//! estimated, and batches are made so small that half of them pass: halving the others (see `run/halving`) finds what fails
//! with the fewest runs then, as it is known of testing in groups (ln 2 / p requests where one of 1 / p fails; 1 / sqrt(p)
//! holds where what fails is repeated one by one). Who sends is not known here.

use crate::inference::ValidRequest;
use crate::scheduler::extent::{Extent, Extents, extent};
use crate::scheduler::packing::CautiousLimits;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Requests that are answered until one that failed is forgotten.
const MEMORY: usize = 1000;
/// How much one request counts in the share of those that are known, and in that of outliers, which are few and may all be
/// to blame.
const WEIGHTS: [f64; 2] = [1.0 / 32.0, 1.0 / 8.0];
/// The share of outliers that is taken to fail before it is known.
const FIRST_SHARE: f64 = 1.0 / 16.0;

/// See the file's head.
#[derive(Debug, Default)]
pub(super) struct Caution {
    /// Requests that are still answered with caution; 0 is the rule.
    left: AtomicUsize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Over all requests that were answered with caution.
    extents: Extents,
    /// Which share fails of those within these numbers, and of those beyond.
    shares: [f64; 2],
}

impl Caution {
    /// Whether somebody has lately made a run fail.
    pub(super) fn is_on(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    /// Whether a request is unlike all that were answered since.
    pub(super) fn is_outlier(&self, request: &ValidRequest) -> bool {
        if !self.is_on() {
            return false;
        }
        let own = extents(request);
        self.known().extents.are_exceeded_by(&own)
    }

    /// How small batches are to be, if somebody has lately made a run fail.
    pub(super) fn limits(&self) -> Option<CautiousLimits> {
        self.is_on().then(|| CautiousLimits {
            max_outliers: self.max_requests(true),
            max_others: self.max_requests(false),
        })
    }

    /// How many requests a batch of outliers may have, or one of the others.
    pub(super) fn max_requests(&self, are_outliers: bool) -> usize {
        let share = self.known().shares[usize::from(are_outliers)];
        // A share of nothing gives infinity, and that the largest number.
        ((std::f64::consts::LN_2 / share) as usize).max(1)
    }

    /// A request was answered.
    pub(super) fn answered(&self, request: &ValidRequest, is_outlier: bool) {
        let own = extents(request);
        let mut known = self.known();
        known.extents.add(own.into_iter());
        let kind = usize::from(is_outlier);
        known.shares[kind] *= 1.0 - WEIGHTS[kind];
        let left = self.left.load(Ordering::Relaxed).saturating_sub(1);
        self.left.store(left, Ordering::Relaxed);
        if left == 0 {
            *known = Known::default();
        }
    }

    /// A request made a run fail.
    pub(super) fn failed(&self, is_outlier: bool) {
        let mut known = self.known();
        if self.left.swap(MEMORY, Ordering::Relaxed) == 0 {
            known.shares[1] = FIRST_SHARE;
        }
        let kind = usize::from(is_outlier);
        known.shares[kind] += (1.0 - known.shares[kind]) * WEIGHTS[kind];
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn extents(request: &ValidRequest) -> Vec<Option<Extent>> {
    request.inputs().iter().map(|input| input.as_ref().and_then(extent)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::testing::request;

    #[test]
    fn what_goes_beyond_what_was_answered_is_an_outlier_while_runs_fail() {
        let caution = Caution::default();
        let is_outlier = |value: f32| caution.is_outlier(&request(&[value], None));
        assert!(!is_outlier(7.0), "nothing has failed");
        caution.failed(false);
        assert!(is_outlier(7.0), "nobody is known yet");
        for value in [-1.0, 7.0] {
            caution.answered(&request(&[value], None), true);
        }
        assert!(!is_outlier(7.0) && !is_outlier(0.0) && is_outlier(7.5) && is_outlier(-2.0));
        assert!(!caution.is_outlier(&request(&[f32::NAN], None)), "it lies nowhere");
        for _ in 2..MEMORY {
            caution.answered(&request(&[1.0], None), false);
        }
        assert!(!caution.is_on() && !is_outlier(8.0), "all is forgotten");
    }

    #[test]
    fn batches_are_as_small_as_half_of_them_pass() {
        let caution = Caution::default();
        assert_eq!(caution.max_requests(false), usize::MAX);
        caution.failed(false);
        assert_eq!(caution.max_requests(true), 11, "of outliers one of 16 is taken to fail");
        assert_eq!(caution.max_requests(false), 22, "one of 32 failed");
        for _ in 0..4 {
            caution.failed(true);
        }
        assert_eq!(caution.max_requests(true), 1, "from a third on each by itself");
        assert_eq!(caution.max_requests(false), 22);
        for turn in 0..800 {
            match turn % 8 {
                0 => caution.failed(false),
                _ => caution.answered(&request(&[1.0], None), false),
            }
        }
        let most = caution.max_requests(false);
        assert!((5..=7).contains(&most), "one of eight fails: {most}");
    }
}
