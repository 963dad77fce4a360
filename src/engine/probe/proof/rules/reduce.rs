//! Operators that look along dimensions: reductions, and those that keep the shape.

use super::{Call, RuleResult, Value};
use crate::engine::probe::proof::reason::Reason;
use crate::engine::probe::proof::size::Size;
use crate::engine::probe::proof::value::{Kind, Tensor, wrapped};

/// What takes dimensions away, or leaves them with size 1.
pub(super) const REDUCING: &[&str] = &[
    "all",
    "amax",
    "amin",
    "aminmax",
    "any",
    "argmax",
    "argmin",
    "count_nonzero",
    "frobenius_norm",
    "kthvalue",
    "linalg_norm",
    "linalg_vector_norm",
    "logsumexp",
    "max",
    "mean",
    "median",
    "min",
    "mode",
    "nanmean",
    "nanmedian",
    "nansum",
    "norm",
    "nuclear_norm",
    "prod",
    "std",
    "std_mean",
    "sum",
    "var",
    "var_mean",
];

/// What looks along one dimension and keeps it.
pub(super) const ALONG: &[&str] = &[
    "argsort",
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "cumulative_trapezoid",
    "flip",
    "fliplr",
    "flipud",
    "glu",
    "log_softmax",
    "logcumsumexp",
    "roll",
    "softmax",
    "softmin",
    "sort",
    "topk",
    "_log_softmax",
    "_softmax",
    "diff",
    "renorm",
];

/// Of these, the ones that give places beside values, or places alone.
const PAIRS: &[&str] =
    &["kthvalue", "median", "mode", "nanmedian", "cummax", "cummin", "sort", "topk"];

pub(super) fn reducing(call: &mut Call<'_, '_>) -> RuleResult {
    let tensor = call.first()?;
    if tensor.axis().is_some() && tensor.drops() {
        return Err(call.unclear("the rank of its input"));
    }
    // `max` and `min` of two tensors go element by element.
    if call.find("other").is_some() {
        return super::elementwise::binary(call);
    }
    if call.name == "nuclear_norm"
        || call.name == "linalg_norm" && call.optional_int("ord").is_err()
    {
        return Err(call.unclear("the norm"));
    }
    let rank = tensor.rank()?;
    let listed = match call.find("dim") {
        None | Some(Value::None) => Vec::new(),
        Some(_) => call.ints("dim")?,
    };
    let mut dims = Vec::new();
    for dim in listed {
        dims.push(tensor.dim(dim)?);
    }
    let is_given = !matches!(call.find("dim"), None | Some(Value::None));
    if dims.is_empty() && is_given && matches!(call.name, "all" | "any") {
        // These reduce nothing then, and others everything.
        return Err(call.unclear("what it reduces"));
    }
    // No dimension at all means every dimension.
    if dims.is_empty() {
        dims.extend(0..rank);
    }
    if tensor.axis().is_some_and(|at| dims.contains(&at)) {
        return Err(call.meets("is taken over the rows"));
    }
    let keep = match call.find("keepdim") {
        Some(_) => call.flag("keepdim")?,
        None => false,
    };
    let sizes = tensor.sizes()?;
    let kept: Vec<Size> = (0..rank)
        .filter(|axis| keep || !dims.contains(axis))
        .map(|axis| if dims.contains(&axis) { Size::of(1) } else { sizes[axis].clone() })
        .collect();
    let at = tensor.axis().unwrap_or_default();
    let before = dims.iter().filter(|&&dim| dim < at).count();
    let result = tensor.moved(kept, if keep { at } else { at - before });
    outputs(call, result)
}

/// One output, or values and their places.
fn outputs(call: &Call<'_, '_>, result: Tensor) -> RuleResult {
    let places = || Value::Tensor(result.clone().of(Kind::Whole));
    let values = || Value::Tensor(result.clone());
    Ok(match call.name {
        "argmax" | "argmin" | "argsort" | "count_nonzero" => places(),
        "any" | "all" => Value::Tensor(result.of(Kind::Truth)),
        "std_mean" | "var_mean" | "aminmax" => Value::Tuple(vec![values(), values()]),
        _ if call.node.outputs.len() == 2 => Value::Tuple(vec![values(), places()]),
        name if PAIRS.contains(&name) => values(),
        _ => values(),
    })
}

pub(super) fn along(call: &mut Call<'_, '_>) -> RuleResult {
    let tensor = call.first()?;
    if tensor.drops() {
        return Err(call.unclear("the rank of its input"));
    }
    let rank = tensor.rank()?;
    let dims = looked_along(call, rank)?;
    if tensor.axis().is_some_and(|at| dims.contains(&at)) {
        return Err(call.meets("looks along the rows"));
    }
    for name in ["prepend", "append"] {
        if !matches!(call.find(name), None | Some(Value::None)) {
            return Err(call.unclear("what it puts beside its input"));
        }
    }
    let mut sizes = tensor.sizes()?.to_vec();
    let only = dims.first().copied().unwrap_or_default();
    match call.name {
        "topk" => {
            let k = call.find("k").cloned().ok_or_else(|| call.unclear("k"))?;
            sizes[only] = call.size(&k)?;
        }
        "glu" => sizes[only] = sizes[only].over(&Size::of(2)).unwrap_or_else(Size::unknown),
        "diff" => sizes[only] = Size::unknown(),
        "cumulative_trapezoid" => return Err(call.unclear("its shape")),
        _ => {}
    }
    if sizes.iter().enumerate().any(|(axis, size)| size.has_rows() && tensor.axis() != Some(axis)) {
        return Err(call.unclear("its shape"));
    }
    outputs(call, tensor.with_dims(sizes))
}

/// The dimensions that it looks along.
fn looked_along(call: &Call<'_, '_>, rank: usize) -> Result<Vec<usize>, Reason> {
    let default = match call.name {
        "glu" | "sort" | "argsort" | "topk" | "diff" => Some(-1),
        "fliplr" => Some(1),
        "flipud" => Some(0),
        _ => None,
    };
    let key = if matches!(call.name, "flip" | "roll") { "dims" } else { "dim" };
    let listed = match call.find(key) {
        None | Some(Value::None) => default.into_iter().collect(),
        Some(_) => call.ints(key)?,
    };
    if listed.is_empty() {
        return Err(call.meets("looks along all dimensions"));
    }
    if call.name == "renorm" {
        // It brings down what is too long of that dimension, by its length along all others.
        let kept = call.ints("dim")?.first().and_then(|dim| wrapped(*dim, rank));
        let kept = kept.ok_or_else(|| call.unclear("dim"))?;
        return Ok((0..rank).filter(|axis| *axis != kept).collect());
    }
    listed.into_iter().map(|dim| wrapped(dim, rank).ok_or_else(|| call.unclear("dim"))).collect()
}
