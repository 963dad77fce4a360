//! Where values fall: bins between fixed edges, closed on the right, as Prometheus' `le`.

/// Bins of a reference: the deciles.
pub(super) const BINS: usize = 10;

/// The edges between bins, rising. Values up to the first are in the first bin, those above the last in the last.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Edges(Vec<f32>);

impl Edges {
    /// These.
    ///
    /// # Errors
    ///
    /// They do not rise, or one is not finite.
    pub(super) fn new(edges: Vec<f32>) -> Result<Self, String> {
        if let Some(odd) = edges.iter().find(|edge| !edge.is_finite()) {
            return Err(format!("an edge is {odd}, expected a finite number"));
        }
        if let Some(pair) = edges.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(format!("{} stands before {}, expected edges that rise", pair[0], pair[1]));
        }
        Ok(Self(edges))
    }

    /// The quantiles of finite values that cut them into so many bins, rounded to what requests hold. Those that tie, or are not
    /// below the maximum, are left out: they would leave bins empty.
    pub(super) fn quantiles(sorted: &[f64], bins: usize) -> Self {
        let (Some(max), Some(last)) = (sorted.last(), sorted.len().checked_sub(1)) else {
            return Self::default();
        };
        let quantile = |number: usize| {
            // Linear between neighbors, as numpy's default.
            let place = last as f64 * (number as f64 / bins as f64);
            let (low, part) = (place.floor() as usize, place.fract());
            let (from, to) = (sorted[low], sorted[(low + 1).min(last)]);
            // From the nearer neighbor, as numpy does: the last digit decides on which side of an edge a value lies.
            let value = if part < 0.5 {
                from + (to - from) * part
            } else {
                to - (to - from) * (1.0 - part)
            };
            value as f32
        };
        let mut edges: Vec<f32> = (1..bins).map(quantile).collect();
        edges.dedup();
        edges.retain(|edge| f64::from(*edge) < *max);
        Self(edges)
    }

    /// How many bins there are.
    pub(super) fn n_bins(&self) -> usize {
        self.0.len() + 1
    }

    /// The bin of a finite value.
    pub(super) fn bin(&self, value: f32) -> usize {
        // So few that comparing with all of them, without a branch, is the fastest way.
        self.0.iter().map(|edge| usize::from(*edge < value)).sum()
    }

    /// Them.
    pub(super) fn as_slice(&self) -> &[f32] {
        &self.0
    }
}
