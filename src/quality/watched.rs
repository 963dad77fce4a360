//! One load of a version beside its reference: what windows say of it, and what has begun and is over.

use super::counts::{Counted, Counters};
use super::drift::{FeatureDrift, Trouble, drift};
use super::figures::Compared;
use super::reference::{LABELS, Reference};
use super::windows::{Snapshots, Window};
use crate::inference::Version;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A load of a version, and what is counted of it.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) reference: Reference,
    pub(super) counters: Counters,
    looked: Mutex<Looked>,
}

/// What the looks of each minute left.
#[derive(Debug, Default)]
struct Looked {
    snapshots: Snapshots,
    /// What is wrong now, by feature.
    troubles: BTreeSet<(usize, Trouble)>,
}

/// How a version stands beside its reference.
#[derive(Debug, Clone)]
pub struct DriftReport {
    /// The version.
    pub version: Version,
    /// Rows of the reference.
    pub reference_rows: u64,
    /// What is wrong by the last look, as `feature: what`.
    pub troubles: Vec<(String, Trouble)>,
    /// The shortest first.
    pub windows: Vec<WindowReport>,
}

/// One window of a version.
#[derive(Debug, Clone)]
pub struct WindowReport {
    /// Which.
    pub window: Window,
    /// Rows that were counted.
    pub rows: u64,
    /// In the order of the reference.
    pub features: Vec<FeatureDrift>,
    /// By label, those that the reference does not have last.
    pub labels: Vec<LabelShare>,
    /// The index of the labels' shares and its limit, where there are labels.
    pub label_psi: Option<(f64, f64)>,
    /// The largest difference of a label's share.
    pub label_l_infinity: Option<f64>,
}

/// How many rows got a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelShare {
    /// The label; `None` for those that the reference does not have.
    pub label: Option<String>,
    /// Rows that were counted.
    pub rows: u64,
    /// Rows of the reference.
    pub reference_rows: u64,
}

impl Watched {
    /// Begins now.
    pub(super) fn new(reference: Reference, counters: Counters) -> Self {
        let mut looked = Looked::default();
        // From here on: what comes before the first look is in its windows.
        looked.snapshots.keep(Instant::now(), &counters.counted());
        Self { reference, counters, looked: Mutex::new(looked) }
    }

    /// What has changed since the last look: the feature, what it is about, whether it begins, and the figures.
    pub(super) fn look(&self, now: Instant) -> Vec<(String, Trouble, bool, String)> {
        let counted = self.counters.counted();
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.snapshots.keep(now, &counted);
        let window = looked.snapshots.of(Window::Hour, now, &counted);
        let mut changes = Vec::new();
        let features = drift(&self.reference, &window).into_iter();
        for (place, feature) in features.chain(self.label_drift(&window)).enumerate() {
            for trouble in Trouble::ALL {
                let before = looked.troubles.contains(&(place, trouble));
                let is_so = feature.has(trouble, before);
                if is_so == before {
                    continue;
                }
                if is_so {
                    looked.troubles.insert((place, trouble));
                } else {
                    looked.troubles.remove(&(place, trouble));
                }
                let (value, limit) = feature.measured(trouble).unwrap_or_default();
                let rows = feature.rows;
                let text =
                    format!("{value:.3} over an hour with {rows} rows, the limit is {limit:.3}");
                changes.push((feature.name.clone(), trouble, is_so, text));
            }
        }
        changes
    }

    pub(super) fn report(&self, version: Version, now: Instant) -> DriftReport {
        let counted = self.counters.counted();
        let looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let name = |place: usize| {
            let feature = self.reference.features.get(place);
            feature.map_or_else(|| LABELS.to_owned(), |feature| feature.name.clone())
        };
        let knows_labels = self.reference.knows_labels();
        let windows = Window::ALL.map(|window| {
            let counted = looked.snapshots.of(window, now, &counted);
            let labels = self.labels(&counted);
            let (reference, now): (Vec<_>, Vec<_>) =
                labels.iter().map(|it| (it.reference_rows, it.rows)).unzip();
            let compared = Compared::new(&reference, &now);
            WindowReport {
                window,
                rows: counted.rows,
                features: drift(&self.reference, &counted),
                label_psi: compared.psi().zip(compared.psi_limit()).filter(|_| knows_labels),
                label_l_infinity: compared.l_infinity().filter(|_| knows_labels),
                labels,
            }
        });
        DriftReport {
            version,
            reference_rows: self.reference.rows,
            troubles: looked.troubles.iter().map(|(place, it)| (name(*place), *it)).collect(),
            windows: windows.to_vec(),
        }
    }

    /// How the labels of the answers stand, where the reference has some: as a feature behind the others.
    fn label_drift(&self, counted: &Counted) -> Option<FeatureDrift> {
        let labels = self.labels(counted);
        self.reference.knows_labels().then(|| {
            let (reference, now): (Vec<_>, Vec<_>) =
                labels.iter().map(|it| (it.reference_rows, it.rows)).unzip();
            FeatureDrift::of_labels(LABELS, &reference, &now)
        })
    }

    pub(super) fn labels(&self, counted: &Counted) -> Vec<LabelShare> {
        let known = self.reference.labels.iter().map(|(name, rows)| (Some(name.clone()), *rows));
        let all = known.chain([(None, 0)]).zip(&counted.labels);
        all.map(|((label, reference_rows), rows)| LabelShare { label, rows: *rows, reference_rows })
            .collect()
    }
}
