//! A rule for each operator: what its outputs promise, given what its inputs do. What has no rule promises nothing.
//!
//! One file a family of operators; each lists the names that it knows, and `docs/batching.md` lists them for people.

mod algebra;
mod arithmetic;
mod broadcast;
mod call;
mod check;
mod comparison;
mod convolution;
mod effects;
mod elementwise;
mod index;
mod kinds;
mod layers;
mod lists;
mod make;
mod meets;
mod norm;
mod numbers;
mod pad;
mod recurrent;
mod reduce;
mod repeat;
mod shape;
mod split;

pub(super) use call::{Call, without_number};
pub(in crate::engine) use effects::RANDOM;
pub(super) use effects::may_change;

use super::graph::Node;
use super::reason::{Doubt, Reason};
use super::value::{State, Tensor, Value};
use std::sync::Arc;

/// What a rule gives: one value, or a tuple with one for each output.
type RuleResult = Result<Value, Reason>;

/// A family of operators.
struct Family {
    /// What they have in common, for people.
    title: &'static str,
    /// Their names without namespace; what writes in place has a `_` more.
    operators: &'static [&'static str],
    rule: fn(&mut Call<'_, '_>) -> RuleResult,
}

const FAMILIES: &[Family] = &[
    Family {
        title: "one tensor, each element by itself",
        operators: elementwise::UNARY,
        rule: elementwise::unary,
    },
    Family {
        title: "several tensors, elements that stand at one place",
        operators: elementwise::BINARY,
        rule: elementwise::binary,
    },
    Family {
        title: "reductions over other dimensions than the rows'",
        operators: reduce::REDUCING,
        rule: reduce::reducing,
    },
    Family { title: "along one other dimension", operators: reduce::ALONG, rule: reduce::along },
    Family { title: "products of matrices", operators: algebra::OPERATORS, rule: algebra::apply },
    Family {
        title: "convolutions, pooling, resizing, norms",
        operators: layers::OPERATORS,
        rule: layers::apply,
    },
    Family { title: "recurrent layers", operators: recurrent::OPERATORS, rule: recurrent::apply },
    Family {
        title: "other shapes of the same elements",
        operators: shape::OPERATORS,
        rule: shape::apply,
    },
    Family {
        title: "parts, and what is put together",
        operators: split::OPERATORS,
        rule: split::apply,
    },
    Family { title: "look-ups", operators: index::OPERATORS, rule: index::apply },
    Family { title: "new tensors", operators: make::OPERATORS, rule: make::apply },
];

/// Operators whose output has as many elements as values of their input decide, or is a number of the program.
const BY_VALUES: &[&str] = &[
    "nonzero",
    "nonzero_numpy",
    "argwhere",
    "masked_select",
    "unique",
    "unique_dim",
    "_unique",
    "_unique2",
    "unique_consecutive",
    "unique_dim_consecutive",
    "bincount",
    "masked_scatter",
    "item",
    "tolist",
    "_local_scalar_dense",
    "nonzero_static",
    "is_nonzero",
    "equal",
    "allclose",
    "histc",
    "combinations",
];

