//! Numbers and sentences that more than one report has.

use crate::evaluation::bounds::BoundCheck;
use crate::evaluation::figures::{CONFIDENCE, Interval, N_RESAMPLES, SEED};
use crate::repository::manifest::Bound;
use std::sync::Arc;

/// A value with as many digits as are worth reading.
pub(super) fn value(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), number)
}

/// A number in a column.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-4..1e6).contains(&size) || !value.is_finite() {
        format!("{value:.4}")
    } else {
        format!("{value:.3e}")
    }
}

/// A difference, which always has a sign.
pub(super) fn difference(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |it| signed(&number(it)))
}

fn signed(number: &str) -> String {
    if number.starts_with('-') { number.to_owned() } else { format!("+{number}") }
}

/// The ends of an interval.
pub(super) fn interval(interval: Interval) -> String {
    interval.map_or_else(
        || "–".to_owned(),
        |(low, high)| format!("{} to {}", number(low), number(high)),
    )
}

/// The ends of the interval of a difference, and whether it holds 0.
pub(super) fn difference_interval(interval: Interval) -> String {
    interval.map_or_else(
        || "–".to_owned(),
        |(low, high)| {
            let says = if low > 0.0 || high < 0.0 { "" } else { ", may be none" };
            format!("{} to {}{says}", signed(&number(low)), signed(&number(high)))
        },
    )
}

/// How intervals were found.
pub(super) fn method() -> String {
    let percent = CONFIDENCE * 100.0;
    format!(
        "Intervals hold {percent:.0} % of {N_RESAMPLES} resamples of the rows (percentile bootstrap, seed {SEED}); \
         differences are paired, row by row."
    )
}

/// The name of a class; a row whose scores are not numbers has none.
pub(super) fn class(names: &[Arc<str>], place: usize) -> &str {
    names.get(place).map_or("none", |name| &**name)
}

/// A bound, and how it stands.
pub(super) fn check(check: &BoundCheck) -> String {
    let (words, bound) = match check.bound {
        Bound::AtLeast(bound) => ("at least", bound),
        Bound::AtMost(bound) => ("at most", bound),
    };
    let got = match check.value {
        Some(value) => format!("{value:.6}"),
        None => "no value".to_owned(),
    };
    let verdict = if check.is_met() { "met" } else { "missed" };
    format!("{}: expected {words} {bound}, got {got}: {verdict}", check.name)
}
