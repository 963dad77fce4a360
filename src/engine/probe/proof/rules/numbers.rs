//! Numbers of the program: sizes of tensors, what is computed from them, and what is read out of a tensor.

use super::{Call, Outcome, Value};
use crate::engine::probe::proof::size::Size;
use crate::engine::probe::proof::value::{
    Doubt, Elements, Kind, Known, Number, Reason, State, Tensor, wrapped,
};

/// What tensors tell without their values, and what the program tells of itself.
const ASKED: &[&str] = &[
    "dim",
    "ndim",
    "ndimension",
    "dtype",
    "device",
    "layout",
    "is_cuda",
    "is_cpu",
    "is_floating_point",
    "is_complex",
    "is_sparse",
    "is_quantized",
    "is_mkldnn",
    "is_nested",
    "requires_grad",
    "element_size",
    "is_meta",
    "is_xla",
    "is_mps",
    "is_grad_enabled",
    "is_scripting",
    "is_autocast_enabled",
    "is_autocast_cpu_enabled",
    "get_device",
    "is_inference",
    "is_leaf",
    "itemsize",
    "autograd_enabled",
    "is_signed",
    "is_conj",
    "is_contiguous",
    "stride",
    "storage_offset",
    "nbytes",
    "is_set_to",
    "is_same_size",
    "is_shared",
    "is_pinned",
    "is_non_overlapping_and_dense",
    "type",
];

/// Of these, what the layout in memory decides, which is another for one row than for two.
const LAYOUT: &[&str] = &[
    "is_contiguous",
    "stride",
    "storage_offset",
    "nbytes",
    "is_set_to",
    "is_same_size",
    "is_non_overlapping_and_dense",
];

/// What takes a number out of a tensor.
const READ: &[&str] = &[
    "item",
    "Int",
    "Float",
    "Bool",
    "ScalarImplicit",
    "IntImplicit",
    "FloatImplicit",
    "is_nonzero",
    "Complex",
];

