//! What labels that came back say of a version: counts that only rise, and the figures that follow from them.

use super::sizes::Sizes;
use super::token::{Answers, NO_CLASS};
use crate::quality::reference::first_of;
use crate::quality::{MAX_LABELS, OTHER};
use std::collections::HashMap;
use std::sync::Arc;

/// Bins of the score, for the calibration.
pub(super) const SCORE_BINS: usize = 10;
/// Bins of the second class's score, for the area under the ROC curve.
pub(super) const AREA_BINS: usize = 20;

/// Bytes of a label that is none which are told back.
const MAX_ECHO: usize = 100;

/// What of a text is told back.
pub(super) fn echoed(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_ECHO)]
}

/// What is true of a row, as its sender wrote it.
#[derive(Debug, Clone, PartialEq)]
pub enum Truth {
    /// A label.
    Label(String),
    /// A number.
    Number(f64),
}

/// What of a version's answers can be compared with the truth.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum About {
    /// Its labels.
    Classes(Classes),
    /// The one number of each row.
    Numbers,
}

/// The labels of a model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Classes {
    /// In the order of the model's classes.
    labels: Vec<Arc<str>>,
    places: HashMap<Arc<str>, u16>,
}

impl Classes {
    /// These; `None` for more than a token can tell apart.
    pub(super) fn new(labels: &[Arc<str>]) -> Option<Self> {
        let place = |(place, label): (usize, &Arc<str>)| {
            let place = u16::try_from(place).ok().filter(|place| *place != NO_CLASS)?;
            Some((Arc::clone(label), place))
        };
        let places = labels.iter().enumerate().map(place).collect::<Option<_>>()?;
        Some(Self { labels: labels.to_vec(), places })
    }

    /// The place of a label.
    pub(super) fn place(&self, label: &str) -> Option<u16> {
        self.places.get(label).copied()
    }

    /// The place of what somebody calls true.
    pub(super) fn of(&self, truth: &Truth) -> Result<u16, BadLabel> {
        let text = match truth {
            Truth::Label(label) => label.clone(),
            // Labels that are numbers are often written as such; what rounds to zero may have a sign.
            Truth::Number(number) => (number + 0.0).to_string(),
        };
        self.place(&text).ok_or_else(|| {
            let (text, known) = (echoed(&text), first_of(&self.labels));
            format!("the model has no label {text:?}, expected one of {known}")
        })
    }
}

/// What was counted.
#[derive(Debug, Clone)]
pub(super) enum Tally {
    Classes(Box<ClassTally>),
    Numbers(Box<NumberTally>),
}

/// Answers with labels.
#[derive(Debug, Clone)]
pub(super) struct ClassTally {
    /// Those that are counted by name, and one for the others where there are more.
    pub(super) labels: Vec<Arc<str>>,
    /// How often each (a row) was answered with each (a column).
    confusion: Vec<u64>,
    /// How often an answer with each was right: of those that have no place of their own, not all in one cell are.
    right: Vec<u64>,
    /// By the score of the answer; rows without a probability are not here.
    pub(super) bins: [ScoreBin; SCORE_BINS],
    /// Sum of the squared differences of score and outcome.
    pub(super) brier_sum: f64,
    /// By the score of the second class, of two: rows that were the first, and the second.
    pub(super) areas: Option<[[u64; AREA_BINS]; 2]>,
}

/// Rows whose scores lie near each other.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ScoreBin {
    /// Rows.
    pub rows: u64,
    /// Those that were right.
    pub correct: u64,
    /// The sum of their scores.
    pub score_sum: f64,
}

/// Answers with numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NumberTally {
    pub(super) rows: u64,
    pub(super) absolute_sum: f64,
    pub(super) square_sum: f64,
    /// The part of the absolute sum in which the answer was above the truth.
    pub(super) over_sum: f64,
    /// The mean of the truths, and the sum of their squared distances from it.
    truth_mean: f64,
    truth_spread: f64,
    sizes: Sizes,
}

/// A label that cannot be counted: why not.
pub(super) type BadLabel = String;

/// A row that can be counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Row {
    /// What it was and what it was answered with, by place, and the answer's score; NaN where nobody knows it.
    Class { actual: usize, predicted: usize, score: f32 },
    /// The same in numbers.
    Number { actual: f64, predicted: f32 },
}

