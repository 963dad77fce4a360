//! Whether rows keep apart in the runs of a trial: alone, in batches, and among rows of all kinds.

use super::analysis::CodeAnalysis;
use super::generator::InputGenerator;
use super::outputs::can_be_cut;
use super::run::{Probe, row};
use super::values::{WAYS, unlike};
use crate::engine::compare::{agree, rounding, row_scales, scales};
use crate::engine::{EngineError, Fault, Output};
use crate::inference::Batching;
use std::time::{Duration, Instant};

/// Rows that are run alone and then looked for in batches.
const ROWS_ALONE: u64 = 4;
/// Numbers of rows that only fill a batch: apart from those that are compared.
pub(super) const FILLERS: u64 = 1 << 20;

/// A row of a batch, and its answer alone.
struct Row<'a> {
    number: u64,
    place: usize,
    /// Rows of that batch.
    n_rows: usize,
    expected: &'a [Output],
    scales: &'a [f64],
}

impl Probe<'_> {
    /// Whether rows get the same answers alone, in batches, and wherever they stand in them.
    pub(super) fn independence(
        &mut self,
        generator: &InputGenerator,
        analysis: &CodeAnalysis,
    ) -> Result<Batching, EngineError> {
        let mut alone = Vec::new();
        let started_at = Instant::now();
        for number in 0..ROWS_ALONE {
            match self.run(generator, &[number])? {
                Ok(outputs) => alone.push(outputs),
                Err(error) => return self.refused(1, &error),
            }
        }
        let row_time = started_at.elapsed() / ROWS_ALONE as u32;
        let mut batches = vec![vec![0, 1], vec![2, 0, 3, 1]];
        batches.extend(self.largest_batch(row_time));
        batches.iter_mut().for_each(|numbers| numbers.truncate(self.most_rows()));
        // As the watch measures, so that what is accepted here holds there.
        let scales: Vec<_> = alone.iter().map(|own| row_scales(own, &alone)).collect();
        for numbers in batches {
            let together = match self.run(generator, &numbers)? {
                Ok(outputs) => outputs,
                Err(error) if error.fault == Fault::OutOfMemory => {
                    let n_rows = numbers.len();
                    self.notes.push(format!("there is no memory for {n_rows} rows: {error}"));
                    continue;
                }
                Err(error) => return self.refused(numbers.len(), &error),
            };
            if !can_be_cut(&self.seen) {
                return Ok(Batching::NoRowAxis);
            }
            for (place, number) in numbers.iter().enumerate() {
                let Some(expected) = alone.get(*number as usize) else { continue };
                let scales = &scales[*number as usize];
                let got = row(&together, place);
                let n_rows = numbers.len();
                let row = Row { number: *number, place, n_rows, expected, scales };
                if !self.is_apart(generator, row, got, analysis)? {
                    return Ok(Batching::Coupled);
                }
            }
        }
        if generator.distinct_rows() < 2 {
            self.notes
                .push("batching could not be tried: give the sample two different rows".to_owned());
            return Ok(Batching::Unprobed);
        }
        if analysis.bears_unlike_rows(self.hints) {
            return self.among_unlike_rows(generator, analysis, &alone, &scales);
        }
        Ok(Batching::Probed)
    }

    /// The most rows that the model takes by its file.
    fn most_rows(&self) -> usize {
        let interface = self.model.signature().interface.as_ref();
        interface.and_then(|it| it.max_rows()).unwrap_or(usize::MAX)
    }

    /// Whether rows also get the same answers among rows that are unlike the given ones, and those among
    /// them: negative, large, zero, of all magnitudes. What the model refuses alone is left out.
    fn among_unlike_rows(
        &mut self,
        generator: &InputGenerator,
        analysis: &CodeAnalysis,
        alone: &[Vec<Output>],
        scales: &[Vec<f64>],
    ) -> Result<Batching, EngineError> {
        let mut expected: Vec<(u64, Vec<Output>)> =
            alone.iter().take(2).cloned().enumerate().map(|(it, row)| (it as u64, row)).collect();
        for way in 1..=WAYS {
            if self.started_at.elapsed() > self.hints.budget {
                self.notes.push("there was no time left to try rows of all kinds".to_owned());
                break;
            }
            let number = unlike(way, way);
            if let Ok(outputs) = self.run(generator, &[number])? {
                expected.push((number, outputs));
                self.unlike.push(number);
            }
        }
        if !can_be_cut(&self.seen) {
            return Ok(Batching::NoRowAxis);
        }
        let of_all = self::scales(expected.iter().map(|(_, it)| it.as_slice()));
        let forward: Vec<u64> = expected.iter().map(|(number, _)| *number).collect();
        let backward: Vec<u64> = forward.iter().rev().copied().collect();
        let apart: Vec<u64> = forward.iter().chain(&forward).copied().skip(1).step_by(3).collect();
        for mut numbers in [forward, backward, apart] {
            numbers.truncate(self.most_rows());
            let together = match self.run(generator, &numbers)? {
                Ok(outputs) => outputs,
                Err(error) if error.fault == Fault::OutOfMemory => continue,
                // Alone each was taken: what is refused together hangs on the others.
                Err(error) => return self.refused(numbers.len(), &error),
            };
            for (place, number) in numbers.iter().enumerate() {
                let Some((_, own)) = expected.iter().find(|(it, _)| it == number) else { continue };
                // Sums of large numbers round by more than their small differences show.
                let scales = scales.get(*number as usize).unwrap_or(&of_all);
                let got = row(&together, place);
                let n_rows = numbers.len();
                let row = Row { number: *number, place, n_rows, expected: own, scales };
                if !self.is_apart(generator, row, got, analysis)? {
                    return Ok(Batching::Coupled);
                }
            }
        }
        Ok(Batching::Probed)
    }

    /// Whether a row got the answer in a batch that it gets alone, or no other difference than it has in a batch of nothing
    /// but itself: other kernels, and their rounding.
    fn is_apart(
        &mut self,
        generator: &InputGenerator,
        row: Row<'_>,
        got: Option<Vec<Output>>,
        analysis: &CodeAnalysis,
    ) -> Result<bool, EngineError> {
        let Some(got) = got else { return Ok(false) };
        let tolerance = self.hints.tolerance;
        if agree(row.expected, &got, row.scales, tolerance) {
            return Ok(true);
        }
        // Where the code says that not even the number of rows counts, nothing but rounding is left.
        let rounding = rounding(tolerance, analysis.is_proof());
        if !agree(row.expected, &got, row.scales, rounding) {
            return Ok(false);
        }
        let own = self.run(generator, &vec![row.number; row.n_rows])?.ok();
        let own = own.and_then(|own| super::run::row(&own, row.place));
        Ok(own.is_some_and(|own| agree(&own, &got, row.scales, tolerance)))
    }

    /// Some numbers of rows work and this one does not.
    fn refused(&mut self, n_rows: usize, error: &EngineError) -> Result<Batching, EngineError> {
        self.notes.push(format!("the model raised for {n_rows} rows: {}", error.message));
        Ok(Batching::FixedRows)
    }

    /// The largest batch that is to be served, or the largest that there is time for: rows that were run
    /// alone, first, in the middle and last, among others.
    fn largest_batch(&mut self, row_time: Duration) -> Option<Vec<u64>> {
        let max_rows = self.hints.max_batch_size;
        let left = self.hints.budget.saturating_sub(self.started_at.elapsed()) / 4;
        let mut n_rows = max_rows;
        while n_rows > 4 && row_time.saturating_mul(n_rows as u32) > left {
            n_rows /= 2;
        }
        if n_rows < max_rows {
            self.notes.push(format!(
                "batches of more than {n_rows} rows were not tried: one row takes {row_time:?}"
            ));
        }
        (n_rows > 4).then(|| {
            let mut numbers: Vec<u64> = (FILLERS..).take(n_rows).collect();
            for (number, place) in [0, n_rows / 3, n_rows / 2, n_rows - 1].into_iter().enumerate() {
                numbers[place] = number as u64;
            }
            numbers
        })
    }
}
