//! Roll-outs with versions of a known kind, each evaluated again and again: how often the rules alarm about a version
//! that is as it may be, and how many requests they take to notice one that is not. The page has the table.

use super::compare::{Agreement, Comparison};
use super::rules::{Evidence, verdict};
use super::sequential::{FALSE_ALARM_RATE, Share, against_other, is_enough};
use super::testing::Random;
use crate::repository::manifest::RolloutPlan;
use std::fmt::Write as _;
use std::time::Duration;

/// Requests of the new version after which a run ends.
const MOST: u64 = 3000;
/// Requests of the new version between two evaluations.
const EVERY: u64 = 20;
const RUNS: usize = 100;

/// How a version behaves.
#[derive(Clone, Copy)]
struct Version {
    errors: f64,
    /// How many times slower than the other one's.
    slower: f64,
    other_answers: f64,
    /// How many requests in a row a pause holds up, one run in a hundred.
    clump: u64,
}

const GOOD: Version = Version { errors: 0.01, slower: 1.0, other_answers: 0.0, clump: 1 };

/// What happens to requests, with latencies that spread log-normally.
struct Traffic {
    random: Random,
    weight: f64,
    held_up: u64,
}

impl Traffic {
    /// A latency of about a millisecond, whose logarithm has a deviation of a half.
    fn latency(&mut self, version: Version) -> Duration {
        // Close enough to a normal distribution, and quick.
        let normal = ((0..4).map(|_| self.random.part()).sum::<f64>() - 2.0) * 3f64.sqrt();
        if self.held_up == 0 && version.clump > 1 && self.random.happens(0.01) {
            self.held_up = version.clump;
        }
        let pause = if self.held_up > 0 { 20.0 } else { 1.0 };
        self.held_up = self.held_up.saturating_sub(1);
        Duration::from_secs_f64(1e-3 * version.slower * pause * (0.5 * normal).exp())
    }

    fn request(&mut self, evidence: &mut Evidence, version: Version) {
        let is_candidate = self.random.happens(self.weight);
        let version = if is_candidate { version } else { Version { clump: version.clump, ..GOOD } };
        let latency = self.latency(version);
        let fails = self.random.happens(version.errors);
        let flips = u64::from(self.random.happens(version.other_answers));
        let figures = if is_candidate { &mut evidence.candidate } else { &mut evidence.stable };
        figures.requests += 1;
        match fails {
            true => figures.errors += 1,
            false => figures.latencies.add(latency),
        }
        if is_candidate {
            let comparison = Comparison { difference: 0.0, rows: 1, flips, mismatch: None };
            evidence.comparison.get_or_insert_default().add(&comparison);
        }
    }
}

/// After how many requests of the new version the rules speak against it.
fn run(plan: &RolloutPlan, version: Version, weight: f64, seed: u64) -> Option<u64> {
    let mut traffic = Traffic { random: Random(seed), weight, held_up: 0 };
    let mut evidence = Evidence { comparison: Some(Agreement::default()), ..Evidence::default() };
    let mut looked_at = 0;
    while evidence.candidate.requests < MOST {
        traffic.request(&mut evidence, version);
        let requests = evidence.candidate.requests;
        let is_turn = requests.is_multiple_of(EVERY) && requests != looked_at;
        if is_turn && requests.min(evidence.stable.requests) >= plan.min_requests {
            looked_at = requests;
            if verdict(plan, &evidence).is_some() {
                return Some(requests);
            }
        }
    }
    None
}

