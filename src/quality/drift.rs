//! What windows of a version say beside its reference, and when that is worth an alarm.

use super::counts::{Counted, FeatureCounts};
use super::figures::Compared;
use super::reference::{Feature, Reference};

/// Values below which nothing is alarmed: too few say nothing.
const MIN_VALUES: u64 = 50;
/// Of the values, what may lie out of range whatever the reference's size, and so be missing beyond the reference's share.
const MIN_SHARE: f64 = 0.02;
/// Extremes of so many windows as large as the reference are expected beyond its range.
const EXTREMES: f64 = 20.0;
/// An alarm is over when its figure is below this part of its limit.
const RETURN: f64 = 0.8;

/// How one feature stands.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureDrift {
    /// Its name.
    pub name: String,
    /// Rows that were looked at.
    pub rows: u64,
    /// Values in bins: what is missing or infinite is in none.
    pub values: u64,
    /// Values that have a place beside the range: those in bins, and infinite ones.
    pub ranged: u64,
    /// The population stability index.
    pub psi: Option<f64>,
    /// What chance does not reach.
    pub psi_limit: Option<f64>,
    /// The largest difference of the cumulated shares.
    pub ks: Option<f64>,
    /// The distance of Jensen and Shannon, to base e.
    pub jensen_shannon: Option<f64>,
    /// The chi-squared statistic and its degrees of freedom.
    pub chi_squared: Option<(f64, usize)>,
    /// The mean rank among the reference's values, 0.5 where nothing has changed, and how many deviations that is from there.
    pub rank: Option<(f64, Option<f64>)>,
    /// The share of values beyond the reference's range.
    pub out_of_range: f64,
    /// The share of rows without a value.
    pub missing: f64,
    /// The same share of the reference.
    pub reference_missing: f64,
    /// Counts by bin.
    pub bins: Vec<u64>,
    /// Those of the reference.
    pub reference: Vec<u64>,
}

/// What is wrong with a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Its values are distributed otherwise.
    Distribution,
    /// Too many lie beyond the reference's range: another unit?
    OutOfRange,
    /// Too many rows have none.
    Missing,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Distribution, Self::OutOfRange, Self::Missing];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Distribution => "distribution",
            Self::OutOfRange => "out_of_range",
            Self::Missing => "missing",
        }
    }
}

impl FeatureDrift {
    fn new(feature: &Feature, counted: &FeatureCounts) -> Self {
        let of_reference: u64 = feature.counts.iter().sum();
        let plain = Self::of_labels(&feature.name, &feature.counts, &counted.bins);
        // What is infinite lies in no bin, and is out of range.
        let share = |part: u64, rest: u64| part as f64 / (part + rest).max(1) as f64;
        let ranged = plain.values + counted.infinite;
        Self {
            rows: ranged + counted.missing,
            ranged,
            out_of_range: counted.out_of_range as f64 / ranged.max(1) as f64,
            missing: share(counted.missing, ranged),
            reference_missing: share(feature.missing, of_reference),
            ..plain
        }
    }

    /// Of what is counted and has no range, like labels.
    pub(super) fn of_labels(name: &str, reference: &[u64], window: &[u64]) -> Self {
        let compared = Compared::new(reference, window);
        let values: u64 = window.iter().sum();
        Self {
            name: name.to_owned(),
            rows: values,
            values,
            ranged: values,
            psi: compared.psi(),
            psi_limit: compared.psi_limit(),
            ks: compared.ks(),
            jensen_shannon: compared.jensen_shannon(),
            chi_squared: compared.chi_squared(),
            rank: compared.rank(),
            out_of_range: 0.0,
            missing: 0.0,
            reference_missing: 0.0,
            bins: window.to_vec(),
            reference: reference.to_vec(),
        }
    }

    /// A figure and its limit, where enough is known.
    #[must_use]
    pub fn measured(&self, trouble: Trouble) -> Option<(f64, f64)> {
        let n_reference: u64 = self.reference.iter().sum();
        let limit = MIN_SHARE.max(EXTREMES / n_reference.max(1) as f64);
        match trouble {
            Trouble::Distribution => {
                let enough = self.values >= MIN_VALUES;
                enough.then_some(self.psi.zip(self.psi_limit)).flatten()
            }
            Trouble::OutOfRange => {
                (self.ranged >= MIN_VALUES).then_some((self.out_of_range, limit))
            }
            Trouble::Missing => {
                let more = self.missing - self.reference_missing;
                (self.rows >= MIN_VALUES).then_some((more, limit))
            }
        }
    }

    /// Whether it is so now, when it was so or not before: it ends only well below the limit.
    #[must_use]
    pub fn has(&self, trouble: Trouble, before: bool) -> bool {
        let Some((value, limit)) = self.measured(trouble) else { return before };
        value > if before { limit * RETURN } else { limit }
    }
}

/// How all features of a version stand.
pub(super) fn drift(reference: &Reference, counted: &Counted) -> Vec<FeatureDrift> {
    let pairs = reference.features.iter().zip(&counted.features);
    pairs.map(|(feature, counted)| FeatureDrift::new(feature, counted)).collect()
}
