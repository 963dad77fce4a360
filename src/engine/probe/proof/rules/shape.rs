//! Other shapes of the same elements: where the rows are afterwards.

use super::repeat::{expand, repeat, repeat_interleave};
use super::{Call, RuleResult, one};
use crate::engine::probe::proof::reason::{Doubt, Reason};
use crate::engine::probe::proof::size::Size;
use crate::engine::probe::proof::value::{Axis, State, Tensor, wrapped};

pub(super) const OPERATORS: &[&str] = &[
    "_reshape_alias",
    "_unsafe_view",
    "adjoint",
    "broadcast_to",
    "expand",
    "flatten",
    "mT",
    "matrix_H",
    "moveaxis",
    "movedim",
    "numpy_T",
    "permute",
    "repeat",
    "repeat_interleave",
    "reshape",
    "reshape_as",
    "squeeze",
    "swapaxes",
    "swapdims",
    "t",
    "tile",
    "transpose",
    "tril",
    "triu",
    "unflatten",
    "unfold",
    "unsqueeze",
    "view",
    "view_as",
    "diagonal",
    "ravel",
];

pub(super) fn apply(call: &mut Call<'_, '_>) -> RuleResult {
    let tensor = call.first()?;
    // A tensor that holds a number is one without dimensions.
    let tensor = match &tensor.state {
        State::Number(number) => match number.hangs() {
            Some(reason) => return Err(reason),
            None => Tensor { state: State::Free, ..tensor },
        },
        _ => tensor,
    };
    if tensor.drops() {
        let text =
            format!("{} of a squeezed tensor: one row has another shape than two", call.node.kind);
        return Err(Reason::unknown(text));
    }
    match call.name {
        "view" | "reshape" | "_unsafe_view" | "_reshape_alias" => {
            let name = if call.find("shape").is_some() { "shape" } else { "size" };
            if call.find(name).is_none() {
                // Another datatype over the same bytes.
                return Err(call.unclear("the datatype"));
            }
            let sizes = call.sizes(name)?;
            one(viewed(call, &tensor, sizes)?)
        }
        "view_as" | "reshape_as" => {
            let other = call.tensor("other")?;
            if other.drops() {
                return Err(call.unclear("the shape of a squeezed tensor"));
            }
            let sizes = other.sizes()?.to_vec();
            one(viewed(call, &tensor, sizes)?)
        }
        "flatten" | "ravel" => flatten(call, &tensor),
        "unflatten" => unflatten(call, &tensor),
        "expand" | "broadcast_to" => expand(call, &tensor),
        "repeat" | "tile" => repeat(call, &tensor),
        "repeat_interleave" => repeat_interleave(call, &tensor),
        "squeeze" => squeeze(call, &tensor),
        "unsqueeze" => {
            let at =
                wrapped(call.int("dim")?, tensor.rank()? + 1).ok_or_else(|| call.unclear("dim"))?;
            let mut dims = tensor.sizes()?.to_vec();
            dims.insert(at, Size::of(1));
            let rows = tensor.axis().unwrap_or_default();
            one(tensor.moved(dims, if rows >= at { rows + 1 } else { rows }))
        }
        "tril" | "triu" => inner_two(call, &tensor),
        "diagonal" => diagonal(call, &tensor),
        "unfold" => unfold(call, &tensor),
        _ => {
            let order = order(call, &tensor)?;
            one(permuted(&tensor, &order)?)
        }
    }
}