/// How many of the runs noticed it, and after how many requests at the median and in nine of ten.
fn row(what: &str, version: Version, weight: f64) -> (String, usize) {
    let min_agreement = if what.ends_with("`min_agreement = 0.995`") { 0.995 } else { 0.99 };
    let plan = RolloutPlan { min_agreement, ..RolloutPlan::default() };
    let mut noticed: Vec<_> =
        (0..RUNS as u64).filter_map(|seed| run(&plan, version, weight, seed * 7919 + 1)).collect();
    noticed.sort_unstable();
    let after = |part: usize| {
        let place = RUNS * part / 100 - 1;
        noticed.get(place).map_or_else(|| "–".to_owned(), ToString::to_string)
    };
    let [median, most] = [50, 90].map(after);
    let percent = weight * 100.0;
    (format!("| {what} | {percent:.0} % | {} | {median} | {most} |", noticed.len()), noticed.len())
}

/// The worst case of an estimated old share: both versions get as many requests, and one is just as good.
#[test]
fn looking_again_and_again_alarms_as_rarely_as_is_said() {
    let (runs, requests) = (2000, 1000);
    let mut random = Random(1);
    let mut alarms = 0;
    for _ in 0..runs {
        let (mut old, mut new) = (0, 0);
        let is_alarm = (1..=requests).any(|nth: u64| {
            old += u64::from(random.happens(0.05));
            new += u64::from(random.happens(0.05));
            let [old, new] = [old, new].map(|hits| Share::new(hits, nth));
            let is_look = nth >= 50 && nth.is_multiple_of(5);
            is_look && is_enough(against_other(old, new, 0.0))
        });
        alarms += u64::from(is_alarm);
    }
    let allowed = FALSE_ALARM_RATE * f64::from(runs);
    assert!(alarms as f64 <= 2.0 * allowed, "{alarms} false alarms, {allowed} are allowed");
    let page = include_str!("../../docs/rollouts.md");
    assert!(page.contains(&format!("{alarms} false alarms")), "the page must say {alarms}");
}

#[test]
fn the_page_has_the_false_alarms_and_the_requests_that_faults_take() {
    let with = |what: &str| {
        let mut version = GOOD;
        match what {
            "as good" => {}
            "as good, with pauses that hold up ten requests in a row" => version.clump = 10,
            "errors 1 % → 2 %, the most that is allowed" => version.errors = 0.02,
            "errors 1 % → 5 %" => version.errors = 0.05,
            "errors 1 % → 10 %" => version.errors = 0.1,
            "1.5 times slower, the most that is allowed" => version.slower = 1.5,
            "2 times slower" => version.slower = 2.0,
            "3 times slower" => version.slower = 3.0,
            "1 % other answers, the most that is allowed" => version.other_answers = 0.01,
            "2 % other answers" | "2 % other answers, `min_agreement = 0.995`" => {
                version.other_answers = 0.02;
            }
            "5 % other answers" => version.other_answers = 0.05,
            _ => unreachable!("{what}"),
        }
        version
    };
    let quiet = [
        "as good",
        "as good, with pauses that hold up ten requests in a row",
        "errors 1 % → 2 %, the most that is allowed",
        "1.5 times slower, the most that is allowed",
        "1 % other answers, the most that is allowed",
    ];
    let faulty = [
        ("errors 1 % → 5 %", 95),
        ("errors 1 % → 10 %", 100),
        ("2 times slower", 95),
        ("3 times slower", 100),
        ("2 % other answers", 30),
        ("2 % other answers, `min_agreement = 0.995`", 95),
        ("5 % other answers", 100),
    ];
    let mut table = String::new();
    for what in quiet {
        let (row, alarms) = row(what, with(what), 0.25);
        let _ = writeln!(table, "{row}");
        assert!(alarms <= 1, "at most one false alarm in a hundred: {row}");
    }
    for (what, expected) in faulty {
        for weight in [0.05, 0.5] {
            let (row, noticed) = row(what, with(what), weight);
            let _ = writeln!(table, "{row}");
            assert!(noticed >= if weight < 0.1 { expected } else { 0 }, "{row}");
        }
    }
    let page = include_str!("../../docs/rollouts.md");
    assert!(page.contains(&table), "docs/rollouts.md must have the table:\n{table}");
}
