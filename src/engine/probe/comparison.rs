//! One form against the plain one: the same inputs to both, their answers compared, their times taken
//! in turn.

use super::forms::{FormOptions, LoadForm, Workload};
use super::run::run_time;
use super::{Findings, RunTimes, TimedRun};
use crate::engine::compare::{changed_classes, difference, scales};
use crate::engine::{Batch, Engine, EngineError, Fault, Model, ModelForm, Output, Precision};
use crate::tensor::{DataType, Tensor};
use std::time::{Duration, Instant};

/// Runs of one input until two in a row take about as long: the library profiles the first and
/// compiles in the next.
const MAX_WARMUP_RUNS: usize = 6;
/// Rounds of runs in turn that a ratio is the median of: at most, and also when time is short.
const ROUNDS: std::ops::RangeInclusive<usize> = 3..=25;
/// How long the rounds of one size go on when the fewest have been run.
const ROUND_TIME: Duration = Duration::from_millis(120);
/// Rows in which the forms of a slow model are timed, where one row is all that time allows otherwise: forms of
/// convolutions differ by a fifth more in batches than with one row.
const SLOW_BATCH: usize = 4;
/// Numbers of rows that no other part of the probe has used.
const FRESH: u64 = 1 << 21;

type Inputs = Vec<Option<Tensor>>;

/// What is known about a form after it ran.
pub(super) struct Measured {
    pub(super) difference: f64,
    pub(super) changed: Option<(usize, usize)>,
    pub(super) times: RunTimes,
    pub(super) gain: f64,
}

/// Why a form is out.
#[derive(Debug)]
pub(super) struct Excluded {
    pub(super) reason: String,
    /// Whether it might be in on another day.
    pub(super) by_circumstance: bool,
    /// Whether it took its process with it.
    pub(super) ended: bool,
}

/// The model whose forms are compared, as its plain form was found.
pub(super) struct Subject<'s> {
    pub(super) findings: &'s Findings,
    pub(super) times: RunTimes,
    pub(super) workload: &'s Workload,
}

/// An input and the plain form's answer.
struct Check {
    inputs: Inputs,
    expected: Vec<Output>,
    /// What differences are measured by.
    scales: Vec<f64>,
}

/// The plain form, and what it answered.
pub(super) struct FormComparison<'a, 'l> {
    options: &'a FormOptions,
    load: &'a mut LoadForm<'l>,
    /// Absent for as long as its process is gone.
    plain: Option<Box<dyn Engine>>,
    checks: Vec<Check>,
    /// Rows and inputs of the sizes that are timed, rising.
    timed: Vec<(usize, Inputs)>,
    /// See [`Sizes::is_slow`].
    is_slow: bool,
    datatypes: Vec<DataType>,
    started_at: Instant,
    longest: Duration,
}

