//! What a roll-out does next. Pure: state, what was counted and the time in; a decision and the next state out.

use super::rules::{Evidence, RollbackReason, verdict};
use crate::repository::manifest::{Decider, RolloutPlan, Strategy};
use std::fmt;
use std::time::{Duration, Instant};

/// How far a roll-out is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// On this step of the plan.
    Step(usize),
    /// The new version serves.
    Promoted,
    /// The old version serves, and the new one never again by itself.
    RolledBack,
}

/// Where a roll-out stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// How far it is.
    pub stage: Stage,
    /// Since when.
    pub since: Instant,
    /// What the last evaluations came to, and how many of them in a row.
    agreeing: Option<(Leaning, u32)>,
}

/// The direction of an evaluation: whatever speaks against a version speaks for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaning {
    On,
    Back,
}

impl Progress {
    /// At the beginning.
    #[must_use]
    pub fn begin(now: Instant) -> Self {
        Self::at(Stage::Step(0), now)
    }

    /// At a stage where an operator, or a restart, has put it: its time begins anew, and what was counted
    /// before counts no more.
    #[must_use]
    pub fn at(stage: Stage, now: Instant) -> Self {
        Self { stage, since: now, agreeing: None }
    }

    /// The part of requests that the new version gets, or gets copies of.
    #[must_use]
    pub fn weight(&self, plan: &RolloutPlan) -> f64 {
        match self.stage {
            Stage::Step(step) => plan.steps.get(step).map_or(0.0, |step| step.weight),
            Stage::Promoted => 1.0,
            Stage::RolledBack => 0.0,
        }
    }
}

/// What changes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Move {
    /// To the next step.
    NextStep {
        /// Which, from 0.
        step: usize,
        /// Its part of the requests.
        weight: f64,
    },
    /// The new version serves.
    Promote,
    /// The old version goes on serving.
    RollBack(RollbackReason),
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NextStep { step, weight } => {
                write!(f, "go on to step {} with {} %", step + 1, percent(*weight))
            }
            Self::Promote => f.write_str("promote"),
            Self::RollBack(reason) => write!(f, "roll back: {reason}"),
        }
    }
}

/// Without the noise of binary fractions: 0.07 × 100 is not 7.
fn percent(weight: f64) -> f64 {
    (weight * 1e6).round() / 1e4
}

/// Why nothing changes yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// It is over.
    Over,
    /// A version has answered too few requests for any rule to speak.
    Requests {
        /// Of the version with fewer.
        so_far: u64,
        /// Of each.
        wanted: u64,
    },
    /// Too few answers were compared.
    Comparisons {
        /// Up to now.
        so_far: u64,
        /// How many it takes.
        wanted: u64,
    },
    /// Nothing speaks against it, and the step goes on.
    Time {
        /// For so long.
        left: Duration,
    },
    /// The last evaluations agree, and more must.
    Evaluations {
        /// In a row.
        so_far: u32,
        /// How many it takes.
        wanted: u32,
    },
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over => f.write_str("it is over"),
            Self::Requests { so_far, wanted } => {
                write!(f, "waits for requests: {so_far} of {wanted}")
            }
            Self::Comparisons { so_far, wanted } => {
                write!(f, "waits for answers to compare: {so_far} of {wanted}")
            }
            Self::Time { left } => {
                write!(f, "nothing speaks against it, {} s left", left.as_secs())
            }
            Self::Evaluations { so_far, wanted } => {
                write!(f, "{so_far} of {wanted} evaluations agree")
            }
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RolloutDecision {
    /// Nothing yet.
    Wait(WaitReason),
    /// This.
    Act(Move),
    /// Nothing but to tell an operator that this should be done.
    Advise(Move),
}

/// A decision and where the roll-out stands when it is carried out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// What is to be done.
    pub decision: RolloutDecision,
    /// What to hand in at the next evaluation.
    pub progress: Progress,
}

/// What a roll-out does next. Asked about once a second; `evidence` is what was counted since `progress.since`.
#[must_use]
pub fn decide(
    plan: &RolloutPlan,
    progress: &Progress,
    evidence: &Evidence,
    now: Instant,
) -> Judged {
    let Stage::Step(step) = progress.stage else {
        return Judged { decision: RolloutDecision::Wait(WaitReason::Over), progress: *progress };
    };
    let on_step = now.saturating_duration_since(progress.since);
    let (leaning, next) = match evaluate(plan, step, evidence, on_step) {
        Ok(next @ Move::RollBack(_)) => (Leaning::Back, next),
        Ok(next) => (Leaning::On, next),
        Err(waiting) => {
            let progress = Progress { agreeing: None, ..*progress };
            return Judged { decision: RolloutDecision::Wait(waiting), progress };
        }
    };
    let so_far = match progress.agreeing {
        Some((before, times)) if before == leaning => times.saturating_add(1),
        _ => 1,
    };
    let agreed = Progress { agreeing: Some((leaning, so_far)), ..*progress };
    let wanted = plan.hysteresis;
    if so_far < wanted {
        let decision = RolloutDecision::Wait(WaitReason::Evaluations { so_far, wanted });
        return Judged { decision, progress: agreed };
    }
    let may_act = leaning == Leaning::Back || !plan.waits_for_operator;
    match plan.decider {
        Decider::Rules if may_act => act(next, now),
        Decider::Rules | Decider::Operator => {
            Judged { decision: RolloutDecision::Advise(next), progress: agreed }
        }
    }
}

fn act(next: Move, now: Instant) -> Judged {
    let stage = match next {
        Move::NextStep { step, .. } => Stage::Step(step),
        Move::Promote => Stage::Promoted,
        Move::RollBack(_) => Stage::RolledBack,
    };
    Judged { decision: RolloutDecision::Act(next), progress: Progress::at(stage, now) }
}

/// What one evaluation alone comes to.
fn evaluate(
    plan: &RolloutPlan,
    step: usize,
    evidence: &Evidence,
    on_step: Duration,
) -> Result<Move, WaitReason> {
    let wanted = plan.min_requests;
    let so_far = evidence.stable.requests.min(evidence.candidate.requests);
    if so_far < wanted {
        return Err(WaitReason::Requests { so_far, wanted });
    }
    if let Some(reason) = verdict(plan, evidence) {
        return Ok(Move::RollBack(reason));
    }
    let so_far = evidence.comparison.as_ref().map_or(0, |it| it.compared);
    if plan.strategy == Strategy::Shadow && so_far < wanted {
        return Err(WaitReason::Comparisons { so_far, wanted });
    }
    let lasts = plan.steps.get(step).map_or(Duration::ZERO, |step| step.lasts);
    if on_step < lasts {
        return Err(WaitReason::Time { left: lasts - on_step });
    }
    let next = plan.steps.get(step + 1);
    Ok(next.map_or(Move::Promote, |next| Move::NextStep { step: step + 1, weight: next.weight }))
}

#[cfg(test)]
mod tests;
