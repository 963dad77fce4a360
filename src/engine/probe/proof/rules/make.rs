//! New tensors: constants, which have rows where their shape counts them.

use super::split::{filled, places};
use super::{Call, RuleResult, Value, kinds, one};
use crate::engine::probe::proof::reason::{Doubt, Reason};
use crate::engine::probe::proof::size::Size;
use crate::engine::probe::proof::value::{Kind, Tensor};

pub(super) const OPERATORS: &[&str] = &[
    "arange",
    "empty",
    "empty_like",
    "eye",
    "full",
    "hann_window",
    "linspace",
    "logspace",
    "new_empty",
    "new_full",
    "new_ones",
    "new_zeros",
    "ones",
    "scalar_tensor",
    "tensor",
    "zeros",
    "as_tensor",
    "_efficientzerotensor",
    "tril_indices",
    "triu_indices",
];

pub(super) fn apply(call: &mut Call<'_, '_>) -> RuleResult {
    match call.name {
        "zeros" | "ones" | "full" | "new_zeros" | "new_ones" | "new_full" => {
            // Of a tensor beside it, only the datatype and the device count.
            call.asked_for_all();
            if let Some(reason) = call.number("fill_value").ok().and_then(|it| it.hangs()) {
                return Err(reason);
            }
            let sizes = call.sizes("size")?;
            let like = Tensor::free(None, kind(call));
            one(filled(call, sizes, like)?)
        }
        "empty" | "empty_like" | "new_empty" => {
            Err(Reason::unknown(format!("{} holds what lay in memory", call.node.kind)))
        }
        "arange" => arange(call),
        "eye" | "tril_indices" | "triu_indices" | "linspace" | "logspace" | "hann_window" => {
            counted(call)
        }
        "tensor" | "as_tensor" | "scalar_tensor" => held(call),
        _ => Err(call.unclear("its shape")),
    }
}

/// The datatype that is asked for, else that of numbers.
fn kind(call: &Call<'_, '_>) -> Kind {
    match call.find("dtype") {
        None | Some(Value::None) if call.name == "full" || call.name.starts_with("new_") => {
            Kind::Unknown
        }
        None | Some(Value::None) => Kind::Float,
        Some(_) => call.number("dtype").map_or(Kind::Unknown, |dtype| kinds::of_code(&dtype)),
    }
}

/// The numbers up to an end. Up to the number of rows they are the rows' places.
fn arange(call: &mut Call<'_, '_>) -> RuleResult {
    let end = call.find("end").cloned().ok_or_else(|| call.unclear("its end"))?;
    let start = match call.find("start") {
        Some(start) => call.size(&start.clone())?,
        None => Size::of(0),
    };
    let step = match call.find("step") {
        Some(step) => call.size(&step.clone())?,
        None => Size::of(1),
    };
    if let Value::Number(number) = &end
        && number.as_size().is_none()
    {
        // A bound that is no whole number, such as 2.5.
        if let Some(reason) = number.hangs() {
            return Err(reason);
        }
        return one(Tensor::free(Some(vec![Size::unknown()]), Kind::Unknown));
    }
    let end = call.size(&end)?;
    let is_plain = start.is(0) && step.is(1);
    if end.has_rows() || start.has_rows() || step.has_rows() {
        let is_whole =
            matches!(call.find("dtype"), None | Some(Value::None)) || call.int("dtype") == Ok(4);
        return match is_plain && end == Size::rows() && is_whole {
            true => one(places()),
            false => Err(Reason::new(Doubt::Counted, "arange counts the rows")),
        };
    }
    let size = match (start.value(), end.value(), step.value()) {
        _ if is_plain => end,
        (Some(start), Some(end), Some(step)) if step > 0 => {
            let span = end.saturating_sub(start).max(0);
            Size::of(span.saturating_add(step - 1) / step)
        }
        _ => Size::unknown(),
    };
    let kind = match call.find("dtype") {
        None | Some(Value::None) => match call.arguments.iter().take(3).all(is_whole) {
            true => Kind::Whole,
            false => Kind::Unknown,
        },
        Some(_) => kind(call),
    };
    one(Tensor::free(Some(vec![size]), kind))
}

/// Whether a bound is no float for certain; what is no bound does not matter.
fn is_whole(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_size().is_some(),
        Value::Tensor(_) | Value::Mixed(_) => false,
        _ => true,
    }
}

/// What is made of numbers that do not count rows.
fn counted(call: &mut Call<'_, '_>) -> RuleResult {
    for value in &call.arguments {
        if let Value::Number(number) = value
            && let Some(reason) = number.hangs()
        {
            return Err(reason);
        }
    }
    let size = |name: &str| match call.find(name) {
        Some(value) => call.size(value).ok(),
        None => None,
    };
    let dims = match call.name {
        "eye" => {
            let n = size("n").ok_or_else(|| call.unclear("its size"))?;
            vec![n.clone(), size("m").unwrap_or(n)]
        }
        "linspace" | "logspace" => vec![size("steps").unwrap_or_else(Size::unknown)],
        "hann_window" => vec![size("window_length").unwrap_or_else(Size::unknown)],
        _ => vec![Size::of(2), Size::unknown()],
    };
    one(Tensor::free(Some(dims), Kind::Unknown))
}

/// A tensor made of numbers of the program. What another datatype makes of them is not followed.
fn held(call: &mut Call<'_, '_>) -> RuleResult {
    let name = ["data", "t", "s"].into_iter().find(|name| call.find(name).is_some());
    let data = name.and_then(|name| call.find(name)).cloned();
    let own = matches!(call.find("dtype"), None | Some(Value::None));
    let kind = |of: Kind| if own { of } else { kind(call) };
    match data {
        // Whatever the number, it is a float where no datatype is asked for.
        Some(Value::Number(number)) if call.name == "scalar_tensor" => match number.hangs() {
            Some(reason) => Err(reason),
            None => one(Tensor::free(Some(Vec::new()), kind(Kind::Float))),
        },
        Some(Value::Number(number)) => match (own && number.as_size().is_some(), number.hangs()) {
            (true, _) => one(Tensor::number(number)),
            (false, Some(reason)) => Err(reason),
            (false, None) => one(Tensor::free(Some(Vec::new()), kind(Tensor::number(number).kind))),
        },
        Some(Value::List(_)) => {
            let values = call.elements(name.unwrap_or_default())?;
            let is_free =
                |it: &Value| matches!(it, Value::Number(number) if number.hangs().is_none());
            if !values.iter().all(is_free) {
                return Err(call.unclear("what it holds"));
            }
            let of = match values.first() {
                Some(Value::Number(number)) => Tensor::number(number.clone()).kind,
                _ => Kind::Unknown,
            };
            one(Tensor::free(Some(vec![Size::of(values.len() as i64)]), kind(of)))
        }
        _ => Err(call.unclear("what it holds")),
    }
}
