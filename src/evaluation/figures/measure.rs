//! What a figure is, and sums over rows that count more or less often.

/// A figure that is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figure {
    /// As programs and model.toml call it.
    pub name: &'static str,
    /// As people call it.
    pub title: &'static str,
}

/// A figure with the interval that it lies in.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Which one.
    pub figure: Figure,
    /// Its value, where it has one.
    pub value: Option<f64>,
    /// The ends of its interval by the resamples, where it has one.
    pub interval: Option<(f64, f64)>,
}

/// Figures for which the answers of a version are held against labels.
pub(crate) trait Measure {
    /// Which there are.
    fn figures(&self) -> &'static [Figure];

    /// A value for each, with a weight for each row; `None` where it has no meaning for these rows.
    fn measure(&self, weights: &[u32]) -> Vec<Option<f64>>;

    /// The same less what would take too long a thousand times.
    fn measure_again(&self, weights: &[u32]) -> Vec<Option<f64>> {
        self.measure(weights)
    }
}

/// A sum of values, each as often as its row counts.
pub(super) fn weighted(values: impl Iterator<Item = f64>, weights: &[u32]) -> f64 {
    values.zip(weights).map(|(value, weight)| value * f64::from(*weight)).sum()
}

/// How many rows count.
pub(super) fn total(weights: &[u32]) -> f64 {
    weights.iter().map(|weight| f64::from(*weight)).sum()
}