impl About {
    /// What is counted of it, so far nothing.
    pub(super) fn tally(&self) -> Tally {
        match self {
            Self::Classes(classes) => Tally::Classes(Box::new(ClassTally::new(&classes.labels))),
            Self::Numbers => Tally::Numbers(Box::default()),
        }
    }

    /// The rows of an answer whose truth is known, and which were answered.
    ///
    /// # Errors
    ///
    /// What is told is not the truth about such an answer.
    pub(super) fn rows(
        &self,
        answers: &Answers,
        actual: &[Option<Truth>],
    ) -> Result<Vec<Row>, BadLabel> {
        if answers.n_rows() != actual.len() {
            return Err(format!(
                "{} labels of an answer with {} rows, expected one a row (null where it is not known)",
                actual.len(),
                answers.n_rows()
            ));
        }
        let known = actual.iter().enumerate().filter_map(|(row, it)| Some((row, it.as_ref()?)));
        known.filter_map(|(row, truth)| self.row(answers, row, truth).transpose()).collect()
    }

    /// `None` for a row whose answer was no number, or whose scores were none, so that it got no class.
    fn row(&self, answers: &Answers, row: usize, truth: &Truth) -> Result<Option<Row>, BadLabel> {
        match (self, answers) {
            (Self::Classes(classes), Answers::Classes(rows)) => {
                let (predicted, score) = rows[row];
                let [actual, predicted] = [classes.of(truth)?, predicted].map(usize::from);
                let is_answered = predicted != usize::from(NO_CLASS);
                Ok(is_answered.then_some(Row::Class { actual, predicted, score }))
            }
            (Self::Numbers, Answers::Numbers(rows)) => match truth {
                Truth::Number(actual) if (*actual as f32).is_finite() => {
                    let is_answered = rows[row].is_finite();
                    let row = Row::Number { actual: *actual, predicted: rows[row] };
                    Ok(is_answered.then_some(row))
                }
                Truth::Number(actual) if actual.is_finite() => {
                    Err(format!("the label is {actual:e}, which is beyond what FP32 holds"))
                }
                Truth::Number(_) => Err("the label is not a finite number".to_owned()),
                Truth::Label(label) => Err(format!(
                    "the model answers with numbers, got the label {:?}",
                    echoed(label)
                )),
            },
            _ => Err("the answer is of another kind than the model's answers are now".to_owned()),
        }
    }
}

impl Tally {
    /// Counts a row.
    pub(super) fn add(&mut self, row: Row) {
        match (self, row) {
            (Self::Classes(tally), Row::Class { actual, predicted, score }) => {
                tally.add(actual, predicted, score);
            }
            (Self::Numbers(tally), Row::Number { actual, predicted }) => {
                tally.add(actual, predicted);
            }
            // Rows are made for the tally that they are added to.
            _ => {}
        }
    }

    /// Why a row cannot be counted beside those before it, if so.
    pub(super) fn refuses(&self, row: &Row) -> Option<BadLabel> {
        let (Self::Numbers(tally), Row::Number { actual, predicted }) = (self, row) else {
            return None;
        };
        tally.is_unusual(*actual, *predicted).then(|| {
            format!(
                "the label is {actual:e} for an answer of {predicted:e}: more than 65,536 times the usual, which would hide all others in a sum"
            )
        })
    }

    /// Rows whose truth is known.
    pub(super) fn rows(&self) -> u64 {
        match self {
            Self::Classes(tally) => tally.confusion.iter().sum(),
            Self::Numbers(tally) => tally.rows,
        }
    }
}

impl ClassTally {
    fn new(labels: &[Arc<str>]) -> Self {
        let mut named: Vec<Arc<str>> = labels.iter().take(MAX_LABELS).cloned().collect();
        if labels.len() > MAX_LABELS {
            named.push(Arc::from(OTHER));
        }
        Self {
            confusion: vec![0; named.len() * named.len()],
            right: vec![0; named.len()],
            bins: Default::default(),
            brier_sum: 0.0,
            areas: (labels.len() == 2).then(Default::default),
            labels: named,
        }
    }

