//! What model.toml asks of figures. Pure.

use super::figures::Measured;
use crate::repository::manifest::{Bound, EvaluationKeys};

/// A bound and the figure that it is for.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundCheck {
    /// The key in `[evaluation]`, which is the name of the figure.
    pub name: &'static str,
    /// What is asked.
    pub bound: Bound,
    /// What was found; `None` where the model has no such figure, or it has no value for these rows.
    pub value: Option<f64>,
}

impl BoundCheck {
    /// Whether the figure is within its bound. One without a value is not.
    #[must_use]
    pub fn is_met(&self) -> bool {
        match (self.bound, self.value) {
            (Bound::AtLeast(least), Some(value)) => value >= least,
            (Bound::AtMost(most), Some(value)) => value <= most,
            (_, None) => false,
        }
    }
}

/// Holds a version's figures against what is asked of them.
pub(super) fn checks(keys: &EvaluationKeys, figures: &[Measured]) -> Vec<BoundCheck> {
    let value = |name: &str| {
        let found = figures.iter().find(|it| it.figure.name == name);
        found.and_then(|it| it.value)
    };
    let bounds = keys.bounds().into_iter();
    bounds.map(|(name, bound)| BoundCheck { name, bound, value: value(name) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_met_up_to_its_edge_and_never_by_nothing() {
        let met = |bound, value| BoundCheck { name: "x", bound, value }.is_met();
        assert!(met(Bound::AtLeast(0.9), Some(0.9)) && !met(Bound::AtLeast(0.9), Some(0.89)));
        assert!(met(Bound::AtMost(0.1), Some(0.1)) && !met(Bound::AtMost(0.1), Some(0.11)));
        assert!(!met(Bound::AtLeast(0.9), None) && !met(Bound::AtMost(0.1), None));
        assert!(!met(Bound::AtMost(0.1), Some(f64::NAN)));
    }
}
