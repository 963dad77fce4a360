//! The maximum rows of a run, and why so many. Pure.

use super::options::Settings;
use crate::engine::probe::{Findings, RunTimes, TimedRun, knee};
use std::time::Duration;

/// A run that takes this long gains nothing from further rows, and whoever waits behind it waits
/// longer.
const LONG_RUN: Duration = Duration::from_secs(1);

/// The maximum rows of a run, and how that came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchSize {
    /// The rows.
    pub rows: usize,
    /// Those among which they were chosen.
    pub limit: usize,
    /// Why, in a sentence.
    pub reason: String,
}

impl BatchSize {
    /// What model.toml says; else as few as do nearly as many rows a second as any number within the server's limit would.
    pub(super) fn of(findings: &Findings, settings: &Settings) -> Self {
        if !findings.batching.is_allowed() {
            return Self { rows: 1, limit: 1, reason: "requests share no runs".into() };
        }
        let max_rows = settings.max_batch_size;
        if settings.batch_size_is_chosen {
            return Self {
                rows: max_rows,
                limit: max_rows,
                reason: "it was chosen for this model".into(),
            };
        }
        let times = findings.form.facts().map(|facts| facts.times).or(findings.times);
        let limit = times.map_or(max_rows, |times| max_rows.min(rows_of_a_long_run(times)));
        if let Some(rows) = knee(&findings.curve, limit).filter(|rows| *rows < limit) {
            let reason =
                format!("more rows do hardly more a second: {}", in_words(&findings.curve, rows));
            return Self { rows, limit, reason };
        }
        let reason = match limit < max_rows {
            true => "a run of more rows would take over a second",
            false => "the server allows no more",
        };
        Self { rows: limit, limit, reason: reason.into() }
    }
}

impl BatchSize {
    /// No more than the file of the model takes.
    pub(super) fn at_most(self, max_rows: usize) -> Self {
        if self.rows <= max_rows {
            return self;
        }
        Self { rows: max_rows, limit: max_rows, reason: "the model's file takes no more".into() }
    }
}

/// `87 with 1, 160 with 8, 164 with 64`.
fn in_words(curve: &[TimedRun], knee: usize) -> String {
    let ends = [curve.first(), curve.iter().find(|it| it.n_rows == knee), curve.last()];
    let mut points: Vec<_> = ends.into_iter().flatten().collect();
    points.dedup();
    let per_second = |TimedRun { n_rows, duration }: &TimedRun| {
        format!("{:.0} with {n_rows}", *n_rows as f64 / duration.as_secs_f64().max(1e-9))
    };
    points.into_iter().map(per_second).collect::<Vec<_>>().join(", ")
}

/// How many rows make a run of [`LONG_RUN`], at least one.
fn rows_of_a_long_run(times: RunTimes) -> usize {
    let TimedRun { n_rows, duration } = times.max_rows;
    let rows = LONG_RUN.as_secs_f64() / (duration.as_secs_f64() / n_rows.max(1) as f64).max(1e-9);
    (rows as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Device;
    use crate::engine::probe::{Curve, FormFindings, ShapeSource};
    use crate::inference::{Batching, Contract};
    use crate::repository::live::Defaults;
    use crate::repository::manifest::Manifest;

    /// Of a model that takes so many milliseconds for 1, 2, 4 rows and so on.
    #[track_caller]
    fn check(batching: Batching, millis: &[u64], manifest: &str, expected: (usize, &str)) {
        let curve = millis.iter().enumerate();
        let run = |n_rows, duration| TimedRun { n_rows, duration };
        let curve: Curve =
            curve.map(|(power, it)| run(1 << power, Duration::from_millis(*it))).collect();
        let ends = curve.first().zip(curve.last());
        let findings = Findings {
            inputs: vec![],
            outputs: vec![],
            contract: Contract::default(),
            batching,
            grounds: None,
            padding: None,
            shape_source: ShapeSource::None,
            notes: vec![],
            times: ends
                .map(|(min_rows, max_rows)| RunTimes { min_rows: *min_rows, max_rows: *max_rows }),
            curve: curve.clone(),
            form: FormFindings::default(),
            risk: None,
        };
        let manifest = Manifest::parse("m/model.toml", manifest).unwrap();
        let settings = Settings::resolve(&Defaults::default(), &manifest, &[Device::Cpu]).unwrap();
        let found = BatchSize::of(&findings, &settings);
        assert_eq!((found.rows, found.reason.as_str()), expected);
    }

    #[test]
    fn the_size_of_a_batch_has_a_reason() {
        let encoder = [9, 15, 29, 53, 103, 207, 412];
        let words = "more rows do hardly more a second: 111 with 1, 151 with 8, 155 with 64";
        check(Batching::Proved, &encoder, "", (8, words));
        let chosen = "[batching]\nmax_batch_size = 32";
        check(Batching::Proved, &encoder, chosen, (32, "it was chosen for this model"));
        check(Batching::Coupled, &encoder, "", (1, "requests share no runs"));
        check(Batching::Proved, &[1; 7], "", (64, "the server allows no more"));
        let long = "a run of more rows would take over a second";
        check(Batching::Proved, &[400, 600, 800], "", (5, long));
    }
}
