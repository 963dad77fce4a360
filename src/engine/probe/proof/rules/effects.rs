//! What a node does beside giving values: whether it draws random numbers, and whether it may change something that its
//! schema does not name.

use super::{Call, recurrent};
use crate::engine::probe::proof::graph::Node;
use crate::engine::probe::proof::number::Known;
use crate::engine::probe::proof::reason::Reason;

/// Operators that draw random numbers.
pub(in crate::engine) const RANDOM: &[&str] = &[
    "rand",
    "randn",
    "randint",
    "randperm",
    "rand_like",
    "randn_like",
    "randint_like",
    "bernoulli",
    "multinomial",
    "normal",
    "uniform",
    "exponential",
    "geometric",
    "cauchy",
    "log_normal",
    "poisson",
    "binomial",
    "_standard_gamma",
    "_sample_dirichlet",
    "random",
    "rrelu",
    "rrelu_with_noise",
];

/// Parts of the names of others.
const RANDOM_PARTS: &[&str] = &[
    "rand",
    "bernoulli",
    "multinomial",
    "noise",
    "dirichlet",
    "native_dropout",
    "fused_dropout",
    "normal_functional",
];

/// Nodes of `prim` that do nothing else than give values.
const PURE: &[&str] = &[
    "AutogradZero",
    "DictConstruct",
    "H",
    "ListConstruct",
    "ListUnpack",
    "NumToTensor",
    "Print",
    "StringIndex",
    "T",
    "TupleConstruct",
    "TupleIndex",
    "TupleSlice",
    "TupleUnpack",
    "Uninitialized",
    "abs",
    "data",
    "device",
    "dtype",
    "grad",
    "id",
    "imag",
    "index",
    "is_cpu",
    "is_cuda",
    "is_meta",
    "is_mkldnn",
    "is_mps",
    "is_nested",
    "is_quantized",
    "is_sparse",
    "is_xla",
    "isinstance",
    "itemsize",
    "layout",
    "mH",
    "mT",
    "max",
    "min",
    "name",
    "rangelist",
    "real",
    "requires_grad",
    "sum",
    "type",
    "unchecked_cast",
    "unchecked_unwrap_optional",
];

/// Whether a node may change something without saying so in its schema: what is called there, runs there, or keeps
/// statistics is not followed.
pub(in crate::engine::probe::proof) fn may_change(node: &Node) -> bool {
    let (space, name) = node.kind.split_once("::").unwrap_or(("", &node.kind));
    let keeps_statistics = name.contains("batch_norm")
        || name.contains("instance_norm")
        || name.contains("moving_avg");
    node.outputs.is_empty()
        || !node.writes.is_empty()
        || keeps_statistics
        || match space {
            "prim" => !PURE.contains(&name),
            "aten" => {
                matches!(
                    name,
                    "wait" | "sorted" | "_batch_norm_impl_index" | "set_grad_enabled" | "set_data"
                )
            }
            "quantized" => false,
            _ => true,
        }
}

/// Whether it draws random numbers.
pub(super) fn draws(call: &Call<'_, '_>) -> Result<bool, Reason> {
    if call.name.ends_with("dropout")
        && !call.name.contains("native")
        && !call.name.contains("fused")
    {
        return dropout(call);
    }
    let is_zero = |name: &str| {
        call.number(name).is_ok_and(|it| {
            matches!(it.known, Known::Float(p) if p == 0.0) || it.as_int() == Some(0)
        })
    };
    if call.name.contains("attention") && call.find("dropout_p").is_some() {
        return Ok(!is_zero("dropout_p"));
    }
    if recurrent::OPERATORS.contains(&call.name) && call.find("train").is_some() {
        let is_trained = call.flag("train").unwrap_or(true);
        return Ok(is_trained && !is_zero("dropout"));
    }
    Ok(RANDOM.contains(&call.name) || RANDOM_PARTS.iter().any(|part| call.name.contains(part)))
}

/// Whether a dropout drops.
fn dropout(call: &Call<'_, '_>) -> Result<bool, Reason> {
    let Ok(train) = call.flag("train") else { return Ok(true) };
    let probability = call.number("p").ok().and_then(|it| match it.known {
        Known::Float(value) => Some(value),
        Known::Int(size) => size.value().map(|value| value as f64),
        _ => None,
    });
    Ok(train && probability != Some(0.0))
}
