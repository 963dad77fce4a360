//! Which choices are tried, and which of them is best. Pure.

use super::measure::Figures;
use crate::repository::Overrides;
use std::time::Duration;

/// Callers that wait for their answer before they ask again: one alone, a few, and a crowd.
pub(super) const CALLERS: [usize; 3] = [1, 8, 64];

/// Rows a batch that are tried, as far as the model's own limit goes.
const BATCHES: [usize; 5] = [1, 4, 16, 64, 256];

/// Delays that are tried where batches form.
const DELAYS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(5)];

/// A way to schedule a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) instances: usize,
    pub(super) intra_op_threads: usize,
    pub(super) max_batch_size: usize,
    pub(super) max_queue_delay: Duration,
}

impl Choice {
    pub(super) fn overrides(&self) -> Overrides {
        Overrides {
            version: None,
            instances: Some(self.instances),
            intra_op_threads: Some(self.intra_op_threads),
            max_batch_size: Some(self.max_batch_size),
            max_queue_delay: Some(self.max_queue_delay),
            // Callers that wait for their answer are to get one, however many they are.
            max_queue_wait: Some(Duration::MAX),
        }
    }
}

/// Every way to fill the cores with instances and threads, with every batch size.
pub(super) fn without_delay(cpus: usize, most_rows: usize, one_instance: bool) -> Vec<Choice> {
    let mut batches: Vec<_> = BATCHES.into_iter().filter(|rows| *rows < most_rows).collect();
    batches.push(most_rows.max(1));
    let mut choices = Vec::new();
    for (instances, intra_op_threads) in threads(cpus.max(1), one_instance) {
        for &max_batch_size in &batches {
            let max_queue_delay = Duration::ZERO;
            choices.push(Choice { instances, intra_op_threads, max_batch_size, max_queue_delay });
        }
    }
    choices
}

/// Instances and threads whose product is at most the number of cores: one alone, and from one
/// thread an instance by doubling to one instance with all.
fn threads(cpus: usize, one_instance: bool) -> Vec<(usize, usize)> {
    let mut pairs = vec![(1, 1)];
    let mut intra_op_threads = 1;
    while intra_op_threads <= cpus {
        pairs.push((cpus / intra_op_threads, intra_op_threads));
        intra_op_threads *= 2;
    }
    if !cpus.is_power_of_two() {
        pairs.push((1, cpus));
    }
    if one_instance {
        pairs.iter_mut().for_each(|(instances, _)| *instances = 1);
    }
    pairs.sort_unstable();
    pairs.dedup();
    pairs
}

/// The same choice with each delay.
pub(super) fn with_delay(best: &Choice) -> Vec<Choice> {
    DELAYS.into_iter().map(|max_queue_delay| Choice { max_queue_delay, ..*best }).collect()
}

/// The choice that gave most rows a second, whatever the latency.
pub(super) fn fastest(table: &[(Choice, Vec<Figures>)]) -> Option<Choice> {
    best(table, Duration::MAX).map(|(choice, _)| choice)
}

/// The choice that gave most rows a second with a 99th percentile of at most `latency`.
pub(super) fn best(
    table: &[(Choice, Vec<Figures>)],
    latency: Duration,
) -> Option<(Choice, Figures)> {
    let all = table.iter().flat_map(|(choice, figures)| figures.iter().map(|it| (*choice, *it)));
    all.filter(|(_, figures)| figures.p99 <= latency)
        .max_by(|(_, a), (_, b)| a.per_second.total_cmp(&b.per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_fill_the_cores_and_never_more() {
        assert_eq!(threads(1, false), [(1, 1)]);
        assert_eq!(threads(4, false), [(1, 1), (1, 4), (2, 2), (4, 1)]);
        assert_eq!(threads(6, false), [(1, 1), (1, 4), (1, 6), (3, 2), (6, 1)]);
        assert_eq!(threads(4, true), [(1, 1), (1, 2), (1, 4)]);
        let rows: Vec<_> =
            without_delay(1, 20, false).iter().map(|choice| choice.max_batch_size).collect();
        assert_eq!(rows, [1, 4, 16, 20]);
        assert_eq!(without_delay(2, 1, false).len(), 3);
    }

    #[test]
    fn the_best_is_the_fastest_within_the_latency() {
        let choice = without_delay(1, 1, false)[0];
        let other = Choice { instances: 2, ..choice };
        let figures = |per_second, millis| {
            let p99 = Duration::from_millis(millis);
            Figures { n_callers: 1, per_second, p50: p99, p99 }
        };
        let table =
            [(choice, vec![figures(10.0, 5), figures(50.0, 40)]), (other, vec![figures(90.0, 80)])];
        assert_eq!(fastest(&table), Some(other));
        let (chosen, found) = best(&table, Duration::from_millis(50)).unwrap();
        assert_eq!((chosen, found.per_second), (choice, 50.0));
        assert_eq!(best(&table, Duration::from_millis(1)), None);
    }
}
