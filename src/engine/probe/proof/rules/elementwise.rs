//! Operators whose output at a place hangs on their inputs at that place alone.

use super::broadcast::together;
use super::{Call, RuleResult, Value, kinds, one};
use crate::engine::probe::proof::reason::Reason;
use crate::engine::probe::proof::value::{Axis, Kind, State, Tensor};

/// One tensor, and what is the same for all.
pub(super) const UNARY: &[&str] = &[
    "abs",
    "absolute",
    "acos",
    "acosh",
    "alias",
    "angle",
    "arccos",
    "arcsin",
    "arctan",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "bitwise_not",
    "ceil",
    "celu",
    "clip",
    "clone",
    "contiguous",
    "cos",
    "cosh",
    "cpu",
    "cuda",
    "deg2rad",
    "dequantize",
    "detach",
    "digamma",
    "elu",
    "erf",
    "erfc",
    "erfinv",
    "exp",
    "exp2",
    "expm1",
    "fill",
    "fix",
    "float",
    "floor",
    "frac",
    "full_like",
    "gelu",
    "half",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "i0",
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "leaky_relu",
    "lgamma",
    "log",
    "log10",
    "log1p",
    "log2",
    "log_sigmoid",
    "logical_not",
    "logit",
    "mish",
    "nan_to_num",
    "neg",
    "negative",
    "ones_like",
    "positive",
    "quantize_per_tensor",
    "rad2deg",
    "reciprocal",
    "relu",
    "relu6",
    "round",
    "rsqrt",
    "selu",
    "sgn",
    "sigmoid",
    "sign",
    "signbit",
    "silu",
    "sin",
    "sinc",
    "sinh",
    "softplus",
    "softshrink",
    "special_expit",
    "sqrt",
    "square",
    "tan",
    "tanh",
    "tanhshrink",
    "threshold",
    "to",
    "trunc",
    "type_as",
    "zero",
    "zeros_like",
    "_cast_Float",
    "_cast_Long",
    "bool",
    "double",
    "int",
    "long",
    "autocast_to_full_precision",
    "autocast_to_reduced_precision",
];

/// Several tensors whose elements meet place by place.
pub(super) const BINARY: &[&str] = &[
    "add",
    "addcdiv",
    "addcmul",
    "arctan2",
    "atan2",
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "clamp",
    "clamp_max",
    "clamp_min",
    "copy",
    "copysign",
    "div",
    "divide",
    "eq",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "heaviside",
    "hypot",
    "isclose",
    "le",
    "lerp",
    "less",
    "less_equal",
    "logaddexp",
    "logaddexp2",
    "logical_and",
    "logical_or",
    "logical_xor",
    "lt",
    "masked_fill",
    "maximum",
    "minimum",
    "mul",
    "multiply",
    "ne",
    "not_equal",
    "nextafter",
    "pow",
    "remainder",
    "rsub",
    "sub",
    "subtract",
    "true_divide",
    "where",
    "xlogy",
    "__and__",
    "__or__",
    "__xor__",
    "__lshift__",
    "__rshift__",
    "sigmoid_backward",
    "expand_as",
    "prelu",
    "_prelu_kernel",
    "float_power",
    "bucketize",
    "searchsorted",
    "isin",
];

/// Names of those that answer with truth values.
pub(super) const TRUTH: &[&str] = &[
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "not_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
    "logical_not",
    "isnan",
    "isinf",
    "isfinite",
    "isclose",
    "isneginf",
    "isposinf",
    "signbit",
    "isin",
    "bool",
];

pub(super) fn unary(call: &mut Call<'_, '_>) -> RuleResult {
    let tensor = call.first()?;
    // Other numbers of the call are the same for every batch, or the answer hangs on them.
    let others = call.arguments.get(1..).unwrap_or_default();
    if let Some(reason) = others.iter().find_map(counted) {
        return Err(reason);
    }
    let reads_type_alone = matches!(call.name, "to" | "type_as" | "expand_as");
    let is_bound = |it: &Value| matches!(it, Value::Tensor(tensor) if !tensor.is_free());
    if !reads_type_alone && others.iter().any(is_bound) {
        return Err(call.unclear("an argument that hangs on rows"));
    }
    let broadcasts = |it: &Value| matches!(it, Value::Tensor(tensor) if tensor.rank() != Ok(0));
    if !reads_type_alone && others.iter().any(broadcasts) {
        return Err(call.unclear("an argument with a shape of its own"));
    }
    call.asked_for_all();
    if matches!(call.name, "full_like" | "ones_like" | "zeros_like" | "fill" | "zero") {
        let kind = match call.find("dtype") {
            None | Some(Value::None) => tensor.kind,
            Some(Value::Number(number)) => kinds::of_code(number),
            Some(_) => Kind::Unknown,
        };
        return one(Tensor { state: filled(&tensor), ..tensor.clone() }.of(kind));
    }
    let keeps_numbers = match call.name {
        "contiguous" | "clone" | "detach" | "alias" | "cpu" => true,
        // Only in numbers of 64 bits they are surely the same.
        "to" => {
            matches!(call.find("dtype"), Some(Value::Number(number)) if number.as_int() == Some(4))
        }
        _ => false,
    };
    let state = match &tensor.state {
        State::Places(_) if !keeps_numbers => {
            return Err(call.meets("computes with the places of rows"));
        }
        State::Number(number) if !keeps_numbers => match number.hangs() {
            Some(reason) => return Err(reason),
            None => State::Free,
        },
        state => state.clone(),
    };
    let is_expanded = tensor.is_expanded && call.name != "clone";
    one(Tensor { state, is_expanded, ..tensor })
}

