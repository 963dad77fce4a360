//! Numbers of the program: sizes of tensors, what is computed from them, and what is read out of a tensor.

use super::{Call, RuleResult, Value, arithmetic, comparison};
use crate::engine::probe::proof::number::Number;
use crate::engine::probe::proof::reason::{Doubt, Reason};
use crate::engine::probe::proof::size::Size;
use crate::engine::probe::proof::value::{Elements, Kind, State, Tensor, wrapped};

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

pub(super) fn apply(call: &mut Call<'_, '_>) -> Option<RuleResult> {
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
    let numbers: Option<Vec<Number>> = call.arguments.iter().map(as_number).collect();
    if let Some(numbers) = numbers
        && !numbers.is_empty()
        && arithmetic::COMPUTED.contains(&call.name)
    {
        if call.node.types.first().is_some_and(|ty| ty == "Tensor") {
            return arithmetic::held(call, &numbers);
        }
        return Some(Ok(Value::Number(arithmetic::computed(call, &numbers))));
    }
    if READ.contains(&call.name) && call.arguments.len() == 1 {
        return Some(read(call));
    }
    comparison::compared(call)
}

/// A number, or that which a tensor holds.
fn as_number(value: &Value) -> Option<Number> {
    match value {
        Value::Number(number) => Some(number.clone()),
        Value::Tensor(Tensor { state: State::Number(number), .. }) => Some(number.clone()),
        _ => None,
    }
}

/// A number out of a tensor: its values decide it.
fn read(call: &mut Call<'_, '_>) -> RuleResult {
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
fn size(call: &mut Call<'_, '_>) -> RuleResult {
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
        Some(_) if tensor.dims.is_none() && tensor.is_free() => match call.number("dim")?.hangs() {
            Some(reason) => Err(reason),
            None => Ok(Value::Number(Number::unknown())),
        },
        Some(_) => {
            let at = tensor.dim(call.int("dim")?)?;
            Ok(number(&tensor.sizes()?[at]))
        }
    }
}

fn numel(call: &mut Call<'_, '_>) -> RuleResult {
    let tensor = call.first()?;
    match &tensor.dims {
        Some(dims) if !tensor.drops() => Ok(Value::Number(Number::size(Size::product(dims)))),
        _ if tensor.is_free() => Ok(Value::Number(Number::unknown())),
        _ => Err(call.unclear("the rank of its input")),
    }
}

fn len(call: &mut Call<'_, '_>) -> Option<RuleResult> {
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
        // Of bytes, as libtorch counts them.
        Value::Text(Some(text)) => Some(Number::int(text.len() as i64)),
        Value::Text(None) | Value::Thing => Some(Number::unknown()),
        _ => None,
    };
    Some(number.map(Value::Number).ok_or_else(|| call.unclear("a length")))
}

/// Whether a value is None; of two other things it is not known whether they are the same.
fn is_none(call: &Call<'_, '_>) -> Number {
    if let Some(reason) = call.arguments.iter().find_map(|it| it.mixed()) {
        return Number::tainted(reason.clone());
    }
    let nones = call.arguments.iter().filter(|it| **it == Value::None).count();
    let unsure = call.arguments.iter().any(|it| matches!(it, Value::Thing | Value::Mixed(_)));
    let same = match (nones, call.arguments.len()) {
        // One value under two names; a number that is none is not itself.
        (_, 2)
            if !matches!(call.arguments[0], Value::Number(_) | Value::Thing)
                && call.walk.origin(call.node.inputs[0])
                    == call.walk.origin(call.node.inputs[1]) =>
        {
            Some(true)
        }
        (2, 2) => Some(true),
        (1, 2) if !unsure => Some(false),
        _ => None,
    };
    match same {
        Some(same) => Number::truth(same == (call.name == "__is__")),
        None if call.is_free() => Number::unknown(),
        None => {
            let text = "whether two things are one may hang on the number of rows";
            Number::tainted(Reason::new(Doubt::Counted, text))
        }
    }
}

/// What a tensor tells of itself. A value of which nothing is promised still has a rank that rows do not decide; but
/// that rank is not known.
fn asked(call: &mut Call<'_, '_>) -> RuleResult {
    let others = call.arguments.get(1..).unwrap_or_default();
    if !others.iter().all(|it| call.is_same_for_all(it)) {
        let text = format!("{} compares with what hangs on rows", call.node.kind);
        return Ok(Value::Number(Number::tainted(Reason::new(Doubt::Counted, text))));
    }
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

/// An index into a list of known length.
pub(super) fn place_of(number: &Number, length: usize) -> Option<usize> {
    wrapped(number.as_int()?, length)
}
