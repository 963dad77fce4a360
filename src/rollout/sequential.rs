//! A test that may be looked at as often as one likes. Pure.
//!
//! An ordinary test has its false-alarm rate at one look; looked at every second for half an hour it alarms
//! sooner or later whatever the versions do. Here the evidence against "no worse than allowed" is a likelihood
//! ratio whose numerator is a mixture over everything that the new version's share could be, and which is
//! compared with the best that the claim can do. Where the old version's share is known it passes 1/α with a
//! probability of at most α over all looks together, by Ville's inequality; where it is estimated from as many
//! requests or more, which is so at every step up to a half, simulations of the room's tests hold it to that.

/// The probability with which one rule, over all looks of one step, alarms about a version that is exactly as
/// bad as allowed.
pub const FALSE_ALARM_RATE: f64 = 0.001;

/// How often something happened, of how many. Not whole where neighbors count as fewer than they are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// How often.
    pub hits: f64,
    /// Of how many.
    pub of: f64,
}

impl Share {
    /// So many of so many.
    #[must_use]
    pub fn new(hits: u64, of: u64) -> Self {
        Self { hits: hits as f64, of: of as f64 }
    }

    /// The part; 0 of nothing.
    #[must_use]
    pub fn rate(self) -> f64 {
        if self.of > 0.0 { self.hits / self.of } else { 0.0 }
    }

    /// The log-likelihood of a probability.
    fn likelihood(self, p: f64) -> f64 {
        // What never happened says nothing about a probability of 0.
        let term = |count: f64, p: f64| if count > 0.0 { count * p.ln() } else { 0.0 };
        term(self.hits, p) + term(self.of - self.hits, 1.0 - p)
    }

    /// Its derivative.
    fn slope(self, p: f64) -> f64 {
        self.hits / p.max(f64::MIN_POSITIVE) - (self.of - self.hits) / (1.0 - p).max(f64::EPSILON)
    }

    /// The log-likelihood of any probability, mixed by Jeffreys' prior.
    fn mixture(self) -> f64 {
        ln_gamma(self.hits + 0.5) + ln_gamma(self.of - self.hits + 0.5)
            - ln_gamma(self.of + 1.0)
            - std::f64::consts::PI.ln()
    }
}

/// The evidence, as a logarithm, that the new version's share is above the old one's by more than `margin`.
#[must_use]
pub(super) fn against_other(old: Share, new: Share, margin: f64) -> f64 {
    if old.of <= 0.0 || new.rate() <= old.rate() + margin {
        return 0.0;
    }
    // The best that the claim can do lies on its edge, between what the two say of the old share.
    let (mut low, mut high) = (old.rate(), new.rate() - margin);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        match old.slope(middle) + new.slope(middle + margin) > 0.0 {
            true => low = middle,
            false => high = middle,
        }
    }
    let p = f64::midpoint(low, high);
    let claim = old.likelihood(p) + new.likelihood(p + margin);
    (new.mixture() + old.likelihood(old.rate()) - claim).max(0.0)
}

/// The evidence, as a logarithm, that a share is above `limit`.
#[must_use]
pub(super) fn against_limit(share: Share, limit: f64) -> f64 {
    if share.of <= 0.0 || share.rate() <= limit {
        return 0.0;
    }
    (share.mixture() - share.likelihood(limit)).max(0.0)
}

/// Whether this much evidence is enough.
#[must_use]
pub(super) fn is_enough(evidence: f64) -> bool {
    evidence >= -FALSE_ALARM_RATE.ln()
}

/// The logarithm of the gamma function, by Stirling's series, for numbers above 0.
fn ln_gamma(x: f64) -> f64 {
    const ENOUGH: f64 = 10.0;
    let (mut x, mut below) = (x, 1.0);
    while x < ENOUGH {
        below *= x;
        x += 1.0;
    }
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1260.0 * x.powi(5));
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - f64::ln(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gamma_function_is_right() {
        for (x, expected) in [
            (0.5, 0.572_364_942_924_700_1),
            (1.0, 0.0),
            (10.0, 12.801_827_480_081_469),
            (1000.5, 5_908.674_152_317_645),
        ] {
            assert!((ln_gamma(x) - expected).abs() < 1e-8 * expected.max(1.0), "{x}");
        }
    }

    #[track_caller]
    fn check(old: (u64, u64), new: (u64, u64), margin: f64, expected: bool) {
        let share = |(hits, of)| Share::new(hits, of);
        let evidence = against_other(share(old), share(new), margin);
        assert_eq!(is_enough(evidence), expected, "{old:?} {new:?} {margin}: {evidence}");
    }

    #[test]
    fn a_difference_counts_when_there_is_enough_of_it() {
        check((10, 1000), (10, 1000), 0.0, false);
        check((0, 1000), (0, 100), 0.01, false);
        check((10, 10_000), (3, 100), 0.01, false);
        check((10, 10_000), (20, 200), 0.01, true);
        check((0, 1000), (100, 100), 0.01, true);
        check((500, 1000), (620, 1000), 0.0, true);
        check((500, 1000), (620, 1000), 0.1, false);
        check((500, 1000), (400, 1000), 0.0, false);
        check((0, 0), (100, 100), 0.0, false);
        check((1000, 1000), (1000, 1000), 0.0, false);
    }

    #[test]
    fn a_known_old_share_is_a_limit() {
        let new = Share::new(40, 1000);
        let known = Share { hits: 1e10, of: 1e12 };
        let difference = against_other(known, new, 0.01) - against_limit(new, 0.02);
        assert!(difference.abs() < 1e-3, "{difference}");
        assert!(is_enough(against_limit(Share::new(40, 1000), 0.01)));
        assert!(!is_enough(against_limit(Share::new(10, 1000), 0.01)));
    }
}
