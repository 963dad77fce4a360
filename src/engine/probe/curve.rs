//! What runs cost by their rows, and from how many rows on more gain nothing.

use super::TimedRun;
use super::comparison::{is_refusal, timed, warm_up};
use super::generator::InputGenerator;
use crate::engine::{Engine, EngineError};
use std::time::{Duration, Instant};

/// Rounds in which each size has its turn: at least so many also when time is short, and at most.
const ROUNDS: std::ops::RangeInclusive<usize> = 3..=9;
/// How long the rounds go on when the fewest have been run.
const ROUND_TIME: Duration = Duration::from_millis(300);
/// Runs of a size in all, about: of slow models the largest sizes are left out to keep within the time.
const RUNS: u32 = 6;
/// What surrounds a run, waking a thread and putting rows together: without it runs of microseconds, which are the ones that
/// gain most, would look as if they gained nothing.
const AROUND: Duration = Duration::from_micros(20);
/// A curve that ends before is no evidence: ResNet-50 costs as much a row in runs of two as alone, and a third less in
/// runs of four.
const FLAT_FROM: usize = 4;
/// Of the best rows a second, what fewer rows may lose.
const LOSS: f64 = 0.05;

/// What runs cost the processor, by rising rows.
pub type Curve = Vec<TimedRun>;

/// Which runs are measured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Rows of the largest.
    pub(super) max_rows: usize,
    /// What a row takes, about.
    pub(super) per_row: Duration,
    /// How long all of them may take: sizes that do not fit in are left out.
    pub(super) within: Duration,
}

/// Measures runs of one row, of two, of four and so on up to the largest: by the processor's account where there is one, and
/// the minimum of several, since whatever else a machine does only adds to that.
pub(super) fn measure(
    engine: &mut dyn Engine,
    generator: &InputGenerator,
    Sizes { max_rows, per_row, within }: Sizes,
) -> Result<Curve, EngineError> {
    let mut left = within;
    let mut sizes = Vec::new();
    for n_rows in sizes_up_to(max_rows) {
        let rows = u32::try_from(n_rows).unwrap_or(u32::MAX);
        match left.checked_sub(per_row.saturating_mul(rows).saturating_mul(RUNS)) {
            Some(rest) => left = rest,
            None => break,
        }
        let numbers: Vec<u64> = (0..n_rows as u64).collect();
        sizes.push((n_rows, generator.batch(&numbers, None).inputs));
    }
    let mut n_taken = sizes.len();
    for (place, (_, inputs)) in sizes.iter().enumerate() {
        match warm_up(engine, inputs, within / 16) {
            Ok(()) => {}
            // What it does not take, or has no memory for, is no size to choose.
            Err(error) if is_refusal(&error) => {
                n_taken = place;
                break;
            }
            Err(error) => return Err(error),
        }
    }
    sizes.truncate(n_taken);
    let mut minima = vec![Duration::MAX; sizes.len()];
    let started_at = Instant::now();
    for round in 0..*ROUNDS.end() {
        if round >= *ROUNDS.start() && started_at.elapsed() > ROUND_TIME.min(within) {
            break;
        }
        for ((_, inputs), minimum) in sizes.iter().zip(&mut minima) {
            *minimum = timed(engine, inputs)?.min(*minimum);
        }
    }
    let run = |((n_rows, _), duration)| TimedRun { n_rows, duration };
    Ok(sizes.into_iter().zip(minima).map(run).collect())
}

/// Powers of two, and the last.
fn sizes_up_to(last: usize) -> impl Iterator<Item = usize> {
    let powers = std::iter::successors(Some(1usize), |size| size.checked_mul(2));
    powers.take_while(move |size| *size < last).chain([last])
}

/// The fewest rows that do nearly as many a second as any number up to `max_rows`; `None` where the curve ends before it
/// has become flat.
#[must_use]
pub fn knee(curve: &[TimedRun], max_rows: usize) -> Option<usize> {
    let per_second = |run: &TimedRun| run.n_rows as f64 / (run.duration + AROUND).as_secs_f64();
    let best = curve.iter().map(per_second).fold(0.0, f64::max);
    let enough = curve.iter().find(|point| per_second(point) >= best * (1.0 - LOSS))?.n_rows;
    let last = curve.last()?.n_rows;
    let is_flat = last >= FLAT_FROM && enough < last;
    (is_flat || last >= max_rows).then_some(enough.min(max_rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A curve of microseconds for 1, 2, 4 rows and so on.
    #[track_caller]
    fn check(micros: &[u64], max_rows: usize, expected: Option<usize>) {
        let run = |(power, micros): (usize, &u64)| TimedRun {
            n_rows: 1 << power,
            duration: Duration::from_micros(*micros),
        };
        let curve: Curve = micros.iter().enumerate().map(run).collect();
        assert_eq!(knee(&curve, max_rows), expected, "{micros:?}");
    }

    #[test]
    fn the_knee_is_where_more_rows_gain_little() {
        // A text encoder: 64 connections were served as well by runs of 8 as by runs of 64.
        check(&[9_000, 15_000, 29_000, 53_000, 103_000, 207_000, 412_000], 64, Some(8));
        // A tiny network: each doubling is still worth it, whatever the noise of a microsecond.
        check(&[10, 10, 11, 11, 12, 14, 18], 64, Some(64));
        check(&[11, 10, 10, 12, 11, 15, 17], 64, Some(64));
        check(&[7_000, 14_000, 28_000], 4, Some(1));
        // Cost that has not become flat, and more rows that were not tried.
        check(&[150_000, 250_000, 400_000], 64, None);
        check(&[150_000, 250_000, 400_000], 4, Some(4));
        check(&[150_000, 250_000, 490_000], 64, Some(2));
        check(&[90_000, 180_000], 64, None);
        check(&[], 64, None);
    }

    #[test]
    fn sizes_double_up_to_the_last() {
        assert_eq!(sizes_up_to(12).collect::<Vec<_>>(), [1, 2, 4, 8, 12]);
        assert_eq!(sizes_up_to(8).collect::<Vec<_>>(), [1, 2, 4, 8]);
        assert_eq!(sizes_up_to(1).collect::<Vec<_>>(), [1]);
    }
}
