//! How far numbers are from what they should be.

use super::measure::{Figure, Measure, total, weighted};

const FIGURES: &[Figure] = &[
    Figure { name: "mae", title: "mean absolute error" },
    Figure { name: "rmse", title: "root of the mean squared error" },
    Figure { name: "r2", title: "R²" },
];

/// Answers that are numbers beside the truth.
pub(crate) struct Regression {
    truth: Vec<f64>,
    predicted: Vec<f64>,
}

impl Regression {
    pub(crate) fn new(truth: &[f64], predicted: &[f64]) -> Self {
        Self { truth: truth.to_vec(), predicted: predicted.to_vec() }
    }

    /// Labels beside answers, at most so many of them.
    pub(crate) fn pairs(&self, most: usize) -> Vec<(f64, f64)> {
        let step = self.truth.len().div_ceil(most).max(1);
        self.truth.iter().copied().zip(self.predicted.iter().copied()).step_by(step).collect()
    }

    /// Why some figures have no value.
    pub(crate) fn notes(&self) -> Vec<String> {
        let not_finite = self.predicted.iter().filter(|it| !it.is_finite()).count();
        let note = format!("{not_finite} answers are no finite numbers, so there are no figures");
        (not_finite > 0).then_some(note).into_iter().collect()
    }
}

impl Measure for Regression {
    fn figures(&self) -> &'static [Figure] {
        FIGURES
    }

    fn measure(&self, weights: &[u32]) -> Vec<Option<f64>> {
        let rows = total(weights);
        let errors = || self.truth.iter().zip(&self.predicted).map(|(truth, got)| got - truth);
        let absolute = weighted(errors().map(f64::abs), weights);
        let squared = weighted(errors().map(|error| error * error), weights);
        let mean = weighted(self.truth.iter().copied(), weights) / rows;
        let spread = self.truth.iter().map(|truth| (truth - mean) * (truth - mean));
        let spread = weighted(spread, weights);
        // As scikit-learn has it where all labels are one number.
        let r2 = match (spread > 0.0, squared > 0.0) {
            (true, _) => 1.0 - squared / spread,
            (false, true) => 0.0,
            (false, false) => 1.0,
        };
        let r2 = (rows >= 2.0).then_some(r2);
        let figures = [Some(absolute / rows), Some((squared / rows).sqrt()), r2];
        figures.map(|figure| figure.filter(|_| squared.is_finite() && rows > 0.0)).to_vec()
    }
}
