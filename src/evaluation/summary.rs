//! From answers to everything that a report says. Pure.

use super::bounds::{BoundCheck, checks};
use super::collect::{Collected, Told, Truth};
use super::compare::{AnswerChanges, compare};
use super::figures::{
    Bin, ClassFigures, Classification, Curve, Figure, Interval, Measure, Measured, Regression,
    intervals,
};
use crate::inference::{ModelName, Version};
use crate::repository::manifest::EvaluationKeys;
use std::sync::Arc;

/// Points of a plot of numbers.
const MAX_POINTS: usize = 1000;

/// What is found about one version.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The version.
    pub version: Version,
    /// Figures over all rows.
    pub figures: Vec<Measured>,
    /// What else depends on whether classes or numbers are told.
    pub details: Details,
    /// Why figures have no value, in sentences.
    pub notes: Vec<String>,
}

/// What there is beside figures over all rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Details {
    /// For classes.
    Classes {
        /// Class by class.
        classes: Vec<ClassFigures>,
        /// How often each class was told to be each; `None` for too many.
        confusion: Option<Vec<Vec<u64>>>,
        /// Rows by their score.
        bins: Vec<Bin>,
        /// ROC curves with the class of each: that of the second of two, or of all where they are few.
        curves: Vec<(usize, Curve)>,
    },
    /// For numbers: labels beside answers, some of them where they are many.
    Numbers(Vec<(f64, f64)>),
}

/// What another version does otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct VersionComparison {
    /// The other version.
    pub against: Summary,
    /// Figures of this version less the other's.
    pub differences: Vec<Measured>,
    /// Row by row.
    pub changes: AnswerChanges,
}

/// Everything that a report says.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The model.
    pub model: ModelName,
    /// The file of rows.
    pub data: String,
    /// How many there are.
    pub n_rows: usize,
    /// Names of the classes; none for numbers.
    pub classes: Vec<Arc<str>>,
    /// Rows by their labels say what was found.
    pub summary: Summary,
    /// Against another version.
    pub comparison: Option<VersionComparison>,
    /// What model.toml asks.
    pub checks: Vec<BoundCheck>,
}

impl Evaluation {
    /// What model.toml asks and was missed.
    pub fn missed(&self) -> impl Iterator<Item = &BoundCheck> {
        self.checks.iter().filter(|check| !check.is_met())
    }
}

/// ROC curves are kept for so many classes.
const MAX_CURVES: usize = 10;

/// Computes all figures. `versions` are those that were asked, in that order.
#[must_use]
pub fn evaluate(
    model: &ModelName,
    data: &str,
    versions: &[Version],
    collected: &Collected,
    asked: &EvaluationKeys,
) -> Evaluation {
    let n_rows = collected.lines.len();
    let answers: Vec<Answers> =
        collected.told.iter().map(|told| Answers::of(&collected.truth, told)).collect();
    let measures: Vec<&dyn Measure> = answers.iter().map(Answers::measure).collect();
    let found = intervals(n_rows, &measures);
    let weights = vec![1; n_rows];
    let values: Vec<_> = measures.iter().map(|measure| measure.measure(&weights)).collect();
    let mut summaries: Vec<Summary> = Vec::with_capacity(answers.len());
    for (place, answers) in answers.iter().enumerate() {
        summaries.push(Summary {
            version: versions[place],
            figures: measured(measures[place].figures(), &values[place], &found.each[place]),
            details: answers.details(),
            notes: answers.notes(),
        });
    }
    let classes = match &collected.truth {
        Truth::Classes { names, .. } => names.clone(),
        Truth::Numbers(_) => Vec::new(),
    };
    let mut summaries = summaries.into_iter();
    let summary = summaries.next().expect("one version at least is asked");
    let comparison = summaries.next().zip(compare(collected)).map(|(against, changes)| {
        let pairs = values[0].iter().zip(&values[1]);
        let less = |(now, before): (&Option<f64>, &Option<f64>)| Some((*now)? - (*before)?);
        let values: Vec<_> = pairs.map(less).collect();
        let differences = measured(measures[0].figures(), &values, &found.differences);
        VersionComparison { against, differences, changes }
    });
    let checks = checks(asked, &summary.figures);
    let (model, data) = (model.clone(), data.to_owned());
    Evaluation { model, data, n_rows, classes, summary, comparison, checks }
}

fn measured(figures: &[Figure], values: &[Option<f64>], intervals: &[Interval]) -> Vec<Measured> {
    let each = figures.iter().zip(values).zip(intervals);
    let measured = |((figure, value), interval): ((&Figure, &Option<f64>), &Interval)| Measured {
        figure: *figure,
        value: *value,
        interval: interval.filter(|_| value.is_some()),
    };
    each.map(measured).collect()
}

/// The answers of a version, ready to be measured.
enum Answers {
    Classes(Classification),
    Numbers(Regression),
}

impl Answers {
    fn of(truth: &Truth, told: &Told) -> Self {
        match truth {
            Truth::Classes { names, rows } => {
                Self::Classes(Classification::new(names.len(), rows, &told.classes, &told.values))
            }
            Truth::Numbers(numbers) => Self::Numbers(Regression::new(numbers, &told.values)),
        }
    }

    fn measure(&self) -> &dyn Measure {
        match self {
            Self::Classes(classes) => classes,
            Self::Numbers(numbers) => numbers,
        }
    }

    fn notes(&self) -> Vec<String> {
        match self {
            Self::Classes(classes) => classes.notes(),
            Self::Numbers(numbers) => numbers.notes(),
        }
    }

    fn details(&self) -> Details {
        match self {
            Self::Classes(measured) => {
                let classes = measured.classes();
                let shown =
                    if classes.len() == 2 { 1..2 } else { 0..classes.len().min(MAX_CURVES) };
                let curve = |class| Some((class, measured.curve(class)?));
                Details::Classes {
                    confusion: measured.confusion(),
                    bins: measured.bins(),
                    curves: shown.filter_map(curve).collect(),
                    classes,
                }
            }
            Self::Numbers(measured) => Details::Numbers(measured.pairs(MAX_POINTS)),
        }
    }
}
