//! How far a window of values has moved from a reference, from counts in the same bins.
//!
//! Counts are the only summary that adds up over replicas and over time, so every figure here is one of counts. Half a row is
//! added to each bin for the population stability index: an empty bin would make it infinite, and a floor in its place
//! makes small windows alarm by themselves.

/// The least index that is worth an alarm, whatever the number of rows.
pub(super) const MIN_LIMIT: f64 = 0.1;
/// How much of the noise of both samples the limit leaves room for: the 0.999 quantile of chi-squared with nine degrees of
/// freedom, for some thirty features.
const NOISE: f64 = 40.0;

/// Two samples counted in the same bins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compared<'c> {
    reference: &'c [u64],
    window: &'c [u64],
}

impl<'c> Compared<'c> {
    /// The counts of the reference and of the window; as many of one as of the other.
    pub(super) fn new(reference: &'c [u64], window: &'c [u64]) -> Self {
        debug_assert_eq!(reference.len(), window.len(), "the bins are the same");
        Self { reference, window }
    }

    fn totals(&self) -> (f64, f64) {
        (total(self.reference), total(self.window))
    }

    /// Shares of the reference and of the window, bin by bin.
    fn shares(&self) -> impl Iterator<Item = (f64, f64)> + 'c {
        let (m, n) = self.totals();
        let pairs = self.reference.iter().zip(self.window);
        pairs.map(move |(&r, &c)| (r as f64 / m, c as f64 / n))
    }

    /// The population stability index, with half a row added to each bin. `None` for a window without values.
    pub(super) fn psi(&self) -> Option<f64> {
        let (m, n) = self.totals();
        let half = self.reference.len() as f64 / 2.0;
        let share = |count: u64, total: f64| (count as f64 + 0.5) / (total + half);
        let term = |(&r, &c): (&u64, &u64)| {
            let (q, p) = (share(r, m), share(c, n));
            (p - q) * (p / q).ln()
        };
        (n > 0.0 && m > 0.0).then(|| self.reference.iter().zip(self.window).map(term).sum())
    }

    /// What the index may be by chance, with so many values on both sides: beyond it there is a change.
    pub(super) fn psi_limit(&self) -> Option<f64> {
        let (m, n) = self.totals();
        (n > 0.0 && m > 0.0).then(|| MIN_LIMIT.max(NOISE * (1.0 / n + 1.0 / m)))
    }

    /// The largest difference of the cumulated shares: a lower bound of Kolmogorov and Smirnov's statistic.
    pub(super) fn ks(&self) -> Option<f64> {
        let (mut sum, mut largest) = (0.0f64, 0.0f64);
        for (q, p) in self.is_known().then(|| self.shares()).into_iter().flatten() {
            sum += p - q;
            largest = largest.max(sum.abs());
        }
        self.is_known().then_some(largest)
    }

    /// The largest difference of a share.
    pub(super) fn l_infinity(&self) -> Option<f64> {
        self.is_known().then(|| self.shares().map(|(q, p)| (p - q).abs()).fold(0.0, f64::max))
    }

    /// The distance of Jensen and Shannon, to base e.
    pub(super) fn jensen_shannon(&self) -> Option<f64> {
        let part =
            |share: f64, mean: f64| if share > 0.0 { share * (share / mean).ln() } else { 0.0 };
        let term = |(q, p): (f64, f64)| {
            let mean = (q + p) / 2.0;
            part(q, mean) + part(p, mean)
        };
        // Rounding may leave a hair below 0 where nothing differs.
        self.is_known().then(|| (self.shares().map(term).sum::<f64>() / 2.0).max(0.0).sqrt())
    }

    /// The chi-squared statistic of the two rows of counts, and its degrees of freedom.
    pub(super) fn chi_squared(&self) -> Option<(f64, usize)> {
        let (m, n) = self.totals();
        let (of_window, of_reference) = ((m / n).sqrt(), (n / m).sqrt());
        let mut n_bins = 0usize;
        let mut sum = 0.0;
        for (&r, &c) in self.reference.iter().zip(self.window).filter(|&(&r, &c)| r + c > 0) {
            n_bins += 1;
            let difference = of_window * c as f64 - of_reference * r as f64;
            sum += difference * difference / (r + c) as f64;
        }
        self.is_known().then_some((sum, n_bins.saturating_sub(1)))
    }

    /// The mean rank of the window's values among the reference's, from 0 to 1, and how many deviations that is from a half:
    /// Wilcoxon's test from bins. The second is `None` where all values lie in one bin.
    pub(super) fn rank(&self) -> Option<(f64, Option<f64>)> {
        if !self.is_known() {
            return None;
        }
        let (m, n) = self.totals();
        let (mut before, mut mean, mut cubes) = (0.0, 0.0, 0.0);
        for (q, p) in self.shares() {
            mean += p * (before + q / 2.0);
            before += q;
            cubes += q * q * q;
        }
        let deviation = ((1.0 - cubes) / 12.0 * (1.0 / n + 1.0 / m)).sqrt();
        Some((mean, (deviation > 0.0).then(|| (mean - 0.5) / deviation)))
    }

    /// The sum of the window's ranks among the reference's values, each from 0 to 1: what adds up where bins are too many.
    pub(super) fn rank_sum(&self) -> f64 {
        let m = total(self.reference);
        let mut before = 0.0;
        let mut sum = 0.0;
        for (&r, &c) in self.reference.iter().zip(self.window) {
            let q = r as f64 / m;
            sum += c as f64 * (before + q / 2.0);
            before += q;
        }
        sum
    }

    fn is_known(&self) -> bool {
        let (m, n) = self.totals();
        m > 0.0 && n > 0.0
    }
}

fn total(counts: &[u64]) -> f64 {
    counts.iter().sum::<u64>() as f64
}
