//! Which of the requests that wait make a batch: a pure decision over them in their order.

use super::policy::BatchLimits;

/// A request that waits, as far as packing depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Its rows.
    pub(super) n_rows: usize,
    /// Whether it is unlike all that were answered since a run failed.
    pub(super) is_outlier: bool,
}

/// Additional bounds while runs fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CautiousLimits {
    /// Requests of a batch of outliers.
    pub(super) max_outliers: usize,
    /// Requests of another batch.
    pub(super) max_others: usize,
}

/// What becomes of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placement {
    /// It is in the batch.
    Taken,
    /// It cannot share this run, later ones may.
    Passed,
    /// The batch is full.
    Full,
}

/// A batch in the making. The oldest request goes in whatever its size; of those behind it, whatever may share its run, until one
/// would be too much: to look for smaller ones behind that would let them overtake it for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packing {
    limits: BatchLimits,
    caution: Option<CautiousLimits>,
    first: Option<Candidate>,
    n_rows: usize,
    n_requests: usize,
    is_full: bool,
}

impl Packing {
    /// An empty batch; with `caution`, outliers and others share no runs.
    pub(super) fn new(limits: BatchLimits, caution: Option<CautiousLimits>) -> Self {
        Self { limits, caution, first: None, n_rows: 0, n_requests: 0, is_full: false }
    }

    /// Decides on the next of those that wait. `fits` says whether its rows may lie in one tensor with those of the first,
    /// and is asked only where all else allows it.
    pub(super) fn offer(&mut self, candidate: Candidate, fits: impl FnOnce() -> bool) -> Placement {
        if let Some(first) = self.first {
            let is_of_its_kind = self.caution.is_none() || first.is_outlier == candidate.is_outlier;
            let is_too_large = self.n_rows + candidate.n_rows > self.limits.max_batch_size;
            if is_too_large || self.n_requests >= self.max_requests(first) {
                self.is_full = is_of_its_kind;
                return Placement::Full;
            }
            if !is_of_its_kind || !fits() {
                return Placement::Passed;
            }
        } else {
            self.first = Some(candidate);
        }
        self.n_rows += candidate.n_rows;
        self.n_requests += 1;
        Placement::Taken
    }

    /// Rows of the batch.
    pub(super) fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Whether it is one of outliers.
    pub(super) fn has_outliers(&self) -> bool {
        self.caution.is_some() && self.first.is_some_and(|first| first.is_outlier)
    }

    /// Whether it is as large as a batch of its kind gets, where others are left.
    pub(super) fn is_full(&self) -> bool {
        self.n_requests > 0 && !self.has_outliers() && (self.caution.is_none() || self.is_full)
    }

    fn max_requests(&self, first: Candidate) -> usize {
        match self.caution {
            None => usize::MAX,
            Some(limits) if first.is_outlier => limits.max_outliers,
            Some(limits) => limits.max_others,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const LIMITS: BatchLimits = BatchLimits { max_batch_size: 4, max_queue_delay: Duration::ZERO };
    const CAUTION: CautiousLimits = CautiousLimits { max_outliers: 2, max_others: 3 };

    /// What waits is written as rows and shape: `2a` fits `1a` and not `1b`; outliers have capitals. Gives the places that are taken,
    /// and whether the batch is full.
    fn pack(waiting: &str, caution: Option<CautiousLimits>) -> (Vec<usize>, bool) {
        let read = |text: &str| {
            let (rows, shape) = text.split_at(text.len() - 1);
            let shape = shape.chars().next().unwrap();
            let is_outlier = shape.is_ascii_uppercase();
            (Candidate { n_rows: rows.parse().unwrap(), is_outlier }, shape.to_ascii_lowercase())
        };
        let waiting: Vec<_> = waiting.split_whitespace().map(read).collect();
        let mut packing = Packing::new(LIMITS, caution);
        let mut taken = Vec::new();
        for (place, (candidate, shape)) in waiting.iter().enumerate() {
            match packing.offer(*candidate, || *shape == waiting[0].1) {
                Placement::Taken => taken.push(place),
                Placement::Passed => {}
                Placement::Full => break,
            }
        }
        let n_rows = taken.iter().map(|place| waiting[*place].0.n_rows).sum::<usize>();
        assert_eq!(packing.n_rows(), n_rows);
        let is_full = packing.is_full() && taken.len() < waiting.len();
        (taken, is_full)
    }

    #[test]
    fn a_batch_is_what_fits_in_the_order_of_arrival() {
        let table: &[(&str, &[usize], bool)] = &[
            ("", &[], false),
            ("1a", &[0], false),
            ("1a 1a 1a 1a", &[0, 1, 2, 3], false),
            ("1a 1a 1a 1a 1a", &[0, 1, 2, 3], true),
            ("2a 2a", &[0, 1], false),
            // One of another shape is passed over.
            ("2a 1b 1a", &[0, 2], true),
            // One that is too large ends it, though a smaller one behind would fit.
            ("2a 1b 1a 2a 1a", &[0, 2], true),
            ("3a 2a 1a", &[0], true),
            // Also one of another shape: it has waited longer.
            ("3a 2b 1a", &[0], true),
            // What is larger than a batch runs by itself.
            ("9a", &[0], false),
            ("9a 1a", &[0], true),
            // Without a failure nobody is an outlier.
            ("1A 1a", &[0, 1], false),
        ];
        for (waiting, taken, is_full) in table {
            assert_eq!(pack(waiting, None), (taken.to_vec(), *is_full), "{waiting}");
        }
    }

    #[test]
    fn while_runs_fail_outliers_share_with_outliers_and_batches_are_smaller() {
        let table: &[(&str, &[usize], bool)] = &[
            ("1a 1A 1a", &[0, 2], false),
            ("1A 1a 1A", &[0, 2], false),
            ("1a 1a 1a 1a", &[0, 1, 2], true),
            // Outliers never say how many rows a full batch has.
            ("1A 1A 1A", &[0, 1], false),
            // The batch ends at one of the other kind: whether it is full is not known.
            ("2a 3A", &[0], false),
            ("2a 3a", &[0], true),
            ("1a 1b", &[0], false),
        ];
        for (waiting, taken, is_full) in table {
            assert_eq!(pack(waiting, Some(CAUTION)), (taken.to_vec(), *is_full), "{waiting}");
        }
    }
}
