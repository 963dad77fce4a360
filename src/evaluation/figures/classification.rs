//! How well classes are told.

use super::calibration::{Bin, Calibration};
use super::measure::{Figure, Measure, total, weighted};
use super::ranking::{Curve, Ranking};

const FIGURES: &[Figure] = &[
    Figure { name: "accuracy", title: "accuracy" },
    Figure { name: "macro_precision", title: "precision, macro" },
    Figure { name: "macro_recall", title: "recall, macro" },
    Figure { name: "macro_f1", title: "F1, macro" },
    Figure { name: "weighted_precision", title: "precision, weighted" },
    Figure { name: "weighted_recall", title: "recall, weighted" },
    Figure { name: "weighted_f1", title: "F1, weighted" },
    Figure { name: "roc_auc", title: "ROC-AUC" },
    Figure { name: "log_loss", title: "log loss" },
    Figure { name: "calibration_error", title: "calibration error" },
];

/// With more scores than this the area under the ROC curve is not computed for every resample.
const MAX_RESAMPLED_SCORES: usize = 2_000_000;
/// More classes than this have no confusion matrix.
const MAX_CONFUSED: usize = 1000;
/// How far from 1 the scores of a row may add up and still be probabilities: FP16 rounds as much.
const SUM_TOLERANCE: f64 = 1e-3;

/// The figures of one class.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassFigures {
    /// Share of the rows told to be of this class that are.
    pub precision: f64,
    /// Share of the rows of this class that are told to be.
    pub recall: f64,
    /// Their harmonic mean.
    pub f1: f64,
    /// Rows of this class.
    pub support: u64,
    /// Area under its ROC curve; `None` where all rows or none are of this class.
    pub roc_auc: Option<f64>,
}

/// Answers of a classifier beside the truth.
pub(crate) struct Classification {
    n_classes: usize,
    truth: Vec<usize>,
    predicted: Vec<usize>,
    /// `None` where scores are no probabilities.
    losses: Option<Vec<f64>>,
    calibration: Option<Calibration>,
    /// One for each class; empty where scores cannot be ordered.
    rankings: Vec<Ranking>,
}

/// How often each class is, is told, and is told where it is.
struct Counts {
    support: Vec<f64>,
    told: Vec<f64>,
    right: Vec<f64>,
}

impl Classification {
    /// `scores` has a score for each class, row after row.
    pub(crate) fn new(
        n_classes: usize,
        truth: &[usize],
        predicted: &[usize],
        scores: &[f64],
    ) -> Self {
        let rows = || scores.chunks_exact(n_classes);
        let are_probabilities = rows().all(is_distribution);
        let losses = are_probabilities
            .then(|| rows().zip(truth).map(|(row, class)| loss(row[*class])).collect());
        let calibration = are_probabilities.then(|| {
            let confidence = rows().zip(predicted).map(|(row, class)| row[*class]);
            Calibration::new(confidence, truth.iter().zip(predicted).map(|(a, b)| a == b))
        });
        let rankings = if scores.iter().any(|score| score.is_nan()) {
            Vec::new()
        } else {
            (0..n_classes).map(|class| Ranking::new(rows().map(|row| row[class]))).collect()
        };
        let (truth, predicted) = (truth.to_vec(), predicted.to_vec());
        Self { n_classes, truth, predicted, losses, calibration, rankings }
    }

