//! What so many requests can show and what they cannot. Pure.
//!
//! Answered by the rules themselves: a version is imagined that is a little worse, the rules get the counts that
//! nine in ten of such versions would show or exceed, and the smallest one that they notice is the answer.

use super::figures::{Figures, PER_OCTAVE, classes_of_ratio, ratio_of_classes};
use super::rules::{QUANTILES, slow};
use super::sequential::{Share, against_limit, against_other, is_enough};
use crate::repository::manifest::RolloutPlan;
use std::fmt;

/// Where the normal distribution has nine tenths of its mass below.
const NINE_TENTHS: f64 = 1.2816;
/// Latencies are imagined up to so many classes later: 128 times longer.
const MAX_CLASSES: usize = 7 * PER_OCTAVE;

/// How many requests there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// That the new version answers.
    pub candidate: u64,
    /// That the old one answers meanwhile.
    pub stable: u64,
    /// Rows of which answers are compared.
    pub compared: u64,
}

impl Sample {
    /// Of a canary that has answered so many requests at this weight.
    #[must_use]
    pub fn of_canary(requests: u64, weight: f64) -> Self {
        let stable = requests as f64 * (1.0 - weight) / weight;
        Self { candidate: requests, stable: stable as u64, compared: 0 }
    }
}

/// The smallest faults that are noticed in nine of ten cases; `None` where not even the worst is, or nothing
/// is known to imagine it from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Smallest {
    /// Of how many requests.
    pub sample: Sample,
    /// By how much its error rate is higher.
    pub error_increase: Option<f64>,
    /// How many times it is slower.
    pub latency_ratio: Option<f64>,
    /// The part of rows to which it gives another class.
    pub other_answers: Option<f64>,
}

/// What so many requests show, of a version whose predecessor did this.
#[must_use]
pub fn smallest(plan: &RolloutPlan, stable: &Figures, sample: Sample) -> Smallest {
    let rate = Share::new(stable.errors, stable.requests).rate();
    let [n_stable, n_candidate, n_compared] =
        [sample.stable, sample.candidate, sample.compared].map(|n| n as f64);
    let old = Share { hits: rate * n_stable, of: n_stable };
    let fails = |p| against_other(old, shown(p, n_candidate), plan.max_error_increase);
    let limit = 1.0 - plan.min_agreement;
    let errors = first(rate + plan.max_error_increase, fails);
    Smallest {
        sample,
        error_increase: errors.map(|p| p - rate),
        latency_ratio: smallest_ratio(plan, stable, sample),
        other_answers: first(limit, |p| against_limit(shown(p, n_compared), limit)),
    }
}

/// What nine in ten samples of this size show or exceed, of something with this probability.
fn shown(p: f64, of: f64) -> Share {
    let spread = NINE_TENTHS * (of * p * (1.0 - p)).sqrt();
    Share { hits: (of * p - spread).max(0.0), of }
}

/// The smallest probability above `from` for which there is enough evidence.
fn first(from: f64, evidence: impl Fn(f64) -> f64) -> Option<f64> {
    let (mut low, mut high) = (from, 1.0);
    if !is_enough(evidence(high)) {
        return None;
    }
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        match is_enough(evidence(middle)) {
            true => high = middle,
            false => low = middle,
        }
    }
    Some(high)
}

/// The old version's own latencies, later by so many classes, are what a slower one's would be.
fn smallest_ratio(plan: &RolloutPlan, stable: &Figures, sample: Sample) -> Option<f64> {
    let latencies = &stable.latencies;
    let allowed = classes_of_ratio(plan.max_latency_ratio);
    let is_noticed = |later: usize| {
        QUANTILES.into_iter().any(|quantile| {
            let Some(class) = latencies.quantile_class(quantile) else { return false };
            let old = slow(latencies, class, sample.stable as f64);
            // Slower than the allowed class after it has moved is slower than that much less before.
            let Some(before) = (class + allowed).checked_sub(later) else { return true };
            let new = slow(latencies, before, sample.candidate as f64);
            is_enough(against_other(old, shown(new.rate(), new.of), 0.0))
        })
    };
    (allowed..=MAX_CLASSES).find(|&later| is_noticed(later)).map(ratio_of_classes)
}