/// The same elements in their order under other sizes, of which one may be -1. Rows keep apart where the sizes before
/// them have the same product as before, so that what stands behind a row's index is its own.
pub(super) fn viewed(
    call: &Call<'_, '_>,
    tensor: &Tensor,
    mut sizes: Vec<Size>,
) -> Result<Tensor, Reason> {
    let open = sizes.iter().position(|size| size.is(-1));
    let Some(dims) = tensor.dims.clone() else {
        // The same for every batch, whatever its shape.
        let is_plain = tensor.is_free() && !sizes.iter().any(Size::has_rows);
        if let Some(open) = open {
            sizes[open] = Size::unknown();
        }
        return if is_plain {
            Ok(tensor.with_dims(sizes))
        } else {
            Err(call.unclear("the rank of its input"))
        };
    };
    let total = Size::product(&dims);
    let rest = Size::product(sizes.iter().filter(|size| !size.is(-1)));
    if let Some(open) = open {
        sizes[open] = match total.over(&rest) {
            Some(size) => size,
            // The rows are told elsewhere, so this is what each has.
            None if rest.per_row().is_some() && total.per_row().is_some() => Size::unknown(),
            None if !rest.has_rows() && !total.has_rows() => Size::unknown(),
            None => {
                return Err(Reason::unknown(format!(
                    "{}: whether -1 counts the rows does not follow from the shapes",
                    call.node.kind
                )));
            }
        };
    }
    let Some(at) = tensor.axis() else {
        if sizes.iter().any(Size::has_rows) {
            return Err(call.unclear("a shape that hangs on the number of rows"));
        }
        return Ok(tensor.with_dims(sizes));
    };
    let with_rows: Vec<usize> = (0..sizes.len()).filter(|&it| sizes[it].has_rows()).collect();
    let [to] = with_rows[..] else {
        let text = format!("{} has a fixed number of rows in its shape", call.node.kind);
        return Err(Reason::new(Doubt::Counted, text));
    };
    let axis = tensor.rows().cloned().unwrap_or_else(|| Axis::plain(at));
    let before = Size::product(&dims[..at]).times(&axis.outer);
    let before_now = Size::product(&sizes[..to]);
    let mixes = || match before.is_known() && before_now.is_known() {
        true => call.meets("lays rows out so that they mix"),
        false => call.unclear("where the rows lie in the new shape"),
    };
    let outer = before.over(&before_now).ok_or_else(mixes)?;
    let per_row = sizes[to].over(&Size::rows()).ok_or_else(mixes)?;
    let inner = match outer.is(1) {
        true => per_row,
        false => per_row.over(&outer).ok_or_else(mixes)?,
    };
    if matches!(tensor.state, State::Places(_)) && !(outer.is(1) && inner.is(1) && sizes.len() == 1)
    {
        return Err(call.unclear("the places of rows"));
    }
    let state = match tensor.state {
        State::Places(_) => State::Places(to),
        _ => State::Rows(Axis { at: to, outer, inner, drops: false }),
    };
    Ok(Tensor { state, dims: Some(sizes), ..tensor.clone() })
}

fn flatten(call: &Call<'_, '_>, tensor: &Tensor) -> RuleResult {
    let rank = tensor.rank()?;
    if rank == 0 {
        return one(tensor.with_dims(vec![Size::of(1)]));
    }
    let (start, end) = match call.name {
        "ravel" => (0, rank - 1),
        _ => (tensor.dim(call.int("start_dim")?)?, tensor.dim(call.int("end_dim")?)?),
    };
    let dims = tensor.sizes()?;
    let mut sizes = dims[..start].to_vec();
    sizes.push(Size::product(&dims[start..=end.max(start)]));
    sizes.extend_from_slice(&dims[end + 1..]);
    match tensor.axis() {
        // Not among what is flattened: nothing to work out.
        Some(at) if at < start => one(tensor.moved(sizes, at)),
        Some(at) if at > end => one(tensor.moved(sizes, at - (end - start))),
        _ => one(viewed(call, tensor, sizes)?),
    }
}

fn unflatten(call: &Call<'_, '_>, tensor: &Tensor) -> RuleResult {
    let at = tensor.dim(call.int("dim")?)?;
    let mut parts = call.sizes("sizes")?;
    let dims = tensor.sizes()?;
    if let Some(open) = parts.iter().position(|size| size.is(-1)) {
        let rest = Size::product(parts.iter().filter(|size| !size.is(-1)));
        parts[open] = dims[at].over(&rest).unwrap_or_else(Size::unknown);
    }
    let mut sizes = dims[..at].to_vec();
    let more = parts.len().saturating_sub(1);
    sizes.extend(parts);
    sizes.extend_from_slice(&dims[at + 1..]);
    match tensor.axis() {
        Some(rows) if rows < at => one(tensor.moved(sizes, rows)),
        Some(rows) if rows > at => one(tensor.moved(sizes, rows + more)),
        _ => one(viewed(call, tensor, sizes)?),
    }
}

/// Where each dimension of the answer comes from.
fn order(call: &Call<'_, '_>, tensor: &Tensor) -> Result<Vec<usize>, Reason> {
    let rank = tensor.rank()?;
    let mut order: Vec<usize> = (0..rank).collect();
    let dim = |name: &str| tensor.dim(call.int(name)?);
    match call.name {
        "permute" => {
            order = call
                .ints("dims")?
                .into_iter()
                .map(|it| tensor.dim(it))
                .collect::<Result<_, _>>()?;
        }
        "transpose" => order.swap(dim("dim0")?, dim("dim1")?),
        "swapaxes" => order.swap(dim("axis0")?, dim("axis1")?),
        "swapdims" => order.swap(dim("dim0")?, dim("dim1")?),
        "t" | "mT" | "matrix_H" | "adjoint" if rank >= 2 => order.swap(rank - 2, rank - 1),
        "numpy_T" => order.reverse(),
        "movedim" | "moveaxis" => {
            let (from, to) = (call.ints("source")?, call.ints("destination")?);
            let [from, to] = (from.len() == 1 && to.len() == 1)
                .then(|| [from[0], to[0]])
                .ok_or_else(|| call.unclear("what it moves"))?;
            let (from, to) = (tensor.dim(from)?, tensor.dim(to)?);
            let moved = order.remove(from);
            order.insert(to, moved);
        }
        _ => {}
    }
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted != (0..rank).collect::<Vec<_>>() {
        return Err(call.unclear("the order of dimensions"));
    }
    Ok(order)
}

