//! Which numbers an output holds: indices, a mask, or neither. Indexing and questions for datatypes hang on it, so only what
//! is certain is told; what the rules say of it counts for new tensors alone.

use super::{Call, Value, elementwise, make, shape, split};
use crate::engine::probe::proof::number::Number;
use crate::engine::probe::proof::value::{Kind, Tensor};

/// Operators that give places or counts.
const PLACES: &[&str] = &[
    "argmax",
    "argmin",
    "argsort",
    "bucketize",
    "count_nonzero",
    "long",
    "one_hot",
    "searchsorted",
    "_cast_Long",
];

/// Operators whose second output is the places of the first.
const PAIRED: &[&str] = &[
    "max",
    "min",
    "kthvalue",
    "median",
    "mode",
    "nanmedian",
    "cummax",
    "cummin",
    "sort",
    "topk",
    "max_pool1d_with_indices",
    "max_pool2d_with_indices",
    "max_pool3d_with_indices",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
];

/// Operators that give the datatype of their first argument, those of other shapes and of parts beside them.
const LIKE_FIRST: &[&str] = &[
    "alias",
    "amax",
    "amin",
    "clone",
    "constant_pad_nd",
    "contiguous",
    "copy",
    "cpu",
    "cuda",
    "cummax",
    "cummin",
    "detach",
    "expand_as",
    "fill",
    "flip",
    "fliplr",
    "flipud",
    "gather",
    "index",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_select",
    "kthvalue",
    "masked_fill",
    "median",
    "mode",
    "nanmedian",
    "pad",
    "roll",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "sort",
    "take_along_dim",
    "topk",
    "zero",
    "_index_put_impl",
];

/// Operators that keep whole numbers whole where all their operands are.
const ARITHMETIC: &[&str] = &[
    "abs",
    "absolute",
    "add",
    "bitwise_and",
    "bitwise_not",
    "bitwise_or",
    "bitwise_xor",
    "clamp",
    "clamp_max",
    "clamp_min",
    "floor_divide",
    "fmod",
    "max",
    "maximum",
    "min",
    "minimum",
    "mul",
    "multiply",
    "neg",
    "negative",
    "remainder",
    "rsub",
    "sub",
    "subtract",
    "__and__",
    "__or__",
    "__xor__",
];

/// Of these, the ones that keep truth values.
const LOGIC: &[&str] =
    &["bitwise_and", "bitwise_not", "bitwise_or", "bitwise_xor", "__and__", "__or__", "__xor__"];

/// Sums and products, which count truth values.
const SUMS: &[&str] = &["cumprod", "cumsum", "nansum", "prod", "sum"];

/// The outputs with the kinds that are certain.
pub(super) fn certain(call: &Call<'_, '_>, outputs: Vec<Value>) -> Vec<Value> {
    let kind = |place: usize, value: Value| match value {
        Value::Tensor(tensor) => Value::Tensor(Tensor { kind: of(call, place, &tensor), ..tensor }),
        value => value,
    };
    outputs.into_iter().enumerate().map(|(place, value)| kind(place, value)).collect()
}

