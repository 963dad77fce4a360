//! `[rollout]`: its keys, and how a new version takes over, as plain data for whoever decides it.

use super::ranges;
use crate::settings::unit::{self, DAY};
use crate::settings::{Above, Setting, Value, section, words};
use std::time::Duration;

/// Most steps of a roll-out.
const MAX_STEPS: usize = 16;
/// Requests that each version must have answered before any rule speaks.
const MIN_REQUESTS: usize = 100;
/// Highest difference between the error rates of the two versions: a point.
const MAX_ERROR_INCREASE: f64 = 0.01;
/// Highest ratio of the new version's latency to the old one's.
const MAX_LATENCY_RATIO: f64 = 1.5;
/// Lowest part of rows that both versions give the same best class.
const MIN_AGREEMENT: f64 = 0.99;
/// By how much less often than the old version's its answers may be right, by labels that come back.
const MAX_ACCURACY_DROP: f64 = 0.02;
/// Evaluations in a row that must come to the same.
const HYSTERESIS: usize = 3;

/// How a new version takes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// At once, when it is warm and verified.
    #[default]
    Replace,
    /// It gets a growing part of the requests.
    Canary,
    /// It gets copies of requests, and answers nobody.
    Shadow,
}

/// Who carries out what the rules come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decider {
    /// An operator, to whom they say what they would do.
    #[default]
    Operator,
    /// The rules themselves.
    Rules,
}

impl Strategy {
    /// As it is written in model.toml.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Canary => "canary",
            Self::Shadow => "shadow",
        }
    }
}

words! {
    Strategy, "\"replace\", \"canary\" or \"shadow\"",
        Replace = "replace", Canary = "canary", Shadow = "shadow";
    Decider, "\"advise\" or \"automatic\"", Operator = "advise", Rules = "automatic";
}

/// One step: so much of the requests for so long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RolloutStep {
    /// The part of requests that go to the new version, or are copied to it; above 0, at most 1.
    pub weight: f64,
    /// How long at the least.
    pub lasts: Duration,
}

/// The steps as they are written.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutSteps(pub(super) Vec<RolloutStep>);

impl Setting for RolloutSteps {
    const EXPECTED: &'static str = "a list of 1 to 16 texts like \"5% for 10m\" with rising parts";

    fn read(value: &Value) -> Option<Self> {
        let items = value.items()?;
        let steps: Vec<_> = items.iter().map(|item| step(item.text()?)).collect::<Option<_>>()?;
        let is_rising = steps.is_sorted_by(|a: &RolloutStep, b| a.weight < b.weight);
        ((1..=MAX_STEPS).contains(&steps.len()) && is_rising).then_some(Self(steps))
    }
}

/// `"5% for 10m"`.
fn step(text: &str) -> Option<RolloutStep> {
    let (weight, lasts) = text.split_once(" for ")?;
    let number = weight.trim().strip_suffix('%')?.trim_end();
    // `parse` also knows signs, exponents and infinity.
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let percent: f64 = number.parse().ok().filter(|_| is_plain)?;
    let lasts = unit::duration(lasts.trim())?;
    let is_allowed = percent > 0.0 && percent <= 100.0 && lasts <= 7 * DAY;
    is_allowed.then_some(RolloutStep { weight: percent / 100.0, lasts })
}

section! {
    /// What `[rollout]` says.
    #[derive(Default)]
    pub struct RolloutKeys("rollout.") {
        /// How a new version takes over: at once, by a growing part of the requests, or after it has answered copies of them.
        strategy: Strategy = "replace";
        /// Parts of the requests that a canary gets, or of which a shadow gets copies, and how long at the least.
        steps: Option<RolloutSteps> = (else "`[\"5% for 10m\", \"25% for 10m\", \"50% for 30m\"]`; of a shadow `[\"100% for 30m\"]`");
        /// Whether the rules promote and roll back by themselves, or say what they would do.
        decide: Decider = "advise";
        /// Requests that each version must have answered on a step before any rule speaks.
        min_requests: Option<usize> = (else "100"), range ranges::ROLLOUT_REQUESTS;
        /// By how much the new version's error rate may be above the old one's.
        max_error_increase: Option<f64> = (else "`0.01`"), range Above(0.0, 1.0);
        /// How many times slower than the old one it may be, at the median and the 95th percentile.
        max_latency_ratio: Option<f64> = (else "`1.5`"), range Above(1.0, 100.0);
        /// The part of rows to which it must give the same best class, where answers are compared.
        min_agreement: Option<f64> = (else "`0.99`"), range Above(0.0, 1.0);
        /// By how much less often than the old version's its answers may be right, where labels come back.
        max_accuracy_drop: Option<f64> = (else "`0.02`"), range Above(0.0, 1.0);
        /// Evaluations in a row, one a second, that must come to the same before it is done.
        hysteresis: Option<usize> = (else "3"), range ranges::ROLLOUT_HYSTERESIS;
    }
}

