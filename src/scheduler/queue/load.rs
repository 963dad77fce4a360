//! What waits in a queue, by what it takes to run it. Pure.

/// Runs are kept apart by their rows to the next power of two, up to a million.
pub(super) const SIZES: usize = 21;

/// What waits, in requests that share runs and in those that are runs of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Rows of requests that are smaller than a batch.
    pub(super) shared_rows: usize,
    /// Requests that fill a batch by themselves, by their size.
    pub(super) alone: [usize; SIZES],
}

impl Load {
    /// Adds a request of so many rows where a batch has at most `max_batch_size`.
    pub(super) fn add(&mut self, n_rows: usize, max_batch_size: usize) {
        match n_rows < max_batch_size {
            true => self.shared_rows += n_rows,
            false => self.alone[size(n_rows)] += 1,
        }
    }

    /// Takes one away that was added.
    pub(super) fn remove(&mut self, n_rows: usize, max_batch_size: usize) {
        match n_rows < max_batch_size {
            true => self.shared_rows -= n_rows,
            false => self.alone[size(n_rows)] -= 1,
        }
    }

    /// With another one, so many times.
    pub(super) fn plus(&self, other: &Self, times: usize) -> Self {
        let alone = std::array::from_fn(|size| self.alone[size] + other.alone[size] * times);
        Self { shared_rows: self.shared_rows + other.shared_rows * times, alone }
    }
}

/// The place of a number of rows among the sizes.
pub(super) fn size(n_rows: usize) -> usize {
    (n_rows.max(1).next_power_of_two().ilog2() as usize).min(SIZES - 1)
}