/// The same value everywhere: what hung on rows no longer does, but there still is a row for each.
fn filled(tensor: &Tensor) -> State {
    match &tensor.state {
        State::Places(at) => State::Rows(Axis::plain(*at)),
        State::Number(_) => State::Free,
        state => state.clone(),
    }
}

fn counted(value: &Value) -> Option<Reason> {
    match value {
        Value::Number(number) => number.hangs(),
        Value::Tensor(Tensor { state: State::Number(number), .. }) => number.hangs(),
        _ => None,
    }
}

pub(super) fn binary(call: &mut Call<'_, '_>) -> RuleResult {
    if call.name == "prelu" {
        return prelu(call);
    }
    if matches!(call.name, "bucketize" | "searchsorted" | "isin") {
        return looked_up(call);
    }
    let mut operands = Vec::new();
    call.asked_for_all();
    // A tensor without dimensions has its say in the datatype beside another such, and none beside one with dimensions.
    let is_lone = |it: &Value| matches!(it, Value::Tensor(tensor) if tensor.is_free());
    if call.has_squeezed() && call.arguments.iter().any(is_lone) {
        return Err(Reason::unknown(
            "a squeezed tensor meets another, and one row has another shape than two",
        ));
    }
    for value in &call.arguments {
        match value {
            Value::Tensor(tensor) => operands.push(tensor.clone()),
            Value::Number(number) => operands.push(Tensor::number(number.clone())),
            Value::None | Value::Text(_) => {}
            _ => return Err(call.unclear("an argument")),
        }
    }
    let mut result: Option<Tensor> = None;
    for operand in operands {
        result = Some(match result {
            None => operand,
            Some(so_far) => together(call, &so_far, &operand)?,
        });
    }
    let result = result.ok_or_else(|| call.unclear("its first argument"))?;
    if let State::Number(number) = &result.state {
        return one(Tensor::number(number.clone()));
    }
    let is_expanded = result.is_expanded || call.name == "expand_as";
    one(Tensor { is_expanded, ..result })
}

/// A slope for all, or one for each channel, which is dimension 1.
fn prelu(call: &mut Call<'_, '_>) -> RuleResult {
    let (input, weight) = (call.first()?, call.tensor("weight")?);
    if !weight.is_free() {
        return Err(call.unclear("its weight"));
    }
    let is_single = weight.sizes()?.iter().all(|size| size.is(1));
    if weight.rank()? > 1 {
        return Err(call.unclear("the shape of its weight"));
    }
    match input.axis() {
        Some(1) if !is_single => Err(call.meets("has a slope for each row")),
        _ if input.drops() => Err(call.unclear("the rank of its input")),
        _ => one(input),
    }
}

/// Each element is looked for in what is the same for every batch.
fn looked_up(call: &mut Call<'_, '_>) -> RuleResult {
    let (values, table) = match call.name {
        "bucketize" => ("self", "boundaries"),
        "searchsorted" => ("self", "sorted_sequence"),
        _ => ("elements", "test_elements"),
    };
    let values = call.tensor(values)?;
    let table = call.tensor(table)?;
    if !table.is_free() {
        return Err(call.meets("looks rows up among rows"));
    }
    if call.name == "searchsorted" && table.rank()? != 1 {
        return Err(call.unclear("its table"));
    }
    if matches!(values.state, State::Places(_)) {
        return Err(call.meets("computes with the places of rows"));
    }
    if call.find("assume_unique").is_some() && call.flag("assume_unique")? {
        return Err(call.meets("looks rows up among rows"));
    }
    if !matches!(call.find("sorter"), None | Some(Value::None)) {
        return Err(call.unclear("the order of its table"));
    }
    let kind = if call.name == "isin" { Kind::Truth } else { Kind::Whole };
    one(values.of(kind))
}
