//! Requests by the code of their answer, from a closed list.

use super::collect::Collect;
use super::exposition::Samples;
use super::families;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The code of an answered request.
const OK: &str = "ok";

/// Where a code counts that is not in the list: a fault of ours, shown so that it is found.
const OTHER: &str = "other";

/// The name under which requests count that named no served model.
const UNKNOWN: &str = "<unknown>";

/// Requests by code: the first counts answers, the last what is in no list.
#[derive(Debug)]
pub(super) struct CodeCounters {
    codes: Arc<[&'static str]>,
    counts: Box<[AtomicU64]>,
}

impl CodeCounters {
    pub(super) fn new(codes: Arc<[&'static str]>) -> Self {
        let counts = (0..codes.len() + 2).map(|_| AtomicU64::new(0)).collect();
        Self { codes, counts }
    }

    pub(super) fn add(&self, failure: Option<&str>) {
        let idx = match failure {
            None => 0,
            // Errors are rare, and the list is short.
            Some(code) => {
                1 + self.codes.iter().position(|c| *c == code).unwrap_or(self.codes.len())
            }
        };
        self.counts[idx].fetch_add(1, Ordering::Relaxed);
    }

    /// How many were answered, and how many were not.
    pub(super) fn totals(&self) -> (u64, u64) {
        let mut counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        (counts.next().unwrap_or(0), counts.sum())
    }

    pub(super) fn collect(&self, out: &mut Samples, model: &str, version: &str) {
        let names = std::iter::once(OK).chain(self.codes.iter().copied()).chain([OTHER]);
        for (name, count) in names.zip(&self.counts) {
            let count = count.load(Ordering::Relaxed);
            if name != OTHER || count > 0 {
                out.number(&families::REQUESTS, &[model, version, name], count as f64);
            }
        }
    }
}

/// Requests that named no served model. What they did name is not a label.
#[derive(Debug)]
pub(super) struct Unresolved(CodeCounters);

impl Unresolved {
    pub(super) fn new(codes: Arc<[&'static str]>) -> Self {
        Self(CodeCounters::new(codes))
    }

    pub(super) fn add(&self, code: &str) {
        self.0.add(Some(code));
    }
}

impl Collect for Unresolved {
    fn collect(&self, samples: &mut Samples) {
        self.0.collect(samples, UNKNOWN, UNKNOWN);
    }
}
