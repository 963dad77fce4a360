//! What is exported of labels that came back: sums that only rise, so that they add up over replicas and over any time.

use super::known::{Known, lock};
use super::label::LabelOutcome;
use super::registry::Feedback;
use super::tally::{ClassTally, NumberTally, Tally};

use crate::telemetry::{Collect, Samples, VersionSamples, families};
use std::sync::atomic::Ordering;

impl Collect for Feedback {
    fn collect(&self, samples: &mut Samples) {
        self.each(|name, model| {
            for outcome in LabelOutcome::ALL {
                let rows = model.outcomes.get(&outcome).copied().unwrap_or_default();
                let labels = [name.as_str(), outcome.as_str()];
                samples.number(&families::FEEDBACK, &labels, rows as f64);
            }
            for known in &model.versions {
                let version = known.version.to_string();
                collect(known, &mut samples.of_version(name.as_str(), &version));
            }
        });
    }
}

fn collect(known: &Known, samples: &mut VersionSamples<'_>) {
    samples.number(&families::FEEDBACK_TOKENS, known.tokens.load(Ordering::Relaxed) as f64);
    samples.histogram(&families::FEEDBACK_DELAY, &known.delays);
    match &*lock(&known.exported) {
        Tally::Classes(tally) => collect_classes(tally, samples),
        Tally::Numbers(tally) => collect_numbers(tally, samples),
    }
}

fn collect_classes(tally: &ClassTally, samples: &mut VersionSamples<'_>) {
    for (place, label) in tally.labels.iter().enumerate() {
        let [actual, predicted, correct] = tally.class(place).map(|rows| rows as f64);
        samples.labeled(&families::FEEDBACK_ACTUAL, label, actual);
        samples.labeled(&families::FEEDBACK_PREDICTED, label, predicted);
        samples.labeled(&families::FEEDBACK_CORRECT, label, correct);
    }
    for (place, bin) in tally.bins.iter().enumerate() {
        let place = place.to_string();
        samples.labeled(&families::FEEDBACK_SCORES, &place, bin.rows as f64);
        samples.labeled(&families::FEEDBACK_SCORE_CORRECT, &place, bin.correct as f64);
        samples.labeled(&families::FEEDBACK_SCORE_SUM, &place, bin.score_sum);
    }
    samples.number(&families::FEEDBACK_BRIER_SUM, tally.brier_sum);
    let Some(areas) = &tally.areas else { return };
    for (actual, bins) in ["negative", "positive"].into_iter().zip(areas) {
        let mut up_to = 0;
        for (place, rows) in bins.iter().enumerate() {
            let place = place.to_string();
            up_to += rows;
            let labels = [actual, &*place];
            samples.with(&families::FEEDBACK_BINARY_SCORES, &labels, *rows as f64);
            samples.with(&families::FEEDBACK_BINARY_SCORES_UP_TO, &labels, up_to as f64);
        }
    }
}

fn collect_numbers(tally: &NumberTally, samples: &mut VersionSamples<'_>) {
    samples.number(&families::FEEDBACK_VALUES, tally.rows as f64);
    samples.number(&families::FEEDBACK_ABSOLUTE_ERROR_SUM, tally.absolute_sum);
    samples.number(&families::FEEDBACK_SQUARE_ERROR_SUM, tally.square_sum);
    samples.number(&families::FEEDBACK_OVER_SUM, tally.over_sum);
}