    fn add(&mut self, actual: usize, predicted: usize, score: f32) {
        let n = self.labels.len();
        let (row, column) = (actual.min(n - 1), predicted.min(n - 1));
        self.confusion[row * n + column] += 1;
        let is_right = actual == predicted;
        self.right[row] += u64::from(is_right);
        let score = f64::from(score);
        if !(0.0..=1.0).contains(&score) {
            return;
        }
        let bin = &mut self.bins[bin(score, SCORE_BINS)];
        bin.rows += 1;
        bin.correct += u64::from(is_right);
        bin.score_sum += score;
        let off = score - f64::from(u8::from(is_right));
        self.brier_sum += off * off;
        if let Some(areas) = &mut self.areas {
            let of_second = if predicted == 1 { score } else { 1.0 - score };
            areas[actual.min(1)][self::bin(of_second, AREA_BINS)] += 1;
        }
    }

    /// How often each was answered with each.
    pub(super) fn confusion(&self) -> impl Iterator<Item = &[u64]> {
        self.confusion.chunks_exact(self.labels.len())
    }

    /// Of a class: rows that were it, that were answered with it, and that were and are right.
    pub(super) fn class(&self, class: usize) -> [u64; 3] {
        let n = self.labels.len();
        let actual = self.confusion[class * n..(class + 1) * n].iter().sum();
        let predicted = self.confusion.iter().skip(class).step_by(n).sum();
        [actual, predicted, self.right[class]]
    }

    /// Rows that were right.
    pub(super) fn correct(&self) -> u64 {
        self.right.iter().sum()
    }

    pub(super) fn rows(&self) -> u64 {
        self.confusion.iter().sum()
    }

    /// Rows with a probability, and how far on average the share of right ones is from it (expected calibration error, ten bins
    /// of the same width).
    pub(super) fn calibration_error(&self) -> Option<f64> {
        let off = |bin: &ScoreBin| (bin.correct as f64 - bin.score_sum).abs();
        let scored = self.scored();
        (scored > 0).then(|| self.bins.iter().map(off).sum::<f64>() / scored as f64)
    }

    pub(super) fn scored(&self) -> u64 {
        self.bins.iter().map(|bin| bin.rows).sum()
    }

    /// The area under the ROC curve of the second class, of two; rows of one bin count half.
    pub(super) fn area(&self) -> Option<f64> {
        let [negative, positive] = self.areas.as_ref()?;
        let all = |bins: &[u64]| bins.iter().sum::<u64>() as f64;
        let pairs = all(negative) * all(positive);
        let mut below = 0.0;
        let mut won = 0.0;
        for (negative, positive) in negative.iter().zip(positive) {
            won += *positive as f64 * (below + *negative as f64 / 2.0);
            below += *negative as f64;
        }
        (pairs > 0.0).then(|| won / pairs)
    }
}

impl NumberTally {
    /// Counts a row. Where one of those before turns out to be far beyond the usual, the sums begin anew.
    fn add(&mut self, actual: f64, predicted: f32) {
        if let Some(place) = Sizes::place(actual, predicted)
            && self.sizes.add(place)
        {
            *self = Self { sizes: self.sizes, ..Self::default() };
        }
        let off = f64::from(predicted) - actual;
        self.rows += 1;
        self.absolute_sum += off.abs();
        self.square_sum += off * off;
        self.over_sum += off.max(0.0);
        // Welford's: the difference of two large sums would say nothing of numbers that are far from zero.
        let from_mean = actual - self.truth_mean;
        self.truth_mean += from_mean / self.rows as f64;
        self.truth_spread += from_mean * (actual - self.truth_mean);
    }

    /// Whether a row is so far beyond the usual that it cannot be counted.
    fn is_unusual(&self, actual: f64, predicted: f32) -> bool {
        let place = Sizes::place(actual, predicted);
        self.sizes.largest_usual().zip(place).is_some_and(|(largest, place)| place > largest)
    }

    /// The part of the truth's variance that the answers explain.
    pub(super) fn r_squared(&self) -> Option<f64> {
        let spread = self.truth_spread;
        (self.rows > 1 && spread > 0.0).then(|| 1.0 - self.square_sum / spread)
    }
}

/// The bin of a probability, closed on the right.
fn bin(probability: f64, bins: usize) -> usize {
    ((probability * bins as f64).ceil() as usize).saturating_sub(1).min(bins - 1)
}
