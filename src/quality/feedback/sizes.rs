//! How large numbers usually are, by which a truth is refused that would hide all others in a sum.

/// From 2^-128 to 2^127, which is all that FP32 holds.
const N_SIZES: usize = 256;
/// Rows that have to be known before one can be unusual.
const USUAL_FROM: u64 = 20;
/// How many times larger than the median a row may be, as a power of two: 65,536 times. The square of such an error leaves the
/// sum of squares exact to half a percent of errors that are a hundredth of the median.
const UNUSUAL: usize = 16;

/// How large answers and truths have been so far, by powers of two.
///
/// Sums of floating-point numbers forget what is much smaller than they are: one error of 1e30, and the errors of all others
/// would add nothing any more, for good. So what is far beyond the usual is not counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes([u64; N_SIZES]);

impl Default for Sizes {
    fn default() -> Self {
        Self([0; N_SIZES])
    }
}

impl Sizes {
    /// The place of a row; `None` where both are zero, which says nothing of how large they are.
    pub(super) fn place(actual: f64, predicted: f32) -> Option<usize> {
        let size = actual.abs().max(f64::from(predicted).abs());
        let exponent = (size > 0.0).then(|| size.log2().floor() as i64)?;
        Some(usize::try_from((exponent + 128).clamp(0, N_SIZES as i64 - 1)).unwrap_or_default())
    }

    /// The place of the largest that is usual, where enough is known.
    pub(super) fn largest_usual(&self) -> Option<usize> {
        let n: u64 = self.0.iter().sum();
        let mut below = 0;
        let median = self.0.iter().position(|rows| {
            below += rows;
            below * 2 >= n
        });
        Some((median? + UNUSUAL).min(N_SIZES - 1)).filter(|_| n >= USUAL_FROM)
    }

    /// Counts a row at its place, and forgets those that turn out to be unusual; whether any did.
    pub(super) fn add(&mut self, place: usize) -> bool {
        self.0[place] += 1;
        self.drop_unusual()
    }

    fn drop_unusual(&mut self) -> bool {
        let Some(largest) = self.largest_usual() else { return false };
        let beyond = &mut self.0[largest + 1..];
        let was_there = beyond.iter().any(|rows| *rows > 0);
        beyond.fill(0);
        was_there
    }
}
