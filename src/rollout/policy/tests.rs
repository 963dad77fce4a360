use super::super::compare::Agreement;
use super::super::testing::evidence;
use super::*;
use crate::repository::manifest::RolloutStep;
use std::ops::ControlFlow;

const MINUTE: Duration = Duration::from_secs(60);

/// Two steps of a minute, decided by the second of two evaluations that agree.
fn plan(strategy: Strategy, decider: Decider) -> RolloutPlan {
    let step = |weight| RolloutStep { weight, lasts: MINUTE };
    RolloutPlan {
        strategy,
        steps: vec![step(0.1), step(0.5)],
        decider,
        hysteresis: 2,
        ..RolloutPlan::default()
    }
}

fn good() -> Evidence {
    evidence((1000, 0, 1000), (200, 0, 1000))
}

fn bad() -> Evidence {
    evidence((1000, 0, 1000), (200, 50, 1000))
}

fn few() -> Evidence {
    evidence((1000, 0, 1000), (99, 99, 1000))
}

fn compared(evidence: Evidence, compared: u64, flips: f64) -> Evidence {
    let comparison = Agreement { compared, rows: compared, flips, ..Agreement::default() };
    Evidence { comparison: Some(comparison), ..evidence }
}

/// A roll-out that stands on a step, after so many seconds and evaluations that agree.
struct Case(Strategy, Decider, usize, u64, Option<(Leaning, u32)>);

#[track_caller]
fn check(case: &Case, evidence: &Evidence, expected: &str) -> Judged {
    let Case(strategy, decider, step, seconds, agreeing) = *case;
    let since = Instant::now();
    let progress = Progress { agreeing, ..Progress::at(Stage::Step(step), since) };
    let now = since + Duration::from_secs(seconds);
    let judged = decide(&plan(strategy, decider), &progress, evidence, now);
    let said = match judged.decision {
        RolloutDecision::Wait(waiting) => format!("wait: {waiting}"),
        RolloutDecision::Act(next) => next.to_string(),
        RolloutDecision::Advise(next) => format!("advise to {next}"),
    };
    assert_eq!(said, expected);
    judged
}

#[test]
fn where_an_operator_leads_the_steps_rules_go_back_and_not_on() {
    let plan = RolloutPlan { waits_for_operator: true, ..plan(Strategy::Canary, Decider::Rules) };
    let since = Instant::now();
    let at =
        |leaning| Progress { agreeing: Some((leaning, 5)), ..Progress::at(Stage::Step(0), since) };
    let later = since + Duration::from_secs(60);
    let on = decide(&plan, &at(Leaning::On), &good(), later).decision;
    assert!(matches!(on, RolloutDecision::Advise(Move::NextStep { .. })), "{on:?}");
    let back = decide(&plan, &at(Leaning::Back), &bad(), later).decision;
    assert!(matches!(back, RolloutDecision::Act(Move::RollBack(_))), "{back:?}");
}

#[test]
fn each_case_has_its_decision() {
    use Decider::{Operator, Rules};
    use Leaning::{Back, On};
    use Strategy::{Canary, Shadow};
    let fails = "roll back: it fails 25.00 % of its requests, the old version 0.00 %";
    let advice = format!("advise to {fails}");
    let one = "wait: 1 of 2 evaluations agree";
    for decider in [Operator, Rules] {
        let case = |seconds, agreeing| Case(Canary, decider, 0, seconds, agreeing);
        check(&case(999, None), &few(), "wait: waits for requests: 99 of 100");
        check(&case(59, None), &good(), "wait: nothing speaks against it, 1 s left");
        check(&case(60, None), &good(), one);
        check(&case(60, Some((Back, 5))), &good(), one);
        check(&case(0, None), &bad(), one);
        check(&case(0, Some((On, 5))), &bad(), one);
    }
    check(&Case(Canary, Rules, 0, 60, Some((On, 1))), &good(), "go on to step 2 with 50 %");
    check(&Case(Canary, Rules, 1, 60, Some((On, 1))), &good(), "promote");
    check(&Case(Canary, Rules, 1, 0, Some((Back, 1))), &bad(), fails);
    check(
        &Case(Canary, Operator, 0, 60, Some((On, 1))),
        &good(),
        "advise to go on to step 2 with 50 %",
    );
    check(&Case(Canary, Operator, 1, 99, Some((On, 9))), &good(), "advise to promote");
    check(&Case(Canary, Operator, 1, 0, Some((Back, 1))), &bad(), &advice);
    let shadow = |agreeing| Case(Shadow, Rules, 1, 60, agreeing);
    check(&shadow(None), &good(), "wait: waits for answers to compare: 0 of 100");
    check(&shadow(Some((On, 1))), &compared(good(), 200, 0.0), "promote");
    check(
        &shadow(None),
        &compared(good(), 99, 99.0),
        "wait: waits for answers to compare: 99 of 100",
    );
    check(
        &Case(Shadow, Rules, 0, 0, Some((Back, 1))),
        &compared(good(), 200, 20.0),
        "roll back: it answers 90.00 % of the rows as the old version does",
    );
    // A canary's answers are compared too where there are copies.
    check(
        &Case(Canary, Rules, 0, 0, Some((Back, 1))),
        &compared(good(), 200, 20.0),
        "roll back: it answers 90.00 % of the rows as the old version does",
    );
}

