//! What is counted of a version: bins of its inputs' values, what is missing or out of range, and its labels.
//!
//! Counters only rise, and are shared by all requests without a lock.

use super::bins::Edges;
use super::reference::Of;
use super::reference::Reference;
use super::values::Rows;
use crate::tensor::Tensor;
use std::sync::atomic::{AtomicU64, Ordering};

/// Rows of one request that are counted: of a larger one some, evenly, so that no single caller makes up a window.
const MAX_ROWS: usize = 64;
/// Values of one request that are counted, which takes about 2 us.
const MAX_VALUES: usize = 500;

/// What was counted of one feature.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct FeatureCounts {
    /// Values by bin.
    pub(super) bins: Vec<u64>,
    /// Values that are no number.
    pub(super) missing: u64,
    /// Finite ones beyond the reference's range, and those that are not finite.
    pub(super) out_of_range: u64,
}

/// What was counted of a version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Counted {
    /// Rows that were looked at.
    pub(super) rows: u64,
    /// By feature, in the order of the reference.
    pub(super) features: Vec<FeatureCounts>,
    /// Rows by label, in the order of the reference; those with another label last.
    pub(super) labels: Vec<u64>,
}

impl Counted {
    /// What came since.
    pub(super) fn since(&self, before: &Self) -> Self {
        let less = |now: &[u64], before: &[u64]| -> Vec<u64> {
            now.iter().zip(before).map(|(now, before)| now.saturating_sub(*before)).collect()
        };
        let features =
            self.features.iter().zip(&before.features).map(|(now, before)| FeatureCounts {
                bins: less(&now.bins, &before.bins),
                missing: now.missing.saturating_sub(before.missing),
                out_of_range: now.out_of_range.saturating_sub(before.out_of_range),
            });
        Self {
            rows: self.rows.saturating_sub(before.rows),
            features: features.collect(),
            labels: less(&self.labels, &before.labels),
        }
    }
}

/// The counters of one load of a version.
#[derive(Debug)]
pub(super) struct Counters {
    rows: AtomicU64,
    features: Vec<FeatureCounters>,
    labels: Vec<String>,
    by_label: Vec<AtomicU64>,
}

#[derive(Debug)]
struct FeatureCounters {
    input: usize,
    of: Of,
    edges: Edges,
    min: f32,
    max: f32,
    bins: Vec<AtomicU64>,
    missing: AtomicU64,
    out_of_range: AtomicU64,
}

impl Counters {
    /// For a reference, and the places of its inputs by name.
    ///
    /// # Errors
    ///
    /// It names an input that the model does not have.
    pub(super) fn new(
        reference: &Reference,
        input: impl Fn(&str) -> Option<usize>,
    ) -> Result<Self, String> {
        let features = reference.features.iter().map(|feature| {
            let place = input(&feature.input).ok_or_else(|| {
                format!("feature {:?}: the model has no input {:?}", feature.name, feature.input)
            })?;
            Ok(FeatureCounters {
                input: place,
                of: feature.of,
                edges: Edges::new(feature.edges.clone())?,
                min: feature.min,
                max: feature.max,
                bins: zeros(feature.edges.len() + 1),
                missing: AtomicU64::new(0),
                out_of_range: AtomicU64::new(0),
            })
        });
        let labels: Vec<String> = reference.labels.keys().cloned().collect();
        let n_labels = if labels.is_empty() { 0 } else { labels.len() + 1 };
        Ok(Self {
            rows: AtomicU64::new(0),
            features: features.collect::<Result<_, String>>()?,
            labels,
            by_label: zeros(n_labels),
        })
    }

    /// Counts the rows of a request, or some of many.
    pub(super) fn count(&self, inputs: &[Option<Tensor>], n_rows: usize) {
        let max_rows = (MAX_VALUES / self.features.len().max(1)).clamp(1, MAX_ROWS);
        let step = n_rows.div_ceil(max_rows).max(1);
        self.rows.fetch_add(n_rows.div_ceil(step) as u64, Ordering::Relaxed);
        for (place, tensor) in inputs.iter().enumerate() {
            let Some(rows) = tensor.as_ref().and_then(|it| Rows::new(it, n_rows)) else { continue };
            self.count_input(place, rows, n_rows, step);
        }
    }

    fn count_input(&self, place: usize, rows: Rows<'_>, n_rows: usize, step: usize) {
        let features = || self.features.iter().filter(|feature| feature.input == place);
        let mut is_described = false;
        for feature in features() {
            match feature.of {
                Of::Element(element) => rows.column(element, step, |value| feature.add(value)),
                Of::Descriptor(_) => is_described = true,
            }
        }
        if !is_described {
            return;
        }
        for row in (0..n_rows).step_by(step) {
            let described = rows.describe(row);
            for feature in features() {
                if let Of::Descriptor(descriptor) = feature.of {
                    feature.add(described.get(descriptor));
                }
            }
        }
    }

    /// Counts the label of a row.
    pub(super) fn count_label(&self, label: &str) {
        let Some(other) = self.by_label.len().checked_sub(1) else { return };
        let place =
            self.labels.binary_search_by(|known| known.as_str().cmp(label)).unwrap_or(other);
        self.by_label[place].fetch_add(1, Ordering::Relaxed);
    }

    /// What has been counted.
    pub(super) fn counted(&self) -> Counted {
        let all = |counters: &[AtomicU64]| counters.iter().map(load).collect();
        let features = self.features.iter().map(|feature| FeatureCounts {
            bins: all(&feature.bins),
            missing: load(&feature.missing),
            out_of_range: load(&feature.out_of_range),
        });
        Counted {
            rows: load(&self.rows),
            features: features.collect(),
            labels: all(&self.by_label),
        }
    }
}

impl FeatureCounters {
    fn add(&self, value: f32) {
        if value.is_nan() {
            self.missing.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if value < self.min || value > self.max {
            self.out_of_range.fetch_add(1, Ordering::Relaxed);
        }
        if value.is_finite() {
            self.bins[self.edges.bin(value)].fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn zeros(n: usize) -> Vec<AtomicU64> {
    (0..n).map(|_| AtomicU64::new(0)).collect()
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
