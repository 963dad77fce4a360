//! Which requests are traced: a pure choice.

/// Which requests are chosen when they come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sampler {
    /// Nobody named one of OpenTelemetry's, which would decide alone: failures and slow requests are sent after the fact.
    pub(super) is_ours: bool,
    /// A caller that traces has its requests traced, and one that says it does not has them not.
    pub(super) follows_parent: bool,
    /// The part of the others, from 0 to 1.
    pub(super) ratio: f64,
}

impl Sampler {
    /// Whether a request is chosen. `parent`: what its caller says, if it has a trace.
    ///
    /// By the trace's id, in the way of OpenTelemetry's `TraceIdRatioBased`, so that all services of a trace choose alike.
    pub(super) fn chooses(&self, parent: Option<bool>, trace: u128) -> bool {
        match parent {
            Some(is_sampled) if self.follows_parent => is_sampled,
            // The largest number has no room in the type of the ratio.
            _ => {
                self.ratio >= 1.0
                    || ((trace as u64 >> 1) as f64) < self.ratio * (1_u64 << 63) as f64
            }
        }
    }
}

/// Whether somebody will ask where a request's time went, or why it failed. A fault of its caller's is none, and no caller can
/// fill traces with those.
pub(super) fn is_notable(status: u16, is_slow: bool) -> bool {
    status >= 500 || status == 429 || is_slow
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_decide_and_others_are_chosen_by_their_trace() {
        let sampler = |follows_parent, ratio| Sampler { is_ours: true, follows_parent, ratio };
        let (low, high) = (1_u128 << 127, u128::from(u64::MAX));
        // What is above 64 bits has no say: other libraries look at the lower half.
        assert!(sampler(true, 0.01).chooses(None, low));
        assert!(!sampler(true, 0.99).chooses(None, high));
        assert!(sampler(true, 1.0).chooses(None, high));
        assert!(!sampler(true, 0.0).chooses(None, low));
        assert!(sampler(true, 0.0).chooses(Some(true), high));
        assert!(!sampler(true, 1.0).chooses(Some(false), low));
        assert!(!sampler(false, 0.0).chooses(Some(true), low));
        assert!(sampler(false, 1.0).chooses(Some(false), high));
    }

    #[test]
    fn the_share_is_as_asked_for() {
        let ids = crate::traces::ids::Ids::default();
        let sampler = Sampler { is_ours: true, follows_parent: true, ratio: 0.25 };
        let chosen = (0..40_000).filter(|_| sampler.chooses(None, ids.trace())).count();
        // Nine deviations.
        assert!((9_200..10_800).contains(&chosen), "{chosen} of 40,000");
    }

    #[test]
    fn what_the_server_failed_or_was_slow_at_is_notable() {
        assert!(is_notable(500, false) && is_notable(503, false) && is_notable(429, false));
        assert!(is_notable(200, true));
        assert!(!is_notable(200, false) && !is_notable(400, false) && !is_notable(404, false));
    }
}
