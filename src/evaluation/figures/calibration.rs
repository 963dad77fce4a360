//! The expected calibration error (Naeini et al. 2015; with as many bins as Guo et al. 2017): rows are put into bins of
//! equal width by the score of the class that is told; in each, the mean score is held against the share of right rows.

/// Bins between 0 and 1.
const N_BINS: usize = 15;

/// A bin of rows by their scores.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bin {
    /// Rows in it.
    pub rows: f64,
    /// Sum of their scores.
    pub confidence: f64,
    /// Those of them that are right.
    pub right: f64,
}

pub(super) struct Calibration {
    /// The score of each row, and whether it is right.
    rows: Vec<(f64, bool)>,
}

impl Calibration {
    pub(super) fn new(
        confidence: impl Iterator<Item = f64>,
        is_right: impl Iterator<Item = bool>,
    ) -> Self {
        Self { rows: confidence.zip(is_right).collect() }
    }

    pub(super) fn bins(&self, weights: &[u32]) -> Vec<Bin> {
        let mut bins = vec![Bin::default(); N_BINS];
        for (&(confidence, is_right), &weight) in self.rows.iter().zip(weights) {
            let weight = f64::from(weight);
            let bin = &mut bins[place(confidence)];
            bin.rows += weight;
            bin.confidence += weight * confidence;
            bin.right += if is_right { weight } else { 0.0 };
        }
        bins
    }

    pub(super) fn error(&self, weights: &[u32]) -> f64 {
        let bins = self.bins(weights);
        let rows: f64 = bins.iter().map(|bin| bin.rows).sum();
        bins.iter().map(|bin| (bin.right - bin.confidence).abs()).sum::<f64>() / rows
    }
}

/// The bin of a score: each has its upper edge and not its lower one.
fn place(confidence: f64) -> usize {
    let n = N_BINS as f64;
    let guess = (confidence * n) as usize;
    // The product may be rounded up to an edge, or be one.
    let is_at_edge = guess > 0 && confidence <= guess as f64 / n;
    (guess - usize::from(is_at_edge)).min(N_BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_belong_to_the_bin_below() {
        let places = [0.0, 1e-9, 1.0 / 15.0, 0.07, 14.0 / 15.0, 0.94, 1.0].map(place);
        assert_eq!(places, [0, 0, 0, 1, 13, 14, 14]);
        for edge in 1..=N_BINS {
            assert_eq!(place(edge as f64 / N_BINS as f64), edge - 1);
        }
    }

    #[test]
    fn it_is_the_mean_gap_between_score_and_share() {
        let scores = [0.95, 0.95, 0.95, 0.55, 0.55];
        let right = [true, true, false, true, false];
        let calibration = Calibration::new(scores.into_iter(), right.into_iter());
        // Three rows at 0.95 of which 2/3 are right, two at 0.55 of which half are.
        let expected = (3.0 * (0.95 - 2.0 / 3.0) + 2.0 * 0.05) / 5.0;
        assert!((calibration.error(&[1; 5]) - expected).abs() < 1e-12);
        let without_wrong = (2.0 * 0.05 + 0.45) / 3.0;
        assert!((calibration.error(&[1, 1, 0, 1, 0]) - without_wrong).abs() < 1e-12);
    }
}
