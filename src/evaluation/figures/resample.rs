//! How far figures depend on which rows there happen to be: the percentile bootstrap.
//!
//! Rows are drawn with replacement, as many as there are, and the figures are computed anew; the middle 95 % of what
//! comes out is the interval. Two versions are measured over the same draws, so that rows which are hard for both do
//! not widen the interval of their difference.

use super::measure::Measure;

/// Times that rows are drawn.
pub(crate) const N_RESAMPLES: usize = 1000;
/// What share of the resamples an interval holds.
pub(crate) const CONFIDENCE: f64 = 0.95;
/// Where the draws begin, so that the same data give the same intervals.
pub(crate) const SEED: u64 = 11;

/// A lower and an upper end; `None` for a figure that has no value in nearly all resamples.
pub(crate) type Interval = Option<(f64, f64)>;

/// Intervals of the figures of up to two versions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Intervals {
    /// For each version, those of its figures.
    pub(crate) each: Vec<Vec<Interval>>,
    /// Those of the first version's figures less the second's.
    pub(crate) differences: Vec<Interval>,
}

/// Draws rows and measures each version over every draw.
pub(crate) fn intervals(n_rows: usize, measures: &[&dyn Measure]) -> Intervals {
    let mut draws = Draws(SEED);
    let mut weights = vec![0; n_rows];
    let n_figures = measures.first().map_or(0, |measure| measure.figures().len());
    let none = || vec![Vec::with_capacity(N_RESAMPLES); n_figures];
    let mut each = vec![none(); measures.len()];
    let mut differences = none();
    for _ in 0..N_RESAMPLES {
        weights.fill(0);
        for _ in 0..n_rows {
            weights[draws.below(n_rows)] += 1;
        }
        let measured: Vec<_> = measures.iter().map(|it| it.measure_again(&weights)).collect();
        for (values, figures) in each.iter_mut().zip(&measured) {
            values.iter_mut().zip(figures).for_each(|(values, figure)| values.extend(figure));
        }
        if let [first, second] = &measured[..] {
            for (values, pair) in differences.iter_mut().zip(first.iter().zip(second)) {
                if let (Some(first), Some(second)) = pair {
                    values.push(first - second);
                }
            }
        }
    }
    let interval = |values: Vec<f64>| interval(values);
    Intervals {
        each: each.into_iter().map(|it| it.into_iter().map(interval).collect()).collect(),
        differences: differences.into_iter().map(interval).collect(),
    }
}

/// The middle of values: between two of them the line that joins them counts, as numpy has it.
fn interval(mut values: Vec<f64>) -> Interval {
    // Rare resamples without some class are left out; what is mostly undefined has no interval.
    if values.len() < N_RESAMPLES / 2 {
        return None;
    }
    values.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share * (values.len() - 1) as f64;
        let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
        low + (high - low) * place.fract()
    };
    let outside = (1.0 - CONFIDENCE) / 2.0;
    Some((at(outside), at(1.0 - outside)))
}

/// Numbers that look random: SplitMix64, which needs no crate and is the same everywhere.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `n`. What the product is off by is far less than what 1,000 resamples are.
    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Classification, Regression};
    use super::*;

    #[test]
    fn draws_are_even_and_the_same_each_time() {
        // The first numbers of the reference implementation for the seed 1234567.
        let mut draws = Draws(1_234_567);
        assert_eq!(
            [draws.next(), draws.next()],
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]
        );
        let mut counts = [0; 5];
        (0..10_000).for_each(|_| counts[draws.below(5)] += 1);
        assert!(counts.iter().all(|count| (1800..2200).contains(count)), "{counts:?}");
    }

    #[test]
    fn an_interval_is_as_wide_as_statistics_say() {
        // 400 rows of which 90 % are right: the error of the share is sqrt(0.9 * 0.1 / 400) = 0.015.
        let truth: Vec<usize> = (0..400).map(|row| row % 2).collect();
        let told = |every: usize| -> Vec<usize> {
            truth
                .iter()
                .enumerate()
                .map(|(row, class)| if row % every == 0 { 1 - class } else { *class })
                .collect()
        };
        let scores = vec![0.5; 800];
        let version = |every| Classification::new(2, &truth, &told(every), &scores);
        let (first, second) = (version(10), version(5));
        let found = intervals(400, &[&first, &second]);
        assert_eq!(found, intervals(400, &[&first, &second]), "seeded draws must not change");
        let (low, high) = found.each[0][0].unwrap();
        assert!((low - 0.87).abs() < 0.01 && (high - 0.93).abs() < 0.01, "{low} {high}");
        // Every tenth row is wrong in both, so that only those differ that the second alone gets wrong.
        let (low, high) = found.differences[0].unwrap();
        assert!((low - 0.07).abs() < 0.012 && (high - 0.13).abs() < 0.012, "{low} {high}");
    }

    #[test]
    fn what_has_no_value_has_no_interval() {
        let one_class = Classification::new(2, &[1, 1, 1], &[1, 1, 0], &[0.5; 6]);
        let found = intervals(3, &[&one_class]);
        assert_eq!(found.each[0][7], None, "there is no ROC curve of one class");
        assert!(found.each[0][0].is_some() && found.differences.iter().all(Option::is_none));
        let same = Regression::new(&[1.0, 2.0], &[f64::NAN, 2.0]);
        assert_eq!(intervals(2, &[&same]).each[0][0], None);
    }
}