fn of(call: &Call<'_, '_>, place: usize, ruled: &Tensor) -> Kind {
    let name = call.name;
    let operands = operands(call);
    let first = || operands.first().copied().unwrap_or(Kind::Unknown);
    if place > 0 {
        return if PAIRED.contains(&name) { Kind::Whole } else { all_float(&operands) };
    }
    if elementwise::TRUTH.contains(&name) {
        return Kind::Truth;
    }
    if make::OPERATORS.contains(&name) || matches!(name, "full_like" | "ones_like" | "zeros_like") {
        return ruled.kind;
    }
    if let Some(dtype) = call.find("dtype").filter(|it| **it != Value::None) {
        return match dtype {
            Value::Number(number) => of_code(number),
            _ => Kind::Unknown,
        };
    }
    match name {
        _ if PLACES.contains(&name) => Kind::Whole,
        // Of bytes they give bytes.
        "all" | "any" if first() != Kind::Unknown => Kind::Truth,
        "all" | "any" => Kind::Unknown,
        "float" | "half" | "double" | "dequantize" | "_cast_Float" => Kind::Float,
        "to" | "type_as" if call.find("other").is_some() => {
            call.tensor("other").map_or(Kind::Unknown, |it| it.kind)
        }
        "to" => first(),
        "embedding" => call.tensor("weight").map_or(Kind::Unknown, |it| it.kind),
        "where" => promoted(&with_numbers(call, operands.get(1..).unwrap_or_default().to_vec())),
        "cat" | "concat" | "concatenate" | "hstack" | "vstack" | "stack" => promoted(&operands),
        "div" | "divide" | "true_divide" => {
            let rounds = !matches!(call.find("rounding_mode"), None | Some(Value::None));
            match promoted(&with_numbers(call, operands)) {
                Kind::Unknown => Kind::Unknown,
                Kind::Float => Kind::Float,
                _ if rounds => Kind::Unknown,
                _ => Kind::Float,
            }
        }
        _ if SUMS.contains(&name) => match first() {
            Kind::Truth => Kind::Whole,
            kind => kind,
        },
        _ if ARITHMETIC.contains(&name) => match promoted(&with_numbers(call, operands)) {
            Kind::Truth if !LOGIC.contains(&name) => Kind::Unknown,
            kind => kind,
        },
        _ if LIKE_FIRST.contains(&name)
            || shape::OPERATORS.contains(&name)
            || split::OPERATORS.contains(&name) =>
        {
            first()
        }
        name if name.ends_with("dropout") => first(),
        name if name.starts_with("quantize") => Kind::Unknown,
        _ => all_float(&operands),
    }
}

/// Floats of floats: what has no rule of its own here.
fn all_float(operands: &[Kind]) -> Kind {
    let is_float = !operands.is_empty() && operands.iter().all(|kind| *kind == Kind::Float);
    if is_float { Kind::Float } else { Kind::Unknown }
}

/// The kind to which libtorch brings several together.
fn promoted(kinds: &[Kind]) -> Kind {
    let has = |kind: Kind| kinds.contains(&kind);
    match () {
        () if kinds.is_empty() || has(Kind::Unknown) => Kind::Unknown,
        () if has(Kind::Float) => Kind::Float,
        () if has(Kind::Whole) => Kind::Whole,
        () => Kind::Truth,
    }
}

/// The kinds of all tensors that are given, those in lists among them.
fn operands(call: &Call<'_, '_>) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for value in &call.arguments {
        match value {
            Value::Tensor(tensor) => kinds.push(tensor.kind),
            Value::List(_) | Value::Tuple(_) => kinds.extend(call.tensor_kinds(value)),
            _ => {}
        }
    }
    kinds
}

/// The same with the numbers among the operands. Beside floats no number makes anything else; beside truth values libtorch's
/// own passes may leave one out, which leaves them truth values.
fn with_numbers(call: &Call<'_, '_>, mut kinds: Vec<Kind>) -> Vec<Kind> {
    let is_truth = promoted(&kinds) == Kind::Truth;
    if promoted(&kinds) == Kind::Float {
        return kinds;
    }
    for name in ["self", "other", "min", "max", "value"] {
        match call.find(name) {
            Some(Value::Number(_)) if is_truth => kinds.push(Kind::Unknown),
            Some(Value::Number(number)) => kinds.push(number.kind()),
            Some(Value::Thing) => kinds.push(Kind::Unknown),
            _ => {}
        }
    }
    kinds
}

/// By libtorch's numbers for datatypes.
pub(super) fn of_code(number: &Number) -> Kind {
    match number.as_int() {
        Some(1..=4) => Kind::Whole,
        Some(5..=7 | 15) => Kind::Float,
        Some(11) => Kind::Truth,
        _ => Kind::Unknown,
    }
}