/// What computes numbers from numbers.
const COMPUTED: &[&str] = &[
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

pub(super) fn apply(call: &mut Call<'_, '_>) -> Option<Outcome> {
    match call.name {
        "size" | "sym_size" => return Some(size(call)),
        "numel" | "sym_numel" => return Some(numel(call)),
        "len" => return len(call),
        "NumToTensor" => {
            let Some(Value::Number(number)) = call.arguments.first() else { return None };
            return Some(match (number.as_size().is_some(), number.hangs()) {
                (true, _) => Ok(Value::Tensor(Tensor::number(number.clone()))),
                (false, Some(reason)) => Err(reason),
                (false, None) => Ok(Value::Tensor(Tensor::free(Some(Vec::new()), Kind::Unknown))),
            });
        }
        "__is__" | "__isnot__" => return Some(Ok(Value::Number(is_none(call)))),
        name if ASKED.contains(&name) => return Some(asked(call)),
        _ => {}
    }
    let are_stale = call.walk.are_numbers_stale;
    let numbers: Option<Vec<Number>> =
        call.arguments.iter().map(|it| as_number(it, are_stale)).collect();
    if let Some(numbers) = numbers
        && !numbers.is_empty()
        && COMPUTED.contains(&call.name)
    {
        if call.node.types.first().is_some_and(|ty| ty == "Tensor") {
            return held(call, &numbers);
        }
        return Some(Ok(Value::Number(computed(call, &numbers))));
    }
    if READ.contains(&call.name) && call.arguments.len() == 1 {
        return Some(read(call));
    }
    compared(call)
}

/// A number, or that which a tensor holds; where tensors of that kind were written in place, no longer known.
fn as_number(value: &Value, are_stale: bool) -> Option<Number> {
    match value {
        Value::Number(number) => Some(number.clone()),
        Value::Tensor(Tensor { state: State::Number(number), .. }) if are_stale => {
            Some(number.hangs().map_or_else(Number::unknown, Number::tainted))
        }
        Value::Tensor(Tensor { state: State::Number(number), .. }) => Some(number.clone()),
        _ => None,
    }
}

/// A number out of a tensor: its values decide it.
fn read(call: &mut Call<'_, '_>) -> Outcome {
    let Some(value) = call.arguments.first().cloned() else {
        return Err(call.unclear("its argument"));
    };
    let number = match value {
        Value::Tensor(tensor) if tensor.is_free() => Number::unknown(),
        Value::Number(number) => number,
        // The walk goes on: it may only decide whether to raise.
        Value::Tensor(_) | Value::Mixed(_) => Number::tainted(call.by_values()),
        Value::Text(_) | Value::None | Value::Thing => Number::unknown(),
        _ => return Err(call.unclear("its argument")),
    };
    Ok(Value::Number(number))
}

/// All sizes as a list, or one of them.
fn size(call: &mut Call<'_, '_>) -> Outcome {
    let tensor = match call.arguments.first() {
        Some(Value::Tensor(tensor)) => tensor.clone(),
        Some(Value::Mixed(reason)) => return Err(reason.clone()),
        _ => return Err(call.unclear("its argument")),
    };
    if let State::Mixed(reason) = &tensor.state {
        return Err(reason.clone());
    }
    if tensor.drops() {
        let text = "the shape of a squeezed tensor is asked for: one row has another than two";
        return Err(Reason::new(Doubt::Counted, text));
    }
    let number = |size: &Size| Value::Number(Number::size(size.clone()));
    match call.find("dim") {
        None => {
            let Some(dims) = &tensor.dims else {
                return Err(call.unclear("the rank of its input"));
            };
            let sizes = dims.iter().map(number).collect();
            Ok(crate::engine::probe::proof::walk::list(&mut call.walk.heap, call.node, sizes))
        }
        Some(_) if tensor.dims.is_none() && tensor.is_free() => {
            Ok(Value::Number(Number::unknown()))
        }
        Some(_) => {
            let at = tensor.dim(call.int("dim")?)?;
            Ok(number(&tensor.sizes()?[at]))
        }
    }
}

fn numel(call: &mut Call<'_, '_>) -> Outcome {
    let tensor = call.first()?;
    match &tensor.dims {
        Some(dims) if !tensor.drops() => Ok(Value::Number(Number::size(Size::product(dims)))),
        _ if tensor.is_free() => Ok(Value::Number(Number::unknown())),
        _ => Err(call.unclear("the rank of its input")),
    }
}

fn len(call: &mut Call<'_, '_>) -> Option<Outcome> {
    let number = match call.arguments.first()? {
        Value::Tensor(tensor) => match &tensor.state {
            State::Mixed(reason) => return Some(Err(reason.clone())),
            _ if tensor.drops() => return Some(Err(call.unclear("the rank of its input"))),
            _ => tensor
                .dims
                .as_ref()
                .and_then(|dims| dims.first())
                .map(|it| Number::size(it.clone())),
        },
        Value::List(place) => match call.walk.heap.list(*place) {
            Ok(Elements::Known(values)) => Some(Number::int(values.len() as i64)),
            Ok(Elements::Any(_)) => Some(Number::unknown()),
            Err(reason) => return Some(Err(reason)),
        },
        Value::Tuple(values) => Some(Number::int(values.len() as i64)),
        Value::Dict(place) => match call.walk.heap.dict(*place) {
            Ok(entries) => Some(Number::int(entries.len() as i64)),
            Err(reason) => return Some(Err(reason)),
        },
        Value::Text(Some(text)) => Some(Number::int(text.chars().count() as i64)),
        Value::Text(None) | Value::Thing => Some(Number::unknown()),
        _ => None,
    };
    Some(number.map(Value::Number).ok_or_else(|| call.unclear("a length")))
}

/// Whether a value is None; of two other things it is not known whether they are the same.
fn is_none(call: &Call<'_, '_>) -> Number {
    let nones = call.arguments.iter().filter(|it| **it == Value::None).count();
    let unsure = call.arguments.iter().any(|it| matches!(it, Value::Thing | Value::Mixed(_)));
    let same = match (nones, call.arguments.len()) {
        (2, 2) => Some(true),
        (1, 2) if !unsure => Some(false),
        _ => None,
    };
    match same {
        Some(same) => Number::truth(same == (call.name == "__is__")),
        None => Number::unknown(),
    }
}

/// What a tensor tells of itself. A value of which nothing is promised still has a rank that rows do not decide; but
/// that rank is not known.
fn asked(call: &mut Call<'_, '_>) -> Outcome {
    let Some(value) = call.arguments.first() else { return Ok(Value::Number(Number::unknown())) };
    let Value::Tensor(tensor) = value else {
        return match value {
            Value::Mixed(reason) => Ok(Value::Number(Number::tainted(reason.clone()))),
            _ => Ok(Value::Number(Number::unknown())),
        };
    };
    Ok(Value::Number(match call.name {
        "dim" | "ndim" | "ndimension" => match (&tensor.state, &tensor.dims) {
            (State::Mixed(reason), _) => Number::tainted(reason.clone()),
            (_, Some(_)) if tensor.drops() => {
                let text =
                    "the rank of a squeezed tensor is asked for: one row has another than two";
                Number::tainted(Reason::new(Doubt::Counted, text))
            }
            (_, Some(dims)) => Number::int(dims.len() as i64),
            (_, None) => Number::unknown(),
        },
        "is_nested" | "is_sparse" | "is_mkldnn" | "is_complex" | "is_meta" | "is_xla"
        | "is_mps" => Number::truth(false),
        "is_floating_point" => match tensor.kind {
            Kind::Float => Number::truth(true),
            Kind::Whole | Kind::Truth => Number::truth(false),
            Kind::Unknown => Number::unknown(),
        },
        name if LAYOUT.contains(&name) && !tensor.is_free() => {
            Number::tainted(Reason::new(Doubt::Counted, "the layout of a tensor is asked for"))
        }
        _ => Number::unknown(),
    }))
}

/// Arithmetic of tensors that hold one whole number each, as traces do with sizes. What other datatypes make of a number is
/// not followed.
fn held(call: &mut Call<'_, '_>, numbers: &[Number]) -> Option<Outcome> {
    let is_tensor = |it: &Value| matches!(it, Value::Tensor(_));
    let is_whole = |number: &Number| {
        number.as_size().is_some_and(|size| size.value().is_none_or(|value| value.abs() < 1 << 31))
    };
    let is_plain = matches!(
        call.name,
        "add" | "sub" | "mul" | "floor_divide" | "remainder" | "neg" | "detach"
    );
    let third = numbers.get(2).and_then(Number::as_int);
    let are_plain = call.arguments.first().is_some_and(is_tensor)
        && numbers.iter().all(is_whole)
        && third.is_none_or(|alpha| alpha == 1);
    if is_plain && are_plain {
        return Some(Ok(Value::Tensor(Tensor::number(computed(call, numbers)))));
    }
    // As any tensor: the same for every batch, or not.
    Some(match numbers.iter().find_map(Number::hangs) {
        Some(reason) => Err(reason),
        None => Ok(Value::Tensor(Tensor::free(Some(Vec::new()), Kind::Unknown))),
    })
}

/// A number from numbers, exact where sizes allow it.
fn computed(call: &mut Call<'_, '_>, numbers: &[Number]) -> Number {
    if let Some(reason) = numbers.iter().find_map(|it| it.taint.clone()) {
        return Number::tainted(reason);
    }
    let known = match (call.name, numbers) {
        (
            "Int" | "IntImplicit" | "ScalarImplicit" | "to" | "type_as" | "item" | "detach",
            [number, ..],
        ) => match &number.known {
            Known::Float(value) if matches!(call.name, "Int" | "IntImplicit") => {
                Some(Known::Int(Size::of(*value as i64)))
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
    let third = numbers.get(2).and_then(Number::as_int);
    let known = match (call.name, third) {
        // `alpha`, by which the second is multiplied.
        ("add" | "sub" | "rsub", Some(alpha)) if alpha != 1 => None,
        _ => known,
    };
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
        "pow" => Known::Float(a.powf(b)),
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
        "mul" => a.times(b),
        "div" | "true_divide" => {
            // A quotient of whole numbers is a float for libtorch.
            return a.value().zip(b.value()).map(|(a, b)| Known::Float(a as f64 / b as f64));
        }
        "floordiv" | "floor_divide" => match (a.value(), b.value(), a.over(b)) {
            (_, _, Some(quotient)) => quotient,
            (Some(a), Some(b), None) if b > 0 => Size::of(a.div_euclid(b)),
            _ => symbols.function("floordiv", &[a.clone(), b.clone()])?,
        },
        "remainder" | "mod" => match (a.value(), b.value(), a.over(b)) {
            (_, _, Some(_)) => Size::of(0),
            (Some(a), Some(b), None) if b > 0 => Size::of(a.rem_euclid(b)),
            _ => symbols.function("remainder", &[a.clone(), b.clone()])?,
        },
        "min" | "max" => match (a.value(), b.value()) {
            (Some(x), Some(y)) => Size::of(if call.name == "min" { x.min(y) } else { x.max(y) }),
            _ if a.same(b) => a.clone(),
            _ => symbols.function(call.name, &[a.clone(), b.clone()])?,
        },
        "pow" => {
            let (base, exponent) = (a.value()?, u32::try_from(b.value()?).ok()?);
            Size::of(base.checked_pow(exponent)?)
        }
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
    let least = |size: &Size| symbols.is_positive(size).then(|| size.least());
    let order = match (a.value(), b.value()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ if a.same(b) => Some(Ordering::Equal),
        (None, Some(b)) if least(a).is_some_and(|it| it > b) => Some(Ordering::Greater),
        (Some(a), None) if least(b).is_some_and(|it| it > a) => Some(Ordering::Less),
        // At least one, which is all that some comparisons ask.
        (None, Some(b)) if least(a).is_some_and(|it| it >= b) => {
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

/// Comparisons of lists, texts and other things.
fn compared(call: &mut Call<'_, '_>) -> Option<Outcome> {
    let is_known = matches!(call.name, "eq" | "ne" | "__contains__");
    let [a, b] = &call.arguments[..] else { return None };
    if !is_known || matches!(a, Value::Tensor(_)) || matches!(b, Value::Tensor(_)) {
        return None;
    }
    if let Some(reason) = call.mixed(a).or_else(|| call.mixed(b)) {
        return Some(Ok(Value::Number(Number::tainted(reason))));
    }
    let number = match (a, b) {
        (Value::Text(Some(a)), Value::Text(Some(b))) if call.name != "__contains__" => {
            Number::truth((a == b) == (call.name == "eq"))
        }
        (Value::List(_), Value::Number(_) | Value::Text(_)) if call.name == "__contains__" => {
            contains(call, a, b)
        }
        (Value::List(a), Value::List(b)) => lists(call, *a, *b),
        _ if call.is_free() => Number::unknown(),
        _ => return Some(Err(call.unclear("a comparison"))),
    };
    Some(Ok(Value::Number(number)))
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
            equal = None;
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

/// An index into a list of known length.
pub(super) fn place_of(number: &Number, length: usize) -> Option<usize> {
    wrapped(number.as_int()?, length)
}