impl fmt::Display for Smallest {
    /// A sentence for operators.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sample { candidate, stable, compared } = self.sample;
        let faults = [
            self.error_increase
                .map(|it| format!("an error rate higher by {:.1} points", it * 100.0)),
            self.latency_ratio.map(|it| format!("answers {it:.1} times slower")),
            self.other_answers
                .map(|it| format!("other answers to {:.1} % of the rows", it * 100.0)),
        ];
        let faults: Vec<_> = faults.into_iter().flatten().collect();
        write!(f, "{candidate} requests of the new version beside {stable} of the old one")?;
        if compared > 0 {
            write!(f, " and {compared} rows compared")?;
        }
        match faults.is_empty() {
            true => f.write_str(" show nothing yet"),
            false => {
                let faults = faults.join(", ");
                write!(f, " show in 9 of 10 cases: {faults}; what is smaller may go unseen")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::figures;
    use super::*;
    use std::fmt::Write as _;

    fn of(requests: u64, weight: f64, compared: u64) -> Smallest {
        let sample = Sample { compared, ..Sample::of_canary(requests, weight) };
        smallest(&RolloutPlan::default(), &figures(10_000, 10, 1000), sample)
    }

    #[test]
    fn more_requests_show_smaller_faults() {
        let sizes = [100, 500, 2000, 10_000].map(|requests| of(requests, 0.05, requests));
        for pair in sizes.windows(2) {
            let falls =
                |of: fn(&Smallest) -> Option<f64>| of(&pair[0]).unwrap() >= of(&pair[1]).unwrap();
            assert!(falls(|it| it.error_increase), "{pair:?}");
            assert!(falls(|it| it.latency_ratio), "{pair:?}");
            assert!(falls(|it| it.other_answers), "{pair:?}");
        }
        let least = sizes[3];
        assert!(least.error_increase.unwrap() > 0.01 && least.error_increase.unwrap() < 0.02);
        assert!(least.other_answers.unwrap() > 0.01 && least.other_answers.unwrap() < 0.018);
        assert!(least.latency_ratio.unwrap() >= 1.5 && least.latency_ratio.unwrap() < 1.7);
    }

    #[test]
    fn the_page_says_what_so_many_requests_show() {
        let mut table = String::new();
        for requests in [100, 200, 500, 1000, 2000, 5000, 10_000] {
            let Smallest { error_increase, latency_ratio, other_answers, .. } =
                of(requests, 0.05, requests);
            let points = |part: Option<f64>| format!("{:.1}", part.unwrap() * 100.0);
            let _ = writeln!(
                table,
                "| {requests} | {} points | {:.1} times | {} % |",
                points(error_increase),
                latency_ratio.unwrap(),
                points(other_answers)
            );
        }
        let page = include_str!("../../docs/rollouts.md");
        assert!(page.contains(&table), "docs/rollouts.md must have the table:\n{table}");
    }

    #[test]
    fn what_cannot_be_seen_is_not_promised() {
        let nothing = of(2, 0.5, 0);
        assert_eq!(
            nothing.to_string(),
            "2 requests of the new version beside 2 of the old one show nothing yet"
        );
        let unknown =
            smallest(&RolloutPlan::default(), &Figures::default(), Sample::of_canary(500, 0.5));
        assert_eq!(unknown.latency_ratio, None);
        assert!(unknown.error_increase.is_some());
    }

    #[test]
    fn it_is_one_sentence() {
        let text = of(500, 0.05, 0).to_string();
        assert!(text.starts_with("500 requests of the new version beside 9500 of the old one show in 9 of 10 cases: an error rate higher by "), "{text}");
        assert!(text.ends_with(" times slower; what is smaller may go unseen"), "{text}");
    }
}
