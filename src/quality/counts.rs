//! What is counted of a version: bins of its inputs' values, what is missing or out of range, and its labels.
//!
//! Counters only rise. Each processor has some of its own, since those that are shared travel between their caches with every
//! request; who reads adds them up.

use super::bins::Edges;
use super::reference::Of;
use super::reference::Reference;
use super::values::Rows;
use crate::tensor::Tensor;
use rustix::thread::sched_getcpu;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// Rows of one request that are counted: of a larger one some, from everywhere in it, so that no single caller makes up a window.
const MAX_ROWS: usize = 64;
/// Values of one request that are counted, which takes about 2 us.
const MAX_VALUES: usize = 500;

/// Bins of the scores of answers, equally wide.
const SCORE_BINS: usize = 10;
/// Parts of one in which scores are added up.
pub(super) const MILLIONTHS: f64 = 1e6;

/// Most sets of counters of a version.
const MAX_SHARDS: usize = 16;
/// Counters before the first, so that two sets never share a line of a cache.
const PADDING: usize = 16;

/// What was counted of one feature.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct FeatureCounts {
    /// Values by bin.
    pub(super) bins: Vec<u64>,
    /// Values that are no number.
    pub(super) missing: u64,
    /// Finite ones beyond the reference's range, and infinite ones.
    pub(super) out_of_range: u64,
    /// Infinite ones, which lie in no bin.
    pub(super) infinite: u64,
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
    /// Rows by the score of their label, in ten bins from 0 to 1.
    pub(super) scores: Vec<u64>,
    /// The sum of these scores, in millionths.
    pub(super) score_sum: u64,
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
                infinite: now.infinite.saturating_sub(before.infinite),
            });
        Self {
            rows: self.rows.saturating_sub(before.rows),
            features: features.collect(),
            labels: less(&self.labels, &before.labels),
            scores: less(&self.scores, &before.scores),
            score_sum: self.score_sum.saturating_sub(before.score_sum),
        }
    }
}

/// What there is to count of one load of a version.
#[derive(Debug)]
pub(super) struct Counters {
    plan: Arc<Plan>,
    shards: Vec<Arc<Shard>>,
}

/// Where everything is counted.
#[derive(Debug)]
struct Plan {
    features: Vec<FeaturePlan>,
    labels: Vec<String>,
    first_label: usize,
    /// Labels of the reference and one for all others; none where it has none. Behind them are the bins of their scores, and
    /// the sum of these.
    n_labels: usize,
}

#[derive(Debug)]
struct FeaturePlan {
    input: usize,
    of: Of,
    edges: Edges,
    min: f32,
    max: f32,
    /// The place of the first bin. Behind the last are those of missing values, of those that are out of range, and of infinite ones.
    first: usize,
}

/// The counters of a processor.
#[derive(Debug)]
pub(super) struct Shard {
    plan: Arc<Plan>,
    /// What rows of large requests are drawn with.
    seed: u64,
    counters: Box<[AtomicU64]>,
}

/// Where rows are counted.
const ROWS: usize = PADDING;

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
        let mut next = ROWS + 1;
        let features = reference.features.iter().map(|feature| {
            let place = input(&feature.input).ok_or_else(|| {
                format!("feature {:?}: the model has no input {:?}", feature.name, feature.input)
            })?;
            let edges = Edges::new(feature.edges.clone())?;
            let first = next;
            next += edges.n_bins() + 3;
            let (min, max) = (feature.min, feature.max);
            Ok(FeaturePlan { input: place, of: feature.of, edges, min, max, first })
        });
        let features = features.collect::<Result<_, String>>()?;
        let labels: Vec<String> = reference.labels.keys().cloned().collect();
        let n_labels = if labels.is_empty() { 0 } else { labels.len() + 1 };
        let plan = Arc::new(Plan { features, labels, first_label: next, n_labels });
        let shard = |_| {
            let n_scores = if n_labels > 0 { SCORE_BINS + 1 } else { 0 };
            let counters = (0..next + n_labels + n_scores).map(|_| AtomicU64::new(0)).collect();
            let seed = RandomState::new().hash_one(next);
            Arc::new(Shard { plan: Arc::clone(&plan), seed, counters })
        };
        let shards = (0..n_shards()).map(shard).collect();
        Ok(Self { plan, shards })
    }

    /// Those of each processor.
    pub(super) fn shards(&self) -> Vec<Weak<Shard>> {
        self.shards.iter().map(Arc::downgrade).collect()
    }

    /// What has been counted.
    pub(super) fn counted(&self) -> Counted {
        let load = |shard: &Shard, place: usize| shard.counters[place].load(Ordering::Relaxed);
        let sum = |place: usize| self.shards.iter().map(|shard| load(shard, place)).sum();
        let features = self.plan.features.iter().map(|feature| FeatureCounts {
            bins: (feature.first..feature.missing()).map(sum).collect(),
            missing: sum(feature.missing()),
            out_of_range: sum(feature.out_of_range()),
            infinite: sum(feature.infinite()),
        });
        let (first_label, first_score) = (self.plan.first_label, self.plan.first_score());
        let has_labels = self.plan.n_labels > 0;
        let n_scores = if has_labels { SCORE_BINS } else { 0 };
        Counted {
            rows: sum(ROWS),
            features: features.collect(),
            labels: (first_label..first_score).map(sum).collect(),
            scores: (first_score..first_score + n_scores).map(sum).collect(),
            score_sum: if has_labels { sum(first_score + SCORE_BINS) } else { 0 },
        }
    }
}

