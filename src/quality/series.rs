//! What a version exports of its data: counts that only rise, by the bins of its reference.

use super::counts::{FeatureCounts, MILLIONTHS};
use super::figures::Compared;
use super::reference::{Feature, MAX_BINNED, OTHER};
use super::watched::{LabelShare, Watched};
use crate::telemetry::{VersionSamples, VersionSeries, families};
use arc_swap::ArcSwapOption;

/// What a version exports; it holds what is counted, so that it goes with the version.
#[derive(Default)]
pub(super) struct Series(pub(super) ArcSwapOption<Watched>);

impl VersionSeries for Series {
    fn collect(&self, samples: &mut VersionSamples<'_>) {
        let Some(watched) = self.0.load_full() else { return };
        let Watched { reference, counters, .. } = &*watched;
        let counted = counters.counted();
        if reference.rows > 0 {
            samples.number(&families::REFERENCE_ROWS, reference.rows as f64);
        }
        if let Some(accuracy) = reference.evaluation.get("accuracy") {
            samples.number(&families::REFERENCE_ACCURACY, *accuracy);
        }
        // By the reference alone, so that all replicas export the same.
        let is_binned = reference.features.len() <= MAX_BINNED;
        for (feature, counts) in reference.features.iter().zip(&counted.features) {
            let name = feature.name.as_str();
            match is_binned {
                true => collect_bins(feature, counts, samples),
                false => {
                    let ranked: u64 = counts.bins.iter().sum();
                    let sum = Compared::new(&feature.counts, &counts.bins).rank_sum();
                    samples.labeled(&families::FEATURE_RANKED, name, ranked as f64);
                    samples.labeled(&families::FEATURE_RANK_SUM, name, sum);
                }
            }
            if is_binned || feature.missing > 0 {
                let all = feature.missing + feature.counts.iter().sum::<u64>();
                let missing = feature.missing as f64 / all.max(1) as f64;
                samples.labeled(&families::REFERENCE_MISSING_RATIO, name, missing);
            }
            samples.labeled(&families::FEATURE_MISSING, name, counts.missing as f64);
            samples.labeled(&families::FEATURE_OUT_OF_RANGE, name, counts.out_of_range as f64);
        }
        for LabelShare { label, rows, reference_rows } in watched.labels(&counted) {
            let label = label.as_deref().unwrap_or(OTHER);
            samples.labeled(&families::PREDICTED_LABELS, label, rows as f64);
            if reference.rows > 0 {
                let share = reference_rows as f64 / reference.rows as f64;
                samples.labeled(&families::REFERENCE_LABEL_RATIO, label, share);
            }
        }
        if !counted.labels.is_empty() {
            for (bin, rows) in counted.scores.iter().enumerate() {
                samples.labeled(&families::PREDICTED_SCORES, &bin.to_string(), *rows as f64);
            }
            let sum = counted.score_sum as f64 / MILLIONTHS;
            samples.number(&families::PREDICTED_SCORE_SUM, sum);
        }
    }
}

fn collect_bins(feature: &Feature, counts: &FeatureCounts, samples: &mut VersionSamples<'_>) {
    let name = feature.name.as_str();
    let total: u64 = feature.counts.iter().sum();
    let half = feature.counts.len() as f64 / 2.0;
    for (place, (count, of_reference)) in counts.bins.iter().zip(&feature.counts).enumerate() {
        let bin = place.to_string();
        samples.with(&families::FEATURE_VALUES, &[name, &bin], *count as f64);
        let ratio = (*of_reference as f64 + 0.5) / (total as f64 + half);
        samples.with(&families::REFERENCE_RATIO, &[name, &bin], ratio);
    }
}