/// All families with their operators, for the page that documents them.
pub(in crate::engine::probe) fn table() -> Vec<(&'static str, &'static [&'static str])> {
    FAMILIES.iter().map(|family| (family.title, family.operators)).collect()
}

/// Whether a node writes into a tensor.
pub(super) fn writes_tensor(node: &Node, arguments: &[Value]) -> bool {
    node.writes.iter().any(|&place| {
        arguments
            .get(place)
            .is_some_and(|value| matches!(value, Value::Tensor(_) | Value::Mixed(_)))
    })
}

/// The outputs of a node.
pub(super) fn apply(call: &mut Call<'_, '_>) -> Result<Vec<Value>, Reason> {
    if let Some(outcome) = lists::apply(call) {
        return outcome.map(|value| call.spread(value));
    }
    if let Some(outcome) = numbers::apply(call) {
        return outcome.map(|value| call.spread(value));
    }
    if call.is_of_unknown() && meets::certainly(call) {
        return Err(call.meets("takes rows together"));
    }
    call.check_arguments()?;
    call.check_writes()?;
    call.check_numbers()?;
    let random = effects::draws(call)?;
    if random {
        let text = match effects::RANDOM.contains(&call.name) {
            false => format!(
                "{} drops at random: exported in training mode? call eval() first",
                call.name
            ),
            true => format!("{} draws random numbers", call.name),
        };
        return Err(Reason::new(Doubt::Random, text));
    }
    if call.name.ends_with("dropout") {
        let kept = call.first()?;
        return Ok(vec![Value::Tensor(kept)]);
    }
    let is_free = call.is_free();
    if BY_VALUES.contains(&call.name) && !is_free {
        return Err(call.shaped_by_values());
    }
    let is_ours = call.node.kind.starts_with("aten::")
        || call.node.kind.starts_with("prim::")
        || call.node.kind.starts_with("quantized::");
    let family = FAMILIES.iter().find(|family| family.operators.contains(&call.name));
    let is_by_element = family.is_some_and(|it| {
        it.operators == elementwise::UNARY || it.operators == elementwise::BINARY
    });
    let outcome = match family {
        Some(_) if is_ours && !is_by_element && call.has_squeezed() && call.name != "slice" => {
            Err(Reason::unknown(format!(
                "{} of a squeezed tensor: one row has another shape than two",
                call.node.kind
            )))
        }
        Some(family) if is_ours => {
            let outcome = (family.rule)(call).and_then(|it| call.check_asked().map(|()| it));
            match outcome {
                Err(reason) if reason.doubt == Doubt::Unknown && !is_free => {
                    Err(if meets::certainly(call) {
                        call.meets("takes rows together")
                    } else {
                        reason
                    })
                }
                outcome => outcome,
            }
        }
        _ if !is_free && meets::certainly(call) => Err(call.meets("takes rows together")),
        _ => Err(Reason::unknown(format!(
            "the operator {} is not known to keep rows apart",
            call.node.kind
        ))),
    };
    if meets::OVER_ALL.contains(&call.name) && !is_free {
        return Err(call.meets("takes one number over all rows"));
    }
    let holds_memory = call.name.contains("empty") || call.name.starts_with("resize");
    match outcome {
        Err(reason)
            if holds_memory || reason.doubt == Doubt::Random || effects::may_change(call.node) =>
        {
            Err(reason)
        }
        // A function of what is the same for every batch is the same for every batch.
        Err(_) if is_free && call.node.kind.starts_with("aten::") => call.free_outputs(),
        outcome => outcome
            .map(|value| kinds::certain(call, call.spread(value)))
            .map(|values| values.into_iter().map(|it| unheld(call, it)).collect())
            .and_then(sound),
    }
}

/// What comes of a tensor that holds a number of the program is no longer that number, but for operators that leave it.
fn unheld(call: &Call<'_, '_>, value: Value) -> Value {
    const KEEP: &[&str] =
        &["alias", "as_tensor", "clone", "contiguous", "cpu", "detach", "dropout", "tensor", "to"];
    match value {
        Value::Tensor(Tensor { state: State::Number(number), dims, kind, is_expanded })
            if !KEEP.contains(&call.name) =>
        {
            let state = number.hangs().map_or(State::Free, State::Mixed);
            Value::Tensor(Tensor { state, dims, kind, is_expanded })
        }
        value => value,
    }
}

/// Outputs in which only the dimension of the rows counts them.
fn sound(outputs: Vec<Value>) -> Result<Vec<Value>, Reason> {
    for value in &outputs {
        if let Value::Tensor(tensor) = value
            && let Some(dims) = &tensor.dims
            && (0..dims.len()).any(|at| dims[at].has_rows() && tensor.axis() != Some(at))
        {
            let text = "a shape hangs on the number of rows where none of them lie";
            return Err(Reason::new(Doubt::Counted, text));
        }
    }
    Ok(outputs)
}

/// One tensor as an outcome.
pub(super) fn one(tensor: Tensor) -> RuleResult {
    Ok(Value::Tensor(tensor))
}

/// A text as a value.
pub(super) fn text(value: &Value) -> Option<Arc<str>> {
    if let Value::Text(Some(text)) = value { Some(Arc::clone(text)) } else { None }
}