/// How a new version takes over, with the defaults for what model.toml leaves out.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutPlan {
    /// In which way.
    pub strategy: Strategy,
    /// In which steps; none where it takes over at once.
    pub steps: Vec<RolloutStep>,
    /// Who carries out what the rules come to.
    pub decider: Decider,
    /// Whether an operator has taken the steps over: rules then go back by themselves and not on.
    pub waits_for_operator: bool,
    /// Requests that each version must have answered on a step before any rule speaks.
    pub min_requests: u64,
    /// By how much the new version's error rate may be above the old one's.
    pub max_error_increase: f64,
    /// How many times slower it may be.
    pub max_latency_ratio: f64,
    /// The part of rows to which it must give the same best class, where answers are compared.
    pub min_agreement: f64,
    /// By how much less often its answers may be right, where labels come back.
    pub max_accuracy_drop: f64,
    /// Evaluations in a row that must come to the same before it is done.
    pub hysteresis: u32,
}

impl RolloutPlan {
    /// The plan of a roll-out that an operator begins: where model.toml wants none, a canary whose steps are the operator's.
    #[must_use]
    pub fn or_by_hand(self) -> Self {
        if self.strategy != Strategy::Replace {
            return self;
        }
        let (strategy, decider) = (Strategy::Canary, Decider::Operator);
        Self { strategy, steps: default_steps(strategy), decider, ..self }
    }
}

impl Default for RolloutPlan {
    /// That of a model whose model.toml says nothing of it.
    fn default() -> Self {
        RolloutKeys::default().plan()
    }
}

impl RolloutKeys {
    /// What was written and the defaults of what was not.
    #[must_use]
    pub fn plan(&self) -> RolloutPlan {
        let steps = match (self.strategy, &self.steps) {
            (Strategy::Replace, _) => Vec::new(),
            (_, Some(RolloutSteps(steps))) => steps.clone(),
            (strategy, None) => default_steps(strategy),
        };
        let min_requests = self.min_requests.unwrap_or(MIN_REQUESTS);
        let hysteresis = self.hysteresis.unwrap_or(HYSTERESIS);
        RolloutPlan {
            strategy: self.strategy,
            steps,
            decider: self.decide,
            waits_for_operator: false,
            min_requests: u64::try_from(min_requests).unwrap_or(u64::MAX),
            max_error_increase: self.max_error_increase.unwrap_or(MAX_ERROR_INCREASE),
            max_latency_ratio: self.max_latency_ratio.unwrap_or(MAX_LATENCY_RATIO),
            min_agreement: self.min_agreement.unwrap_or(MIN_AGREEMENT),
            max_accuracy_drop: self.max_accuracy_drop.unwrap_or(MAX_ACCURACY_DROP),
            hysteresis: u32::try_from(hysteresis).unwrap_or(u32::MAX),
        }
    }

    /// Why these steps are none of the strategy, if so: a canary that gets every request is no canary.
    pub(super) fn conflict(&self) -> Option<&'static str> {
        let RolloutSteps(steps) = self.steps.as_ref()?;
        let is_all = steps.last().is_some_and(|step| step.weight >= 1.0);
        (self.strategy == Strategy::Canary && is_all)
            .then_some("a canary gets less than 100%: behind its last step the new version serves")
    }
}

fn default_steps(strategy: Strategy) -> Vec<RolloutStep> {
    let step = |percent: u32, minutes: u64| RolloutStep {
        weight: f64::from(percent) / 100.0,
        lasts: Duration::from_secs(60 * minutes),
    };
    match strategy {
        Strategy::Replace => Vec::new(),
        Strategy::Canary => vec![step(5, 10), step(25, 10), step(50, 30)],
        Strategy::Shadow => vec![step(100, 30)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(f64, u64)>) {
        let found = step(text).map(|step| (step.weight, step.lasts.as_secs()));
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn a_step_is_a_part_of_the_requests_and_a_time() {
        check("5% for 10m", Some((0.05, 600)));
        check("0.5% for 1h", Some((0.005, 3600)));
        check("100 %  for  30 s", Some((1.0, 30)));
        for bad in [
            "",
            "5%",
            "5 for 10m",
            "0% for 1m",
            "101% for 1m",
            "-5% for 1m",
            "inf% for 1m",
            "1e1% for 1m",
            "5% for 10",
            "5% for 169h",
            "% for 1m",
            "5%for 1m",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn what_is_left_out_has_a_default_for_its_strategy() {
        let plan = |strategy| RolloutKeys { strategy, ..RolloutKeys::default() }.plan();
        assert_eq!(RolloutPlan::default(), plan(Strategy::Replace));
        assert!(plan(Strategy::Replace).steps.is_empty());
        let weights =
            |strategy| -> Vec<_> { plan(strategy).steps.iter().map(|step| step.weight).collect() };
        assert_eq!(weights(Strategy::Canary), [0.05, 0.25, 0.5]);
        assert_eq!(weights(Strategy::Shadow), [1.0]);
        assert_eq!(plan(Strategy::Canary).decider, Decider::Operator);
    }
}
