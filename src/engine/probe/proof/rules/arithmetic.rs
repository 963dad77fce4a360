//! Arithmetic of numbers: exact where sizes allow it, and else no more than whether it hangs on the rows.

use super::{Call, RuleResult, Value};
use crate::engine::probe::proof::number::{Known, Number};
use crate::engine::probe::proof::size::Size;
use crate::engine::probe::proof::value::{Kind, Tensor};

/// What computes numbers from numbers.
pub(super) const COMPUTED: &[&str] = &[
    "add",
    "sub",
    "mul",
    "div",
    "floordiv",
    "floor_divide",
    "remainder",
    "neg",
    "pow",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "min",
    "max",
    "__and__",
    "__or__",
    "__xor__",
    "__not__",
    "__lshift__",
    "__rshift__",
    "Int",
    "Float",
    "Bool",
    "ceil",
    "floor",
    "round",
    "sqrt",
    "abs",
    "log",
    "exp",
    "fmod",
    "isnan",
    "isfinite",
    "isinf",
    "trunc",
    "rsub",
    "true_divide",
    "ScalarImplicit",
    "__is__",
    "__isnot__",
    "__range_length",
    "__derive_index",
    "log2",
    "log10",
    "sin",
    "cos",
    "tanh",
    "mod",
    "bitwise_and",
    "__contains__",
    "NumToTensor",
    "IntImplicit",
    "FloatImplicit",
    "logical_and",
    "logical_or",
    "logical_not",
    "mathremainder",
    "item",
    "detach",
    "divmod",
    "gcd",
    "factorial",
];

/// Arithmetic of tensors that hold one whole number each, as traces do with sizes. What other datatypes make of a number is
/// not followed.
pub(super) fn held(call: &mut Call<'_, '_>, numbers: &[Number]) -> Option<RuleResult> {
    let is_tensor = |it: &Value| matches!(it, Value::Tensor(_));
    let is_whole = |number: &Number| {
        number.as_size().is_some_and(|size| size.value().is_none_or(|value| value.abs() < 1 << 31))
    };
    let is_plain = matches!(
        call.name,
        "add" | "sub" | "mul" | "floor_divide" | "remainder" | "neg" | "detach"
    );
    // `alpha`, by which the second is multiplied.
    let is_single = numbers.get(2).is_none_or(|alpha| alpha.as_int() == Some(1));
    let are_plain =
        call.arguments.first().is_some_and(is_tensor) && numbers.iter().all(is_whole) && is_single;
    if is_plain && are_plain {
        return Some(Ok(Value::Tensor(Tensor::number(computed(call, numbers)))));
    }
    // As any tensor: the same for every batch, or not.
    Some(match numbers.iter().find_map(Number::hangs) {
        Some(reason) => Err(reason),
        None => Ok(Value::Tensor(Tensor::free(Some(Vec::new()), Kind::Unknown))),
    })
}

/// Whole numbers below it are floats as well.
const EXACT: f64 = 9e15;

/// A number from numbers, exact where sizes allow it.
pub(super) fn computed(call: &mut Call<'_, '_>, numbers: &[Number]) -> Number {
    if let Some(reason) = numbers.iter().find_map(|it| it.taint.clone()) {
        return Number::tainted(reason);
    }
    let known = match (call.name, numbers) {
        (
            "Int" | "IntImplicit" | "ScalarImplicit" | "to" | "type_as" | "item" | "detach",
            [number, ..],
        ) => match &number.known {
            Known::Float(value) if matches!(call.name, "Int" | "IntImplicit") => {
                // Beyond what a float holds exactly, libtorch's conversion is its own.
                (value.abs() < EXACT).then(|| Known::Int(Size::of(*value as i64)))
            }
            Known::Bool(value) if call.name == "Int" => {
                Some(Known::Int(Size::of(i64::from(*value))))
            }
            known => Some(known.clone()),
        },
        ("Bool", [number]) => number.as_truth().map(Known::Bool),
        ("Float", [number]) => {
            number.as_int().map(|it| Known::Float(it as f64)).or(match number.known {
                Known::Float(value) => Some(Known::Float(value)),
                _ => None,
            })
        }
        ("__not__" | "logical_not", [number]) => number.as_truth().map(|it| Known::Bool(!it)),
        ("neg", [number]) => number.as_size().map(|it| Known::Int(it.times(&Size::of(-1)))),
        ("__range_length", [low, high, step]) => range(low, high, step),
        (_, [a, b] | [a, b, _]) => pair(call, a, b),
        _ => None,
    };
    // `alpha`, by which the second is multiplied, and whatever else has a third number.
    let is_single = numbers.get(2).is_none_or(|third| third.as_int() == Some(1));
    let known = known.filter(|_| is_single || call.name == "__range_length");
    // libtorch's own types say which overload it is.
    let ty = call.node.types.first().map(String::as_str);
    let is_of_type = |known: &Known| match (known, ty) {
        (_, None | Some("Tensor" | "Scalar" | "number")) => true,
        (known, Some(ty)) => {
            matches!(
                (known, ty),
                (Known::Int(_), "int") | (Known::Float(_), "float") | (Known::Bool(_), "bool")
            )
        }
    };
    let known = known.filter(is_of_type);
    match known {
        Some(known) => Number::new(known),
        None => match numbers.iter().find_map(Number::hangs) {
            Some(reason) => Number::tainted(reason),
            None => Number::unknown(),
        },
    }
}