#[test]
fn advice_changes_nothing_and_is_given_again() {
    let case = Case(Strategy::Canary, Decider::Operator, 0, 60, Some((Leaning::On, 1)));
    let judged = check(&case, &good(), "advise to go on to step 2 with 50 %");
    assert_eq!(judged.progress.stage, Stage::Step(0));
    let again = decide(
        &plan(Strategy::Canary, Decider::Operator),
        &judged.progress,
        &good(),
        judged.progress.since + 2 * MINUTE,
    );
    assert_eq!(again.decision, judged.decision);
}

/// A kind of evidence, and what was made of it.
type Evaluated = (&'static str, Judged);

/// Every sequence of so many evaluations, from one progress on.
fn walk(
    plan: &RolloutPlan,
    kinds: &[(&'static str, Evidence)],
    path: &mut Vec<Evaluated>,
    left: usize,
    look: &mut dyn FnMut(&[Evaluated]),
) {
    if left == 0 {
        return look(path);
    }
    let begun = Instant::now();
    let progress = path.last().map_or(Progress::begin(begun), |(_, judged)| judged.progress);
    for (kind, evidence) in kinds {
        // A minute and a half later than the step began: its time is always over.
        let judged = decide(plan, &progress, evidence, progress.since + MINUTE * 3 / 2);
        path.push((kind, judged));
        walk(plan, kinds, path, left - 1, look);
        path.pop();
    }
}

#[test]
fn no_sequence_of_evidence_skips_a_sample_flaps_or_brings_back_what_was_rolled_back() {
    let kinds = [("good", good()), ("bad", bad()), ("few", few())];
    for decider in [Decider::Rules, Decider::Operator] {
        let plan = plan(Strategy::Canary, decider);
        let (mut n_paths, mut ends) = (0, [0; 3]);
        walk(&plan, &kinds, &mut Vec::new(), 8, &mut |path| {
            n_paths += 1;
            check_path(&plan, path);
            let end = path.last().expect("it has eight").1.progress.stage;
            ends[match end {
                Stage::Step(_) => 0,
                Stage::Promoted => 1,
                Stage::RolledBack => 2,
            }] += 1;
        });
        assert_eq!(n_paths, 3usize.pow(8));
        assert_eq!(ends.iter().all(|&n| n > 0), decider == Decider::Rules, "{ends:?}");
    }
}

fn check_path(plan: &RolloutPlan, path: &[Evaluated]) {
    let mut before = Stage::Step(0);
    let wanted = plan.hysteresis as usize;
    for (place, (kind, judged)) in path.iter().enumerate() {
        let last: Vec<_> =
            path[..=place].iter().rev().take(wanted).map(|(kind, _)| *kind).collect();
        let (changes, next) = match judged.decision {
            RolloutDecision::Act(next) => (true, Some(next)),
            RolloutDecision::Advise(next) => (false, Some(next)),
            RolloutDecision::Wait(_) => (false, None),
        };
        assert_eq!(changes, judged.progress.stage != before, "only what is done changes the stage");
        if let Some(next) = next {
            assert_ne!(*kind, "few", "no rule speaks before both have enough requests");
            let needed = if matches!(next, Move::RollBack(_)) { "bad" } else { "good" };
            assert_eq!(last, vec![needed; wanted], "the last evaluations must agree");
        }
        if let Stage::Step(step) = before {
            let stage = judged.progress.stage;
            let is_next = stage == Stage::Step(step) || stage == Stage::Step(step + 1);
            let is_last = step + 1 == plan.steps.len();
            let may_be = is_next && stage != Stage::Step(plan.steps.len())
                || stage == Stage::RolledBack
                || stage == Stage::Promoted && is_last;
            assert!(may_be, "no step is left out: {before:?} to {stage:?}");
        } else {
            assert_eq!(judged.progress.stage, before, "what is over stays so");
            assert_eq!(judged.decision, RolloutDecision::Wait(WaitReason::Over));
        }
        before = judged.progress.stage;
    }
}

#[test]
fn a_good_version_arrives_after_the_time_of_its_steps() {
    let plan = plan(Strategy::Canary, Decider::Rules);
    let begun = Instant::now();
    let mut progress = Progress::begin(begun);
    let promoted = (0..1000u32).try_for_each(|second| {
        let judged = decide(&plan, &progress, &good(), begun + Duration::from_secs(second.into()));
        progress = judged.progress;
        match judged.decision {
            RolloutDecision::Act(Move::Promote) => ControlFlow::Break(second),
            _ => ControlFlow::Continue(()),
        }
    });
    assert_eq!(promoted, ControlFlow::Break(122), "two minutes and an evaluation behind each");
    assert_eq!(progress.weight(&plan), 1.0);
}