impl Shard {
    fn add(&self, place: usize, n: u64) {
        self.counters[place].fetch_add(n, Ordering::Relaxed);
    }

    /// Counts the rows of a request, or some of many.
    pub(super) fn count(&self, inputs: &[Option<Tensor>], n_rows: usize) {
        let max_rows = (MAX_VALUES / self.plan.features.len().max(1)).clamp(1, MAX_ROWS);
        let mut chosen = [0; MAX_ROWS];
        let n_chosen = n_rows.min(max_rows);
        let before = self.counters[ROWS].fetch_add(n_chosen as u64, Ordering::Relaxed);
        let chosen = &mut chosen[..n_chosen];
        choose(chosen, n_rows, self.seed ^ before);
        for (place, tensor) in inputs.iter().enumerate() {
            let Some(rows) = tensor.as_ref().and_then(|it| Rows::new(it, n_rows)) else { continue };
            self.count_input(place, rows, chosen);
        }
    }

    fn count_input(&self, place: usize, rows: Rows<'_>, chosen: &[u32]) {
        let features = || self.plan.features.iter().filter(|feature| feature.input == place);
        let mut is_described = false;
        for feature in features() {
            match feature.of {
                Of::Element(element) => {
                    rows.column(element, chosen, |value| self.count_value(feature, value));
                }
                Of::Descriptor(_) => is_described = true,
            }
        }
        if !is_described {
            return;
        }
        for row in chosen {
            let described = rows.describe(*row as usize);
            for feature in features() {
                if let Of::Descriptor(descriptor) = feature.of {
                    self.count_value(feature, described.get(descriptor));
                }
            }
        }
    }

    fn count_value(&self, feature: &FeaturePlan, value: f32) {
        if value.is_nan() {
            self.add(feature.missing(), 1);
            return;
        }
        if value < feature.min || value > feature.max {
            self.add(feature.out_of_range(), 1);
        }
        let place = match value.is_finite() {
            true => feature.first + feature.edges.bin(value),
            false => feature.infinite(),
        };
        self.add(place, 1);
    }

    /// Counts the label of a row, and its score if that is a probability.
    pub(super) fn count_label(&self, label: &str, score: f32) {
        let Some(other) = self.plan.n_labels.checked_sub(1) else { return };
        let known = self.plan.labels.binary_search_by(|known| known.as_str().cmp(label));
        self.add(self.plan.first_label + known.unwrap_or(other), 1);
        if (0.0..=1.0).contains(&score) {
            let bin = ((f64::from(score) * SCORE_BINS as f64).ceil() as usize).saturating_sub(1);
            let first = self.plan.first_score();
            self.add(first + bin, 1);
            self.add(first + SCORE_BINS, (f64::from(score) * MILLIONTHS).round() as u64);
        }
    }
}

impl Plan {
    fn first_score(&self) -> usize {
        self.first_label + self.n_labels
    }
}

impl FeaturePlan {
    fn missing(&self) -> usize {
        self.first + self.edges.n_bins()
    }

    fn out_of_range(&self) -> usize {
        self.missing() + 1
    }

    fn infinite(&self) -> usize {
        self.missing() + 2
    }
}

/// Draws rows: one from each of as many equal parts of the request, by chance, since rows may come in an order that repeats.
fn choose(chosen: &mut [u32], n_rows: usize, seed: u64) {
    let n = chosen.len();
    for (part, row) in chosen.iter_mut().enumerate() {
        let (first, next) = (part * n_rows / n, (part + 1) * n_rows / n);
        let offset = match next - first {
            1 => 0,
            width => (mixed(seed.wrapping_add(part as u64)) % width as u64) as usize,
        };
        *row = u32::try_from(first + offset).unwrap_or(u32::MAX);
    }
}

/// Numbers that follow from each other look as if drawn (SplitMix64: Steele, Lea and Flood, 2014).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn n_shards() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MAX_SHARDS)
}

/// Which of so many sets of counters this processor adds to.
pub(super) fn of_this_processor<T>(shards: &[T]) -> Option<&T> {
    shards.get(sched_getcpu() % shards.len().max(1))
}
