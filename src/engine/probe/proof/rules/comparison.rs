//! Comparisons of lists, texts and other things that are no numbers.

use super::{Call, RuleResult, Value};
use crate::engine::probe::proof::number::{Known, Number};
use crate::engine::probe::proof::reason::{Doubt, Reason};
use crate::engine::probe::proof::value::Elements;

/// `eq`, `ne` and `in` of two such things.
pub(super) fn compared(call: &mut Call<'_, '_>) -> Option<RuleResult> {
    let is_known = matches!(call.name, "eq" | "ne" | "__contains__");
    let [a, b] = &call.arguments[..] else { return None };
    if !is_known || matches!(a, Value::Tensor(_)) || matches!(b, Value::Tensor(_)) {
        return None;
    }
    if let Some(reason) = call.mixed(a).or_else(|| call.mixed(b)) {
        return Some(Ok(Value::Number(Number::tainted(reason))));
    }
    let is_free = call.is_free();
    let hangs = || {
        let text = "a comparison of lists or texts hangs on rows or on their number";
        Number::tainted(Reason::new(Doubt::Counted, text))
    };
    let number = match (a, b) {
        (Value::Text(Some(a)), Value::Text(Some(b))) if call.name != "__contains__" => {
            Number::truth((a == b) == (call.name == "eq"))
        }
        (Value::List(_), Value::Number(_) | Value::Text(_)) if call.name == "__contains__" => {
            contains(call, a, b)
        }
        (Value::List(a), Value::List(b)) => lists(call, *a, *b),
        _ if is_free => Number::unknown(),
        _ => return Some(Err(call.unclear("a comparison"))),
    };
    // What is not decided is free only if everything in it is.
    let is_decided = number.known != Known::Unknown || number.taint.is_some();
    Some(Ok(Value::Number(if is_decided || is_free { number } else { hangs() })))
}

fn contains(call: &Call<'_, '_>, list: &Value, wanted: &Value) -> Number {
    let Value::List(place) = list else { return Number::unknown() };
    let elements = match call.walk.heap.list(*place) {
        Ok(Elements::Known(values)) => values,
        _ => return Number::unknown(),
    };
    let same = |element: &Value| match (element, wanted) {
        (Value::Number(a), Value::Number(b)) => a.as_int().zip(b.as_int()).map(|(a, b)| a == b),
        (Value::Text(Some(a)), Value::Text(Some(b))) => Some(a == b),
        _ => None,
    };
    let all: Option<Vec<bool>> = elements.iter().map(same).collect();
    let hangs = |value: &Value| matches!(value, Value::Number(number) if number.hangs().is_some());
    match all {
        Some(all) => Number::truth(all.contains(&true)),
        None if hangs(wanted) || elements.iter().any(hangs) => {
            Number::tainted(Reason::new(Doubt::Counted, "a comparison hangs on the number of rows"))
        }
        None => Number::unknown(),
    }
}

fn lists(call: &Call<'_, '_>, a: u64, b: u64) -> Number {
    let known = |place| match call.walk.heap.list(place) {
        Ok(Elements::Known(values)) => Some(values),
        _ => None,
    };
    let (Some(a), Some(b)) = (known(a), known(b)) else { return Number::unknown() };
    let mut equal = Some(a.len() == b.len());
    let mut hangs = None;
    for (a, b) in a.iter().zip(b) {
        let (Value::Number(a), Value::Number(b)) = (a, b) else {
            equal = equal.filter(|equal| !equal);
            continue;
        };
        hangs = hangs.or_else(|| a.hangs()).or_else(|| b.hangs());
        match (a.as_size(), b.as_size()) {
            (Some(a), Some(b)) if a.same(b) => {}
            (Some(a), Some(b)) if a.value().is_some() && b.value().is_some() => equal = Some(false),
            _ => equal = equal.filter(|equal| !equal),
        }
    }
    match (equal, hangs) {
        (Some(equal), _) => Number::truth(equal == (call.name == "eq")),
        (None, Some(reason)) => Number::tainted(reason),
        (None, None) => Number::unknown(),
    }
}
