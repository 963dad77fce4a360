//! The dimension of the rows that a model drops when there is one row: found, and put back.

use super::outputs::ObservedRun;
use crate::engine::Output;
use crate::inference::with_one_row;
use crate::tensor::Shape;

/// Outputs that lose the dimension of the rows in runs of one row, as `squeeze()` does it, each with the
/// rank that it has in other runs.
#[derive(Debug, Clone, Default)]
pub(super) struct Squeezed(Vec<Option<usize>>);

impl Squeezed {
    /// What runs of one row and of several, of the same rows otherwise, show.
    pub(super) fn of(runs: &[ObservedRun]) -> Self {
        let (one, many): (Vec<_>, Vec<_>) = runs.iter().partition(|run| run.n_rows == 1);
        let (Some(first), Some(other)) = (one.first(), many.first()) else {
            return Self::default();
        };
        let n_outputs = first.outputs.len();
        if runs.iter().any(|run| run.outputs.len() != n_outputs) {
            return Self::default();
        }
        let rank = |place: usize| {
            let row = other.outputs[place].shape.row();
            let is_row = |run: &&ObservedRun| run.outputs[place].shape.dims() == row;
            let has_rows = |run: &&ObservedRun| {
                run.counts_rows(&run.outputs[place]) && run.outputs[place].shape.row() == row
            };
            (one.iter().all(is_row) && many.iter().all(has_rows)).then_some(row.len() + 1)
        };
        let ranks: Vec<_> = (0..n_outputs).map(rank).collect();
        if ranks.iter().all(Option::is_none) { Self::default() } else { Self(ranks) }
    }

    /// For each output, whether it is one; empty when none is.
    pub(super) fn flags(&self) -> Vec<bool> {
        self.0.iter().map(Option::is_some).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The outputs of a run of so many rows, with the dimension put back.
    pub(super) fn restore(&self, n_rows: usize, outputs: Vec<Output>) -> Vec<Output> {
        let restore = |(place, output): (usize, Output)| {
            let tensor = match self.is_short(place, n_rows, output.tensor.shape()) {
                true => with_one_row(output.tensor),
                false => output.tensor,
            };
            Output { name: output.name, tensor }
        };
        if self.is_empty() {
            outputs
        } else {
            outputs.into_iter().enumerate().map(restore).collect()
        }
    }

    /// The same for runs that were seen before it was known.
    pub(super) fn restore_seen(&self, runs: &mut [ObservedRun]) {
        for run in runs {
            for (place, output) in run.outputs.iter_mut().enumerate() {
                if self.is_short(place, run.n_rows, &output.shape) {
                    output.shape = Shape::new([&[1], output.shape.dims()].concat());
                }
            }
        }
    }

    fn is_short(&self, place: usize, n_rows: usize, shape: &Shape) -> bool {
        n_rows == 1 && self.0.get(place).copied().flatten().is_some_and(|rank| shape.rank() < rank)
    }
}

#[cfg(test)]
mod tests {
    use super::super::outputs::ObservedOutput;
    use super::*;
    use crate::tensor::DataType;

    fn seen(n_rows: usize, dims: &[usize]) -> ObservedRun {
        let shape = Shape::new(dims.to_vec());
        let output = ObservedOutput { name: None, datatype: DataType::Fp32, shape };
        ObservedRun { n_rows, outputs: vec![output] }
    }

    #[test]
    fn only_the_axis_of_the_rows_counts_as_dropped() {
        let ranks = |one: &[usize], many: &[usize]| Squeezed::of(&[seen(3, many), seen(1, one)]).0;
        assert_eq!(ranks(&[], &[3]), [Some(1)]);
        assert_eq!(ranks(&[5], &[3, 5]), [Some(2)]);
        assert_eq!(ranks(&[1, 5], &[3, 5]), [], "it is there");
        assert_eq!(ranks(&[4], &[3, 5]), [], "another row");
        assert_eq!(ranks(&[], &[]), [], "no rows at all");
        assert_eq!(ranks(&[], &[2]), [], "as many as something else");
    }
}