/// What the plain form answers to these, measured by the largest of these answers. What it refuses, no other form has to
/// take.
fn asked(plain: &mut dyn Engine, batches: Vec<Inputs>) -> Result<Vec<Check>, EngineError> {
    let mut answers = Vec::new();
    for inputs in batches {
        match plain.run(Batch::without_deadline(inputs.clone())) {
            Ok(outcome) => answers.push((inputs, outcome.outputs)),
            Err(error) if is_refusal(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let scales = scales(answers.iter().map(|(_, expected)| &expected[..]));
    let check = |(inputs, expected)| Check { inputs, expected, scales: scales.clone() };
    Ok(answers.into_iter().map(check).collect())
}

impl<'a, 'l> FormComparison<'a, 'l> {
    /// Asks the plain form for the answers that the `n_forms` others have to give.
    pub(super) fn new(
        model: &dyn Model,
        subject: Subject<'_>,
        options: &'a FormOptions,
        n_forms: usize,
        load: &'a mut LoadForm<'l>,
    ) -> Result<Self, EngineError> {
        let Subject { findings, times, workload } = subject;
        let mut plain = model.instance()?;
        let generator = &workload.generator;
        let in_batches = findings.batching.is_allowed();
        let sizes = Sizes::of(times, in_batches, workload.fixed, options.budget, n_forms);
        let rows = sizes.compared;
        let mut next = 0;
        let mut batches: Vec<Inputs> = Vec::new();
        for n_rows in rows {
            // Other rows in each: first those that a sample has, then variations of them.
            let numbers: Vec<u64> = (next..).take(n_rows).collect();
            next = if next == 0 { 1 } else { FRESH + next + n_rows as u64 };
            batches.push(generator.batch(&numbers, None).inputs);
        }
        if let Some(size) = generator.variable_size() {
            let numbers: Vec<u64> = (0..workload.fixed.unwrap_or(2) as u64).collect();
            batches.push(generator.batch(&numbers, Some(super::run::other_size(size))).inputs);
        }
        let mut checks = asked(&mut *plain, batches)?;
        if checks.is_empty() {
            return Err(EngineError::new(Fault::Raised, "the model refuses all inputs to compare"));
        }
        // Rows that are unlike the given ones: by a scale of their own, which must not hide what happens to the others. Not
        // for reduced precision, whose limit is about what usually comes.
        if options.precision == Precision::Fp32 && !workload.unlike.is_empty() {
            checks
                .extend(asked(&mut *plain, vec![generator.batch(&workload.unlike, None).inputs])?);
        }
        let numbers = |n_rows: usize| (0..n_rows as u64).collect::<Vec<_>>();
        let timed = sizes.timed.into_iter();
        let timed = timed.map(|it| (it, generator.batch(&numbers(it), None).inputs));
        Ok(Self {
            options,
            load,
            plain: Some(plain),
            checks,
            timed: timed.collect(),
            is_slow: sizes.is_slow,
            datatypes: findings.outputs.iter().map(|spec| spec.datatype).collect(),
            started_at: Instant::now(),
            longest: Duration::ZERO,
        })
    }

    /// Tries a form; `left` are those that still want their share of the time, this one included.
    pub(super) fn measure(&mut self, form: ModelForm, left: usize) -> Result<Measured, Excluded> {
        let started_at = Instant::now();
        let remaining = self.options.budget.saturating_sub(self.started_at.elapsed());
        if remaining < self.longest || remaining.is_zero() {
            let reason = "there was no time left to try it".to_owned();
            return Err(Excluded { reason, by_circumstance: true, ended: false });
        }
        let share = remaining / u32::try_from(left.max(1)).unwrap_or(u32::MAX);
        // No form is begun when the budget is used up, and one that is under way gets half of it more: it is
        // ended only for hanging, not because the machine is busy.
        let within = remaining + self.options.budget / 2;
        let outcome = self.attempt(form, within, share);
        self.longest = self.longest.max(started_at.elapsed());
        outcome.unwrap_or_else(|error| {
            let ended = is_end(&error);
            if ended {
                // The plain form was in that process too.
                self.plain = None;
            }
            let by_circumstance =
                ended || matches!(error.fault, Fault::OutOfMemory | Fault::Internal);
            Err(Excluded { reason: error.message, by_circumstance, ended })
        })
    }

    /// The inner error is what is wrong with the form's answers, the outer one what kept it from
    /// giving any.
    fn attempt(
        &mut self,
        form: ModelForm,
        within: Duration,
        share: Duration,
    ) -> Result<Result<Measured, Excluded>, EngineError> {
        if self.plain.is_none() {
            let plain = (self.load)(ModelForm::PLAIN, &self.datatypes, within)?;
            self.plain = Some(plain.instance()?);
        }
        let model = (self.load)(form, &self.datatypes, within)?;
        let mut engine = model.instance()?;
        let mut worst = 0.0f64;
        let mut changed = None;
        // Twice, and the second time from the back: a form that was compiled for the shapes that it
        // saw first must bear others.
        let passes = self.checks.iter().chain(self.checks.iter().rev());
        for check in passes {
            let outputs = engine.run(Batch::without_deadline(check.inputs.clone()))?.outputs;
            match difference(&check.expected, &outputs, &check.scales) {
                Ok(found) => worst = worst.max(found),
                Err(reason) => {
                    return Ok(Err(Excluded { reason, by_circumstance: false, ended: false }));
                }
            }
            if let Some(threshold) = self.options.classes
                && let Some((rows, all)) = changed_classes(&check.expected, &outputs, threshold)
            {
                let (sum, total) = changed.unwrap_or((0, 0));
                changed = Some((sum + rows, total + all));
            }
        }
        let Some(plain) = &mut self.plain else {
            return Err(EngineError::new(Fault::Internal, "the plain form is gone"));
        };
        let mut ratios = Vec::new();
        let mut times = Vec::new();
        for (n_rows, inputs) in &self.timed {
            if !self.is_slow {
                warm_up(&mut **plain, inputs, share / 16)?;
                warm_up(&mut *engine, inputs, share / 16)?;
            }
            let (ratio, time) =
                compare_times(&mut **plain, &mut *engine, inputs, share / 4, timed)?;
            ratios.push(ratio);
            times.push(TimedRun { n_rows: *n_rows, duration: time });
        }
        let gain = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
        let (Some(&min_rows), Some(&max_rows)) = (times.first(), times.last()) else {
            return Err(EngineError::new(Fault::Internal, "no size was timed"));
        };
        let times = RunTimes { min_rows, max_rows };
        Ok(Ok(Measured { difference: worst, changed, times, gain }))
    }
}

/// Both forms in turn on one input: the median of the plain one's time over the other's, and the other's median time.
pub(super) fn compare_times(
    plain: &mut dyn Engine,
    form: &mut dyn Engine,
    inputs: &Inputs,
    limit: Duration,
    timed: fn(&mut dyn Engine, &Inputs) -> Result<Duration, EngineError>,
) -> Result<(f64, Duration), EngineError> {
    let started_at = Instant::now();
    let mut ratios = Vec::new();
    let mut times = Vec::new();
    for round in 0..*ROUNDS.end() {
        if round >= *ROUNDS.start() && started_at.elapsed() > ROUND_TIME.min(limit) {
            break;
        }
        // Each goes first as often as second: whoever follows finds the other's data in the caches.
        let (slow, fast) = if round % 2 == 0 {
            let slow = timed(plain, inputs)?;
            (slow, timed(form, inputs)?)
        } else {
            let fast = timed(form, inputs)?;
            (timed(plain, inputs)?, fast)
        };
        ratios.push(slow.as_secs_f64().max(1e-9) / fast.as_secs_f64().max(1e-9));
        times.push(fast);
    }
    ratios.sort_by(f64::total_cmp);
    times.sort_unstable();
    Ok((ratios[ratios.len() / 2], times[times.len() / 2]))
}

pub(super) fn warm_up(
    engine: &mut dyn Engine,
    inputs: &Inputs,
    limit: Duration,
) -> Result<(), EngineError> {
    let started_at = Instant::now();
    let mut before: Option<Duration> = None;
    for _ in 0..MAX_WARMUP_RUNS {
        let took = timed(engine, inputs)?;
        let settled = before.is_some_and(|before| before.abs_diff(took) <= before.min(took) / 4);
        if settled || started_at.elapsed() > limit {
            break;
        }
        before = Some(took);
    }
    Ok(())
}

/// A run that must succeed, and how long it took: by the processor's account where there is one, since other
/// programs delay one form as they like and the other not.
pub(super) fn timed(engine: &mut dyn Engine, inputs: &Inputs) -> Result<Duration, EngineError> {
    let started_at = Instant::now();
    let outcome = engine.run(Batch::without_deadline(inputs.clone()))?;
    Ok(outcome.processor_time.unwrap_or_else(|| run_time(&outcome, started_at)))
}

/// A run that must succeed, and how long whoever asked for it has waited.
pub(super) fn elapsed(engine: &mut dyn Engine, inputs: &Inputs) -> Result<Duration, EngineError> {
    let batch = Batch::without_deadline(inputs.clone());
    let started_at = Instant::now();
    engine.run(batch)?;
    Ok(started_at.elapsed())
}

/// How many rows runs have.
#[derive(Debug, PartialEq, Eq)]
struct Sizes {
    /// Where answers are compared.
    compared: Vec<usize>,
    /// Where times are taken: the minimum, and the maximum if it is another.
    timed: Vec<usize>,
    /// Whether every run takes so long that comparing must do for warming up.
    is_slow: bool,
}

impl Sizes {
    /// For a model that took `times`, always runs `fixed` rows if there is such a number, and has so much time for
    /// so many forms.
    fn of(
        times: RunTimes,
        in_batches: bool,
        fixed: Option<usize>,
        budget: Duration,
        n_forms: usize,
    ) -> Self {
        let affordable = affordable(times, budget / u32::try_from(n_forms).unwrap_or(u32::MAX));
        let min_rows = times.min_rows.n_rows;
        if let Some(n_rows) = fixed {
            return Self { compared: vec![n_rows], timed: vec![min_rows], is_slow: false };
        }
        if in_batches && affordable < SLOW_BATCH && may_take_a_slow_batch(times, budget) {
            return Self { compared: vec![1, SLOW_BATCH], timed: vec![SLOW_BATCH], is_slow: true };
        }
        let mut compared = vec![1, 2, 3];
        compared.extend(Some(affordable).filter(|_| times.max_rows.n_rows > 3));
        let mut timed = vec![min_rows];
        timed.extend(Some(affordable).filter(|it| in_batches && *it > min_rows));
        Self { compared, timed, is_slow: false }
    }
}

/// The maximum of rows that can be compared and timed in the share of one form.
fn affordable(times: RunTimes, share: Duration) -> usize {
    let mut n_rows = times.max_rows.n_rows;
    let per_row = times.max_rows.per_row();
    // In turn with the plain form, twice to compare, and to warm up.
    let runs = 2 * *ROUNDS.start() as u32 + 4;
    while n_rows > 1 && per_row.saturating_mul(n_rows as u32 * runs) > share / 2 {
        n_rows /= 2;
    }
    n_rows
}

/// Whether one form can be compared in two passes of one row and of [`SLOW_BATCH`], and timed in the fewest rounds
/// of that, in half of all the time: a second form then has the other half.
fn may_take_a_slow_batch(times: RunTimes, budget: Duration) -> bool {
    let rows = 2 * (1 + SLOW_BATCH) + 2 * *ROUNDS.start() * SLOW_BATCH;
    times.max_rows.n_rows >= SLOW_BATCH
        && times.max_rows.per_row().saturating_mul(rows as u32) <= budget / 2
}

/// The model's own refusal of an input.
pub(super) fn is_refusal(error: &EngineError) -> bool {
    matches!(error.fault, Fault::Raised | Fault::Environment | Fault::OutOfMemory)
}

/// Whether the process that ran the form, and with it the plain one, is gone.
fn is_end(error: &EngineError) -> bool {
    matches!(error.fault, Fault::Died(_) | Fault::TimedOut | Fault::Device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_what_time_allows() {
        let sizes = |per_row: u64, max_rows: usize, in_batches: bool, fixed: Option<usize>| {
            let took = |n_rows: usize| {
                let duration = Duration::from_millis(per_row * n_rows as u64);
                TimedRun { n_rows, duration }
            };
            let times = RunTimes { min_rows: took(fixed.unwrap_or(1)), max_rows: took(max_rows) };
            let Sizes { compared, timed, is_slow } =
                Sizes::of(times, in_batches, fixed, Duration::from_secs(20), 3);
            (compared, timed, is_slow)
        };
        assert_eq!(sizes(1, 32, true, None), (vec![1, 2, 3, 32], vec![1, 32], false));
        assert_eq!(sizes(20, 16, true, None), (vec![1, 2, 3, 16], vec![1, 16], false));
        assert_eq!(sizes(50, 16, true, None), (vec![1, 2, 3, 4], vec![1, 4], false));
        // One row is all that time allows by itself: a few in fewer runs.
        assert_eq!(sizes(200, 16, true, None), (vec![1, 4], vec![4], true));
        // Even that would take most of what all forms have.
        assert_eq!(sizes(400, 16, true, None), (vec![1, 2, 3, 1], vec![1], false));
        // Batches that were not seen to work, are not allowed, or are the only ones.
        assert_eq!(sizes(200, 2, true, None), (vec![1, 2, 3], vec![1], false));
        assert_eq!(sizes(200, 16, false, None), (vec![1, 2, 3, 1], vec![1], false));
        assert_eq!(sizes(200, 8, true, Some(8)), (vec![8], vec![8], false));
    }
}
