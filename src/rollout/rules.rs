//! The rules: what speaks against a new version, by what was counted on one step. Pure.

use super::compare::Agreement;
use super::figures::{Figures, Latencies, classes_of_ratio};
use super::sequential::{Share, against_limit, against_other, is_enough};
use crate::repository::manifest::RolloutPlan;
use std::fmt;

/// Latencies come in clumps: what holds up one request holds up those beside it. So many neighbors count as one.
pub(super) const CLUMP: f64 = 10.0;

/// Parts of all requests whose latencies are compared.
pub(super) const QUANTILES: [f64; 2] = [0.5, 0.95];

/// What was counted on one step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence {
    /// Of the version that serves.
    pub stable: Figures,
    /// Of the new one.
    pub candidate: Figures,
    /// Of the answers of both to the same requests, where they are compared.
    pub comparison: Option<Agreement>,
    /// Of the labels that came back for the answers of the old one, and of the new one.
    pub labels: [LabelCounts; 2],
}

/// Labels that came back for a version's answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LabelCounts {
    /// Rows with a label.
    pub rows: u64,
    /// Those that were answered with another one.
    pub wrong: u64,
}

impl LabelCounts {
    /// Those that came since.
    pub(super) fn since(self, before: Self) -> Self {
        let rows = self.rows.saturating_sub(before.rows);
        Self { rows, wrong: self.wrong.saturating_sub(before.wrong) }
    }
}

/// What speaks against a new version.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RollbackReason {
    /// It fails more requests.
    Errors {
        /// The old one's rate.
        stable: f64,
        /// Its own.
        candidate: f64,
    },
    /// It is slower.
    Latency {
        /// At which part of all requests.
        quantile: f64,
        /// How many times.
        ratio: f64,
    },
    /// It gives other answers.
    Agreement {
        /// The part of rows to which both give the same.
        same: f64,
    },
    /// It is wrong more often.
    Labels {
        /// How often the old one is.
        stable: f64,
        /// How often it is itself.
        candidate: f64,
    },
}

impl fmt::Display for RollbackReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errors { stable, candidate } => {
                let [stable, candidate] = [stable, candidate].map(|rate| rate * 100.0);
                write!(
                    f,
                    "it fails {candidate:.2} % of its requests, the old version {stable:.2} %"
                )
            }
            Self::Latency { quantile, ratio } => {
                let percentile = quantile * 100.0;
                write!(f, "it is {ratio:.2} times slower at the percentile {percentile:.0}")
            }
            Self::Agreement { same } => {
                write!(f, "it answers {:.2} % of the rows as the old version does", same * 100.0)
            }
            Self::Labels { stable, candidate } => {
                let [stable, candidate] = [stable, candidate].map(|rate| rate * 100.0);
                write!(
                    f,
                    "{candidate:.2} % of its answers with a label are wrong, {stable:.2} % of the old version's"
                )
            }
        }
    }
}

/// What speaks against the new version, the gravest first, if anything does.
pub(super) fn verdict(plan: &RolloutPlan, evidence: &Evidence) -> Option<RollbackReason> {
    let Evidence { stable, candidate, comparison, labels } = evidence;
    let errors = || errors(stable, candidate, plan.max_error_increase);
    let agreement = || {
        let comparison = comparison.as_ref().filter(|it| it.compared >= plan.min_requests)?;
        agreement(comparison, plan.min_agreement)
    };
    let latency = || latency(&stable.latencies, &candidate.latencies, plan.max_latency_ratio);
    let labels = || self::labels(*labels, plan.max_accuracy_drop);
    errors().or_else(labels).or_else(agreement).or_else(latency)
}

fn labels([stable, candidate]: [LabelCounts; 2], margin: f64) -> Option<RollbackReason> {
    let [old, new] = [stable, candidate].map(|it| Share::new(it.wrong, it.rows));
    is_enough(against_other(old, new, margin))
        .then(|| RollbackReason::Labels { stable: old.rate(), candidate: new.rate() })
}