fn range(low: &Number, high: &Number, step: &Number) -> Option<Known> {
    let (low, high, step) = (low.as_int()?, high.as_int()?, step.as_int()?);
    let span = high.checked_sub(low)?.max(0).checked_add(step.checked_sub(1)?)?;
    (step > 0).then(|| Known::Int(Size::of(span / step)))
}

fn pair(call: &mut Call<'_, '_>, a: &Number, b: &Number) -> Option<Known> {
    let floats = || {
        let float = |number: &Number| match &number.known {
            Known::Float(value) => Some(*value),
            Known::Int(size) => size.value().map(|it| it as f64),
            _ => None,
        };
        float(a).zip(float(b))
    };
    if let (Some(a), Some(b)) = (a.as_size(), b.as_size()) {
        return sizes(call, a, b);
    }
    if let (Known::Bool(a), Known::Bool(b)) = (&a.known, &b.known)
        && matches!(
            call.name,
            "__and__" | "__or__" | "__xor__" | "eq" | "ne" | "logical_and" | "logical_or"
        )
    {
        let (a, b) = (*a, *b);
        return Some(Known::Bool(match call.name {
            "__and__" | "logical_and" => a && b,
            "__or__" | "logical_or" => a || b,
            "eq" => a == b,
            _ => a != b,
        }));
    }
    let (a, b) = floats()?;
    Some(match call.name {
        "add" => Known::Float(a + b),
        "sub" => Known::Float(a - b),
        "mul" => Known::Float(a * b),
        "div" | "true_divide" => Known::Float(a / b),
        "eq" => Known::Bool(a == b),
        "ne" => Known::Bool(a != b),
        "lt" => Known::Bool(a < b),
        "le" => Known::Bool(a <= b),
        "gt" => Known::Bool(a > b),
        "ge" => Known::Bool(a >= b),
        _ => return None,
    })
}

fn sizes(call: &mut Call<'_, '_>, a: &Size, b: &Size) -> Option<Known> {
    let minus = b.times(&Size::of(-1));
    let symbols = &mut call.walk.symbols;
    if let "eq" | "ne" | "lt" | "le" | "gt" | "ge" = call.name {
        return ordered(call, a, b);
    }
    let size = match call.name {
        "add" => symbols.plus(a, b)?,
        "sub" => symbols.plus(a, &minus)?,
        "rsub" => symbols.plus(b, &a.times(&Size::of(-1)))?,
        "mul" if a.is_small() && b.is_small() => a.times(b),
        "div" | "true_divide" => {
            // A quotient of whole numbers is a float for libtorch.
            return a.value().zip(b.value()).map(|(a, b)| Known::Float(a as f64 / b as f64));
        }
        "floordiv" | "floor_divide" => match (a.value(), b.value(), a.over(b)) {
            (_, _, Some(quotient)) if a.is_small() || a.value().is_some() => quotient,
            (Some(a), Some(b), _) if b > 0 => Size::of(a.div_euclid(b)),
            _ => symbols.function("floordiv", &[a.clone(), b.clone()])?,
        },
        "remainder" | "mod" => match (a.value(), b.value(), a.over(b)) {
            (_, _, Some(_)) if a.is_small() || a.value().is_some() => Size::of(0),
            (Some(a), Some(b), _) if b > 0 => Size::of(a.rem_euclid(b)),
            _ => symbols.function("remainder", &[a.clone(), b.clone()])?,
        },
        "min" | "max" => match (a.value(), b.value()) {
            (Some(x), Some(y)) => Size::of(if call.name == "min" { x.min(y) } else { x.max(y) }),
            _ if a.same(b) => a.clone(),
            _ => symbols.function(call.name, &[a.clone(), b.clone()])?,
        },
        "__derive_index" => return None,
        "__and__" | "__or__" | "__xor__" | "__lshift__" | "__rshift__" => {
            let (x, y) = (a.value()?, b.value()?);
            Size::of(match call.name {
                "__and__" => x & y,
                "__or__" => x | y,
                "__xor__" => x ^ y,
                "__lshift__" => x.checked_shl(u32::try_from(y).ok()?)?,
                _ => x.checked_shr(u32::try_from(y).ok()?)?,
            })
        }
        _ => return None,
    };
    Some(Known::Int(size))
}

/// A comparison of sizes, where it comes out the same for every batch.
fn ordered(call: &Call<'_, '_>, a: &Size, b: &Size) -> Option<Known> {
    use std::cmp::Ordering;
    let symbols = &call.walk.symbols;
    // At least as much as its number, where all its symbols are at least one.
    let minimum = |size: &Size| symbols.is_positive(size).then(|| size.minimum());
    let order = match (a.value(), b.value()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ if a.same(b) => Some(Ordering::Equal),
        (None, Some(b)) if minimum(a).is_some_and(|it| it > b) => Some(Ordering::Greater),
        (Some(a), None) if minimum(b).is_some_and(|it| it > a) => Some(Ordering::Less),
        // At least one, which is all that some comparisons ask.
        (None, Some(b)) if minimum(a).is_some_and(|it| it >= b) => {
            return match call.name {
                "ge" => Some(Known::Bool(true)),
                "lt" => Some(Known::Bool(false)),
                _ => None,
            };
        }
        _ => None,
    };
    let order = order?;
    Some(Known::Bool(match call.name {
        "eq" => order.is_eq(),
        "ne" => order.is_ne(),
        "lt" => order.is_lt(),
        "le" => order.is_le(),
        "gt" => order.is_gt(),
        _ => order.is_ge(),
    }))
}