    /// Why some figures have no value.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.losses.is_none() {
            notes.push(
                "the scores of a row are not probabilities that add up to 1, so there is no log loss and no \
                 calibration error: see activation in model.toml"
                    .to_owned(),
            );
        }
        let weights = vec![1; self.truth.len()];
        let counts = self.counts(&weights);
        let missing = counts.support.iter().filter(|rows| **rows == 0.0).count();
        if missing > 0 {
            notes.push(format!("{missing} of {} classes have no rows", self.n_classes));
        }
        let unclassed = self.predicted.iter().filter(|it| **it >= self.n_classes).count();
        if unclassed > 0 {
            notes.push(format!("{unclassed} rows got no class, since their scores are not numbers: they count as wrong"));
        }
        if self.rankings.is_empty() {
            notes.push("some scores are not numbers, so there is no ROC-AUC".to_owned());
        } else if !self.resamples_areas() {
            notes.push("there are too many scores for an interval of ROC-AUC".to_owned());
        }
        notes
    }

    /// Figures class by class.
    pub(crate) fn classes(&self) -> Vec<ClassFigures> {
        let weights = vec![1; self.truth.len()];
        let counts = self.counts(&weights);
        let class = |class: usize| {
            let (precision, recall, f1) = counts.of(class);
            let support = counts.support[class] as u64;
            ClassFigures { precision, recall, f1, support, roc_auc: self.area(class, &weights) }
        };
        (0..self.n_classes).map(class).collect()
    }

    /// How often each class (a row) was told to be each (a column); `None` for more classes than anybody looks at.
    pub(crate) fn confusion(&self) -> Option<Vec<Vec<u64>>> {
        if self.n_classes > MAX_CONFUSED {
            return None;
        }
        let mut matrix = vec![vec![0; self.n_classes]; self.n_classes];
        for (&truth, &predicted) in self.truth.iter().zip(&self.predicted) {
            // What got no class is in no column.
            if let Some(n) = matrix[truth].get_mut(predicted) {
                *n += 1;
            }
        }
        Some(matrix)
    }

    /// The bins of the calibration error.
    pub(crate) fn bins(&self) -> Vec<Bin> {
        let weights = vec![1; self.truth.len()];
        self.calibration.as_ref().map(|it| it.bins(&weights)).unwrap_or_default()
    }

    /// The ROC curve of a class.
    pub(crate) fn curve(&self, class: usize) -> Option<Curve> {
        self.rankings.get(class)?.curve(|row| self.truth[row] == class)
    }

    fn counts(&self, weights: &[u32]) -> Counts {
        let none = || vec![0.0; self.n_classes];
        let mut counts = Counts { support: none(), told: none(), right: none() };
        let rows = self.truth.iter().zip(&self.predicted).zip(weights);
        for ((&truth, &predicted), &weight) in rows {
            let weight = f64::from(weight);
            counts.support[truth] += weight;
            if let Some(told) = counts.told.get_mut(predicted) {
                *told += weight;
            }
            if truth == predicted {
                counts.right[truth] += weight;
            }
        }
        counts
    }

    fn area(&self, class: usize, weights: &[u32]) -> Option<f64> {
        self.rankings.get(class)?.area(weights, |row| self.truth[row] == class)
    }

    /// That of the second of two classes; otherwise the mean over the classes that have one, each against the rest.
    fn mean_area(&self, weights: &[u32]) -> Option<f64> {
        if self.n_classes == 2 {
            return self.area(1, weights);
        }
        mean((0..self.n_classes).filter_map(|class| self.area(class, weights)))
    }

    fn resamples_areas(&self) -> bool {
        self.truth.len().saturating_mul(self.n_classes) <= MAX_RESAMPLED_SCORES
    }

    fn all_but_area(&self, weights: &[u32]) -> [Option<f64>; FIGURES.len()] {
        let counts = self.counts(weights);
        let rows = total(weights);
        if rows == 0.0 {
            return [None; FIGURES.len()];
        }
        let right: f64 = counts.right.iter().sum();
        let [macro_precision, macro_recall, macro_f1] = counts.averages(|_| 1.0);
        let [precision, recall, f1] = counts.averages(|class| counts.support[class]);
        let losses = self.losses.as_ref();
        let log_loss = losses.map(|losses| weighted(losses.iter().copied(), weights) / rows);
        let calibration_error = self.calibration.as_ref().map(|it| it.error(weights));
        [
            Some(right / rows),
            macro_precision,
            macro_recall,
            macro_f1,
            precision,
            recall,
            f1,
            None,
            log_loss,
            calibration_error,
        ]
    }
}

/// Where the area stands among the figures.
const AREA: usize = 7;

impl Measure for Classification {
    fn figures(&self) -> &'static [Figure] {
        FIGURES
    }

    fn measure(&self, weights: &[u32]) -> Vec<Option<f64>> {
        let mut figures = self.all_but_area(weights);
        figures[AREA] = self.mean_area(weights);
        figures.to_vec()
    }

    fn measure_again(&self, weights: &[u32]) -> Vec<Option<f64>> {
        if self.resamples_areas() {
            self.measure(weights)
        } else {
            self.all_but_area(weights).to_vec()
        }
    }
}

impl Counts {
    /// Precision, recall and F1 of a class, 0 where they divide by nothing.
    fn of(&self, class: usize) -> (f64, f64, f64) {
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let (right, told, support) = (self.right[class], self.told[class], self.support[class]);
        (share(right, told), share(right, support), share(2.0 * right, told + support))
    }

    /// The averages of these over the classes that occur, in the rows or in what was told.
    fn averages(&self, weight: impl Fn(usize) -> f64) -> [Option<f64>; 3] {
        let occurs = |class: &usize| self.support[*class] + self.told[*class] > 0.0;
        let (mut sums, mut weights) = ([0.0; 3], 0.0);
        for class in (0..self.support.len()).filter(occurs) {
            let (precision, recall, f1) = self.of(class);
            for (sum, value) in sums.iter_mut().zip([precision, recall, f1]) {
                *sum += value * weight(class);
            }
            weights += weight(class);
        }
        sums.map(|sum| (weights > 0.0).then(|| sum / weights))
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0u32), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / f64::from(n))
}

/// Whether scores are probabilities of classes that exclude each other.
fn is_distribution(scores: &[f64]) -> bool {
    let sum: f64 = scores.iter().sum();
    scores.iter().all(|score| (0.0..=1.0).contains(score)) && (sum - 1.0).abs() <= SUM_TOLERANCE
}

/// The loss of a row whose class got this probability. scikit-learn keeps as far from 0 and 1.
fn loss(probability: f64) -> f64 {
    -probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
}