fn errors(stable: &Figures, candidate: &Figures, margin: f64) -> Option<RollbackReason> {
    let [old, new] = [stable, candidate].map(|it| Share::new(it.errors, it.requests));
    is_enough(against_other(old, new, margin))
        .then(|| RollbackReason::Errors { stable: old.rate(), candidate: new.rate() })
}

fn agreement(comparison: &Agreement, minimum: f64) -> Option<RollbackReason> {
    let others = comparison.others();
    is_enough(against_limit(others, 1.0 - minimum))
        .then(|| RollbackReason::Agreement { same: 1.0 - others.rate() })
}

fn latency(stable: &Latencies, candidate: &Latencies, ratio: f64) -> Option<RollbackReason> {
    let slower = |quantile| {
        let class = stable.quantile_class(quantile)?;
        let old = slow(stable, class, stable.total() as f64);
        let new = slow(candidate, class + classes_of_ratio(ratio), candidate.total() as f64);
        let [fast, slow] =
            [stable, candidate].map(|it| it.quantile(quantile).unwrap_or_default().as_secs_f64());
        is_enough(against_other(old, new, 0.0))
            .then(|| RollbackReason::Latency { quantile, ratio: slow / fast })
    };
    QUANTILES.into_iter().find_map(slower)
}

/// How many of so many such latencies are slower than a class, in clumps.
pub(super) fn slow(latencies: &Latencies, class: usize, of: f64) -> Share {
    let part = latencies.above(class) as f64 / (latencies.total() as f64).max(1.0);
    Share { hits: part * of / CLUMP, of: of / CLUMP }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{evidence, figures};
    use super::*;

    #[track_caller]
    fn check(evidence: &Evidence, expected: Option<&str>) {
        let plan = RolloutPlan::default();
        let reason = verdict(&plan, evidence).map(|reason| reason.to_string());
        assert_eq!(reason.as_deref(), expected);
    }

    #[test]
    fn what_speaks_against_a_version_is_said_with_its_figures() {
        let other = |flips| Agreement { compared: 1000, rows: 1000, flips, ..Agreement::default() };
        let compared = |flips: f64| Evidence {
            comparison: Some(other(flips)),
            ..evidence((1000, 0, 1000), (1000, 0, 1000))
        };
        check(&evidence((1000, 5, 1000), (1000, 9, 1100)), None);
        check(
            &evidence((1000, 5, 1000), (1000, 60, 1000)),
            Some("it fails 6.00 % of its requests, the old version 0.50 %"),
        );
        check(
            &evidence((1000, 0, 1000), (1000, 0, 3000)),
            Some("it is 2.95 times slower at the percentile 50"),
        );
        check(&evidence((1000, 0, 3000), (1000, 0, 1000)), None);
        let labels = |rows, wrong| Evidence {
            labels: [LabelCounts { rows: 500, wrong: 20 }, LabelCounts { rows, wrong }],
            ..evidence((1000, 0, 1000), (1000, 0, 1000))
        };
        check(&labels(0, 0), None);
        check(&labels(50, 4), None);
        check(&labels(500, 30), None);
        check(
            &labels(500, 75),
            Some("15.00 % of its answers with a label are wrong, 4.00 % of the old version's"),
        );
        check(&compared(10.0), None);
        check(&compared(40.0), Some("it answers 96.00 % of the rows as the old version does"));
    }

    #[test]
    fn a_slow_tail_is_slow() {
        let stable = figures(10_000, 0, 1000);
        let mut candidate = figures(4000, 0, 1000);
        candidate.requests += 1000;
        (0..1000).for_each(|_| candidate.latencies.add(std::time::Duration::from_millis(9)));
        let reason = verdict(
            &RolloutPlan::default(),
            &Evidence { stable, candidate, ..Evidence::default() },
        );
        let Some(RollbackReason::Latency { quantile, .. }) = reason else { panic!("{reason:?}") };
        assert_eq!(quantile, 0.95);
    }
}
