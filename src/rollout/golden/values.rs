//! Compares what an answer has with what it was to have, as clients see it. Pure.

use serde_json::Value;
use std::collections::BTreeMap;

/// How far a value is from what it was to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Distance {
    /// The largest difference of two numbers, relative to the largest of its output; infinite where the values are
    /// of another kind.
    pub(super) largest: f64,
    /// The place that is furthest off, if any is off by more than the tolerance.
    pub(super) miss: Option<String>,
}

/// Compares a `prediction`, `predictions` or `outputs`; `name` is which.
pub(super) fn distance(name: &str, expected: &Value, got: &Value, tolerance: f64) -> Distance {
    let mut scales = BTreeMap::new();
    measure(expected, "", &mut scales);
    let mut walk = Walk { scales, largest: 0.0, miss: None, tolerance };
    walk.value(name, "", expected, got);
    Distance { largest: walk.largest, miss: walk.miss }
}

/// Finds the largest number of each output. Objects are outputs by name, whether of one row or of all.
fn measure<'v>(value: &'v Value, output: &'v str, scales: &mut BTreeMap<&'v str, f64>) {
    match value {
        Value::Number(number) => {
            let size = number.as_f64().unwrap_or(f64::INFINITY).abs();
            let scale = scales.entry(output).or_default();
            *scale = scale.max(size);
        }
        Value::Array(items) => items.iter().for_each(|item| measure(item, output, scales)),
        Value::Object(members) => {
            members.iter().for_each(|(name, member)| measure(member, name, scales));
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

struct Walk<'v> {
    scales: BTreeMap<&'v str, f64>,
    largest: f64,
    miss: Option<String>,
    tolerance: f64,
}

impl Walk<'_> {
    fn value(&mut self, place: &str, output: &str, expected: &Value, got: &Value) {
        match (expected, got) {
            (Value::Number(a), Value::Number(b)) => {
                let [x, y] = [a, b].map(|number| number.as_f64().unwrap_or(f64::INFINITY));
                let scale = self.scales.get(output).copied().unwrap_or_default();
                // Whole numbers may be apart where floats cannot tell them apart.
                let apart = match (a.as_i128(), b.as_i128()) {
                    (Some(a), Some(b)) => a.abs_diff(b) as f64,
                    _ if x == y => 0.0,
                    _ => (x - y).abs(),
                };
                let difference = if apart == 0.0 { 0.0 } else { apart / scale };
                // As whole numbers, where floats would be the same.
                let is_whole = x == y;
                self.found(difference, || match is_whole {
                    true => format!("{place} is {b}, expected {a}"),
                    false => format!("{place} is {y}, expected {x}"),
                });
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                for (nth, (a, b)) in a.iter().zip(b).enumerate() {
                    self.value(&format!("{place}[{nth}]"), output, a, b);
                }
            }
            (Value::Array(a), Value::Array(b)) => self.found(f64::INFINITY, || {
                format!("{place} has {} items, expected {}", b.len(), a.len())
            }),
            (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
                for (name, a) in a {
                    let place = format!("{place}.{name}");
                    match b.get(name) {
                        Some(b) => self.value(&place, name, a, b),
                        None => self.found(f64::INFINITY, || format!("{place} is not there")),
                    }
                }
            }
            (a, b) if a == b => {}
            (a, b) => self
                .found(f64::INFINITY, || format!("{place} is {}, expected {}", kind(b), kind(a))),
        }
    }

    fn found(&mut self, difference: f64, what: impl Fn() -> String) {
        // The first of those that are equally far off.
        if difference > self.tolerance && (difference > self.largest || self.miss.is_none()) {
            self.miss = Some(what());
        }
        self.largest = self.largest.max(difference);
    }
}

/// A value as messages call it: whole where it is short.
fn kind(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("a list of {}", items.len()),
        Value::Object(members) => format!("an object of {}", members.len()),
        Value::String(text) if text.chars().count() > 40 => "another text".to_owned(),
        short => short.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(expected: &Value, got: &Value, largest: f64, miss: Option<&str>) {
        let found = distance("p", expected, got, 1e-2);
        assert_eq!(found.miss.as_deref(), miss, "{expected} {got}");
        assert!((found.largest - largest).abs() < 1e-12 || found.largest == largest, "{found:?}");
    }

    #[test]
    fn numbers_are_measured_by_the_largest_of_their_output() {
        check(&json!([0.0, 100.0]), &json!([1.0, 100.0]), 0.01, None);
        check(&json!([0.0, 100.0]), &json!([2.0, 103]), 0.03, Some("p[1] is 103, expected 100"));
        check(
            &json!({"a": 1.0, "b": 100.0}),
            &json!({"a": 2.0, "b": 100.0}),
            1.0,
            Some("p.a is 2, expected 1"),
        );
        check(&json!([{"a": 1}, {"a": 100}]), &json!([{"a": 2}, {"a": 100}]), 0.01, None);
        check(&json!(0), &json!(0.0), 0.0, None);
        check(&json!([null, 1]), &json!([null, 1]), 0.0, None);
    }

    #[test]
    fn values_of_another_kind_are_as_far_off_as_can_be() {
        let far = f64::INFINITY;
        check(&json!([1, 2]), &json!([1]), far, Some("p has 1 items, expected 2"));
        check(&json!({"a": 1}), &json!({"b": 1}), far, Some("p.a is not there"));
        check(
            &json!({"a": 1}),
            &json!({"a": 1, "b": 1}),
            far,
            Some("p is an object of 2, expected an object of 1"),
        );
        check(&json!([1]), &json!([null]), far, Some("p[0] is null, expected 1"));
        check(&json!("a"), &json!("b"), far, Some("p is \"b\", expected \"a\""));
        check(&json!([0]), &json!([1e-9]), far, Some("p[0] is 0.000000001, expected 0"));
    }
}
