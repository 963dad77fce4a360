//! Rows in the order of a score: the ROC curve and the area under it.

/// Points of a curve that are kept: more cannot be told apart in a plot.
const MAX_POINTS: usize = 512;

/// Points of a ROC curve: the share of other rows, and of rows of the class, that score at least as high.
pub(crate) type Curve = Vec<(f64, f64)>;

/// Rows by falling score.
pub(super) struct Ranking {
    rows: Vec<u32>,
    /// Whether the row scores like the one before it.
    is_tie: Vec<bool>,
}

impl Ranking {
    pub(super) fn new(scores: impl Iterator<Item = f64>) -> Self {
        let scores: Vec<f64> = scores.collect();
        let n_rows = u32::try_from(scores.len()).unwrap_or(u32::MAX);
        let mut rows: Vec<u32> = (0..n_rows).collect();
        let score = |row: u32| scores[row as usize];
        rows.sort_unstable_by(|a, b| score(*b).total_cmp(&score(*a)));
        // 0 and -0 are ordered, and are a tie all the same.
        let is_tie = |at: usize| at > 0 && score(rows[at]) == score(rows[at - 1]);
        let is_tie = (0..rows.len()).map(is_tie).collect();
        Self { rows, is_tie }
    }

    /// The probability that a row of the class scores higher than another one, where equal scores count half;
    /// `None` without both kinds.
    pub(super) fn area(&self, weights: &[u32], is_positive: impl Fn(usize) -> bool) -> Option<f64> {
        let (mut positives, mut negatives, mut area) = (0.0, 0.0, 0.0);
        // What came in rows of one score.
        let (mut tied_positives, mut tied_negatives) = (0.0, 0.0);
        for (&row, &is_tie) in self.rows.iter().zip(&self.is_tie) {
            if !is_tie {
                area += tied_negatives * (positives + tied_positives / 2.0);
                positives += tied_positives;
                negatives += tied_negatives;
                (tied_positives, tied_negatives) = (0.0, 0.0);
            }
            let row = row as usize;
            let weight = f64::from(weights[row]);
            if is_positive(row) {
                tied_positives += weight;
            } else {
                tied_negatives += weight;
            }
        }
        area += tied_negatives * (positives + tied_positives / 2.0);
        let pairs = (positives + tied_positives) * (negatives + tied_negatives);
        (pairs > 0.0).then(|| area / pairs)
    }

    /// The curve, thinned to what a plot shows; `None` without rows of both kinds.
    pub(super) fn curve(&self, is_positive: impl Fn(usize) -> bool) -> Option<Curve> {
        let mut points = vec![(0.0, 0.0)];
        let (mut positives, mut negatives) = (0.0, 0.0);
        for (at, &row) in self.rows.iter().enumerate() {
            if is_positive(row as usize) {
                positives += 1.0;
            } else {
                negatives += 1.0;
            }
            let is_last_of_score = self.is_tie.get(at + 1) != Some(&true);
            if is_last_of_score {
                points.push((negatives, positives));
            }
        }
        if positives == 0.0 || negatives == 0.0 {
            return None;
        }
        let step = points.len().div_ceil(MAX_POINTS);
        let last = points.len() - 1;
        let kept = points.into_iter().enumerate().filter(|(at, _)| at % step == 0 || *at == last);
        Some(kept.map(|(_, (x, y))| (x / negatives, y / positives)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(scores: &[f64], truth: &[u8], weights: &[u32], expected: Option<f64>) {
        let ranking = Ranking::new(scores.iter().copied());
        let area = ranking.area(weights, |row| truth[row] == 1);
        let is_close = match (area, expected) {
            (Some(area), Some(expected)) => (area - expected).abs() < 1e-12,
            (area, expected) => area == expected,
        };
        assert!(is_close, "{scores:?}: {area:?}, not {expected:?}");
    }

    #[test]
    fn the_area_counts_pairs_in_order_and_ties_by_half() {
        // The example of scikit-learn's page: 3 of 4 pairs are in order.
        check(&[0.1, 0.4, 0.35, 0.8], &[0, 0, 1, 1], &[1; 4], Some(0.75));
        check(&[0.1, 0.2, 0.3, 0.4], &[0, 0, 1, 1], &[1; 4], Some(1.0));
        check(&[0.4, 0.3, 0.2, 0.1], &[0, 0, 1, 1], &[1; 4], Some(0.0));
        check(&[0.5; 4], &[0, 1, 0, 1], &[1; 4], Some(0.5));
        // Pairs (0.7, 0.7) half, (0.7, 0.2) one, (0.2, 0.7) none, (0.2, 0.2) half.
        check(&[0.7, 0.7, 0.2, 0.2], &[1, 0, 1, 0], &[1; 4], Some(0.5));
        check(&[0.0, -0.0], &[1, 0], &[1; 2], Some(0.5));
        check(&[0.9, 0.7, 0.7, 0.1], &[1, 1, 0, 0], &[1; 4], Some(3.5 / 4.0));
        check(&[0.9, 0.7, 0.7, 0.1], &[1, 1, 0, 0], &[1, 0, 2, 1], Some(1.0));
        check(&[0.1, 0.2], &[1, 1], &[1; 2], None);
        check(&[0.1, 0.2], &[0, 1], &[0, 3], None);
        check(&[], &[], &[], None);
    }

    #[test]
    fn the_curve_has_a_point_for_each_score() {
        let ranking = Ranking::new([0.9, 0.7, 0.7, 0.1].into_iter());
        let curve = ranking.curve(|row| row < 2).unwrap();
        assert_eq!(curve, [(0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 1.0)]);
        assert_eq!(ranking.curve(|_| true), None);
        let many = Ranking::new((0..10_000).map(f64::from));
        let curve = many.curve(|row| row % 2 == 0).unwrap();
        assert!(
            curve.len() <= MAX_POINTS + 1 && curve.last() == Some(&(1.0, 1.0)),
            "{}",
            curve.len()
        );
    }
}
