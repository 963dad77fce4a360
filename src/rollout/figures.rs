//! What is counted of one version on one step. Plain data.

use std::time::Duration;

/// Classes of latency in each doubling: they tell apart what differs by a twentieth.
pub(super) const PER_OCTAVE: usize = 16;
/// The latency at which the second class begins, in nanoseconds.
const SMALLEST: f64 = 1000.0;
/// Doublings that are told apart, from a microsecond to more than a minute.
const OCTAVES: usize = 27;
/// Classes in all.
pub(super) const CLASSES: usize = OCTAVES * PER_OCTAVE;

/// How many latencies lie in each class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latencies(Vec<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(vec![0; CLASSES])
    }
}

impl Latencies {
    /// Of counts, one a class.
    pub(super) fn of(counts: impl Iterator<Item = u64>) -> Self {
        let mut counts: Vec<_> = counts.take(CLASSES).collect();
        counts.resize(CLASSES, 0);
        Self(counts)
    }

    /// Counts one.
    pub fn add(&mut self, latency: Duration) {
        self.0[class(latency)] += 1;
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The class in which a part of all, the fastest first, is full.
    pub(super) fn quantile_class(&self, part: f64) -> Option<usize> {
        let wanted = ((self.total() as f64 * part).ceil() as u64).max(1);
        let mut so_far = 0;
        self.0.iter().position(|count| {
            so_far += count;
            so_far >= wanted
        })
    }

    /// How many lie in classes behind this one.
    pub(super) fn above(&self, class: usize) -> u64 {
        self.0.iter().skip(class + 1).sum()
    }

    /// A latency that this part of all does not exceed, to a twentieth.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        self.quantile_class(part).map(upper_bound)
    }
}

/// The class of a latency.
pub(super) fn class(latency: Duration) -> usize {
    let octaves = (latency.as_secs_f64() * 1e9 / SMALLEST).log2();
    // Below the first is the first; `as` takes what is no number or beyond to the ends.
    ((octaves * PER_OCTAVE as f64).floor() as usize).min(CLASSES - 1)
}

fn upper_bound(class: usize) -> Duration {
    let octaves = (class + 1) as f64 / PER_OCTAVE as f64;
    Duration::from_secs_f64(SMALLEST * octaves.exp2() / 1e9)
}

/// How many classes further a latency lies that is so many times longer.
pub(super) fn classes_of_ratio(ratio: f64) -> usize {
    // Rounded up, so that no version is held to less than its model.toml allows.
    ((ratio.log2() * PER_OCTAVE as f64 - 1e-9).ceil() as usize).min(CLASSES)
}

/// How many times longer a latency is that lies so many classes further.
pub(super) fn ratio_of_classes(classes: usize) -> f64 {
    (classes as f64 / PER_OCTAVE as f64).exp2()
}

/// What one version did on one step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Requests that it answered or failed.
    pub requests: u64,
    /// Those that it failed.
    pub errors: u64,
    /// How long the others took in its queue and its run.
    pub latencies: Latencies,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_told_apart_by_a_twentieth_and_end_nowhere() {
        let mut latencies = Latencies::default();
        for micros in 1..=1000u64 {
            latencies.add(Duration::from_micros(micros));
        }
        for (part, expected) in [(0.5, 500e-6), (0.95, 950e-6), (1.0, 1000e-6)] {
            let found = latencies.quantile(part).unwrap().as_secs_f64();
            assert!(found >= expected && found <= expected * 1.05, "{part}: {found}");
        }
        assert_eq!(class(Duration::ZERO), 0);
        assert_eq!(class(Duration::MAX), CLASSES - 1);
        assert_eq!(Latencies::default().quantile(0.5), None);
    }

    #[test]
    fn a_ratio_is_so_many_classes() {
        assert_eq!((classes_of_ratio(2.0), classes_of_ratio(1.5)), (16, 10));
        assert_eq!(ratio_of_classes(32), 4.0);
        let [slow, fast] = [300, 100].map(Duration::from_micros);
        assert!(class(slow) - class(fast) >= classes_of_ratio(2.9));
    }
}