fn permuted(tensor: &Tensor, order: &[usize]) -> Result<Tensor, Reason> {
    let dims = tensor.sizes()?;
    let sizes = order.iter().map(|&from| dims[from].clone()).collect();
    let at = tensor.axis().and_then(|at| order.iter().position(|&from| from == at));
    Ok(tensor.moved(sizes, at.unwrap_or_default()))
}

/// Takes dimensions of size 1 away: that of the rows too, where there is one row.
fn squeeze(call: &Call<'_, '_>, tensor: &Tensor) -> RuleResult {
    let dims = tensor.sizes()?.to_vec();
    let asked: Vec<usize> = match call.find("dim") {
        None => (0..dims.len()).collect(),
        Some(_) if dims.is_empty() => Vec::new(),
        Some(_) => {
            call.ints("dim")?.into_iter().map(|it| tensor.dim(it)).collect::<Result<_, _>>()?
        }
    };
    let mut state = tensor.state.clone();
    let mut kept = Vec::new();
    let mut before = 0;
    for (at, size) in dims.iter().enumerate() {
        if !asked.contains(&at) {
            kept.push(size.clone());
            continue;
        }
        if tensor.axis() == Some(at) {
            let is_plain = tensor.rows().is_some_and(Axis::is_plain);
            if let State::Rows(axis) = &mut state {
                // With more than the rows in it, a dimension has size 1 for nobody.
                axis.drops = is_plain || !is_over_one(axis);
                if axis.drops && !is_plain {
                    return Err(call.unclear("whether a dimension has size 1"));
                }
            } else {
                return Err(call.unclear("the places of rows"));
            }
            kept.push(size.clone());
        } else {
            match size.value() {
                Some(1) if tensor.axis().is_some_and(|rows| at < rows) => before += 1,
                Some(1) => {}
                Some(_) => kept.push(size.clone()),
                None if tensor.is_free() => {
                    return one(Tensor { dims: None, ..tensor.clone() });
                }
                None => return Err(call.unclear("whether a dimension has size 1")),
            }
        }
    }
    let at = tensor.axis().unwrap_or_default() - before;
    one(Tensor { state, ..tensor.clone() }.moved(kept, at))
}

fn is_over_one(axis: &Axis) -> bool {
    axis.outer.times(&axis.inner).value().is_some_and(|value| value > 1)
}

/// Triangles of matrices, which the rows must not be in.
fn inner_two(call: &Call<'_, '_>, tensor: &Tensor) -> RuleResult {
    let rank = tensor.rank()?;
    match tensor.axis() {
        Some(at) if at + 2 >= rank => Err(call.meets("treats each row otherwise")),
        _ => one(tensor.clone()),
    }
}

fn diagonal(call: &Call<'_, '_>, tensor: &Tensor) -> RuleResult {
    let [a, b] = [tensor.dim(call.int("dim1")?)?, tensor.dim(call.int("dim2")?)?];
    let rows = tensor.axis();
    if rows == Some(a) || rows == Some(b) {
        return Err(call.meets("treats each row otherwise"));
    }
    let dims = tensor.sizes()?;
    let mut kept: Vec<Size> =
        (0..dims.len()).filter(|&at| at != a && at != b).map(|at| dims[at].clone()).collect();
    kept.push(Size::unknown());
    let before = [a, b].into_iter().filter(|&it| rows.is_some_and(|at| it < at)).count();
    one(tensor.moved(kept, rows.unwrap_or_default() - before))
}

/// Windows along a dimension, as a dimension more.
fn unfold(call: &mut Call<'_, '_>, tensor: &Tensor) -> RuleResult {
    let at = tensor.dim(call.int("dimension")?)?;
    if tensor.axis() == Some(at) {
        return Err(call.meets("looks along the rows"));
    }
    let (size, step) = (call.int("size")?, call.int("step")?);
    let mut dims = tensor.sizes()?.to_vec();
    dims[at] = match dims[at].value() {
        Some(value) if step > 0 && value >= size => Size::of((value - size) / step + 1),
        _ => Size::unknown(),
    };
    dims.push(Size::of(size));
    one(tensor.with_dims(dims))
}
