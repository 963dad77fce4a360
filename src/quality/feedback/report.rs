//! The figures that follow from labels.

use super::tally::{ClassTally, NumberTally, ScoreBin};
use crate::inference::Version;
use std::sync::Arc;

/// What labels say of a version, by what this replica has counted.
#[derive(Debug, Clone)]
pub struct QualityReport {
    /// The version.
    pub version: Version,
    /// Whether it is still loaded.
    pub is_loaded: bool,
    /// Rows whose callers asked for a token.
    pub tokens: u64,
    /// Rows whose label came.
    pub labels: u64,
    /// How long labels took, on average.
    pub mean_delay: Option<f64>,
    /// The figures.
    pub figures: QualityFigures,
}

/// Figures of a kind of answers.
#[derive(Debug, Clone)]
pub enum QualityFigures {
    /// Of labels.
    Classes(ClassificationFigures),
    /// Of numbers; `None` before there are any.
    Numbers(Option<NumberFigures>),
}

/// How well answers with labels are.
#[derive(Debug, Clone)]
pub struct ClassificationFigures {
    /// The classes, by name.
    pub classes: Vec<ClassFigure>,
    /// How often each (a row) was answered with each (a column).
    pub confusion: Vec<Vec<u64>>,
    /// The part that was right.
    pub accuracy: Option<f64>,
    /// Expected calibration error.
    pub calibration_error: Option<f64>,
    /// Mean squared difference of score and outcome.
    pub brier: Option<f64>,
    /// Area under the ROC curve of the second class, of two.
    pub roc_auc: Option<f64>,
    /// The bins of the calibration error.
    pub bins: Vec<ScoreBin>,
}

impl ClassificationFigures {
    /// The mean over the classes that occur, in truth or in answers.
    #[must_use]
    pub fn macro_f1(&self) -> Option<f64> {
        let all: Vec<_> = self.classes.iter().filter_map(ClassFigure::f1).collect();
        (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
    }

    /// The mean by how many rows were each class.
    #[must_use]
    pub fn weighted_f1(&self) -> Option<f64> {
        let rows: u64 = self.classes.iter().map(|class| class.actual).sum();
        let weighted = |class: &ClassFigure| Some(class.f1()? * class.actual as f64);
        let sum: f64 = self.classes.iter().filter_map(weighted).sum();
        (rows > 0).then(|| sum / rows as f64)
    }
}

/// One class.
#[derive(Debug, Clone)]
pub struct ClassFigure {
    /// Its label.
    pub label: Arc<str>,
    /// Rows that were it.
    pub actual: u64,
    /// Rows that were answered with it.
    pub predicted: u64,
    /// Rows that were both.
    pub correct: u64,
}

impl ClassFigure {
    /// The part of its answers that was right.
    #[must_use]
    pub fn precision(&self) -> Option<f64> {
        ratio(self.correct, self.predicted)
    }

    /// The part of its rows that was found.
    #[must_use]
    pub fn recall(&self) -> Option<f64> {
        ratio(self.correct, self.actual)
    }

    /// The harmonic mean of both.
    #[must_use]
    pub fn f1(&self) -> Option<f64> {
        ratio(2 * self.correct, self.actual + self.predicted)
    }
}

/// How far numbers are off.
#[derive(Debug, Clone, Copy)]
pub struct NumberFigures {
    /// Mean absolute error.
    pub mae: f64,
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Mean error: above 0, answers are too high.
    pub mean_error: f64,
    /// The part of the truth's variance that is explained.
    pub r_squared: Option<f64>,
}

/// A part of a whole; `None` of nothing.
fn ratio(part: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

impl ClassificationFigures {
    /// Those of what was counted.
    pub(super) fn of(tally: &ClassTally) -> Self {
        let class = |(place, label): (usize, &Arc<str>)| {
            let [actual, predicted, correct] = tally.class(place);
            ClassFigure { label: Arc::clone(label), actual, predicted, correct }
        };
        let scored = tally.scored();
        Self {
            classes: tally.labels.iter().enumerate().map(class).collect(),
            confusion: tally.confusion().map(<[u64]>::to_vec).collect(),
            accuracy: ratio(tally.correct(), tally.rows()),
            calibration_error: tally.calibration_error(),
            brier: (scored > 0).then(|| tally.brier_sum / scored as f64),
            roc_auc: tally.area(),
            bins: tally.bins.to_vec(),
        }
    }
}

impl NumberFigures {
    /// Those of what was counted; `None` of nothing.
    pub(super) fn of(tally: &NumberTally) -> Option<Self> {
        let n = tally.rows as f64;
        (tally.rows > 0).then(|| Self {
            mae: tally.absolute_sum / n,
            rmse: (tally.square_sum / n).sqrt(),
            mean_error: (2.0 * tally.over_sum - tally.absolute_sum) / n,
            r_squared: tally.r_squared(),
        })
    }
}
