//! Look-ups: in constants by what rows say, in rows by constants, or in each row by its own indices.

use super::broadcast::together;
use super::{Call, RuleResult, Value, one};
use crate::engine::probe::proof::reason::Reason;
use crate::engine::probe::proof::size::Size;
use crate::engine::probe::proof::value::{Axis, Kind, State, Tensor};

pub(super) const OPERATORS: &[&str] = &[
    "_index_put_impl",
    "embedding",
    "embedding_bag",
    "gather",
    "index",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_select",
    "one_hot",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "take",
    "take_along_dim",
    "embedding_renorm",
];

pub(super) fn apply(call: &mut Call<'_, '_>) -> RuleResult {
    match call.name {
        "embedding" => embedding(call),
        "embedding_bag" => embedding_bag(call),
        "one_hot" => one_hot(call),
        "index" => index(call),
        "index_put" | "_index_put_impl" => index_put(call),
        "gather" | "take_along_dim" => gather(call),
        "scatter" | "scatter_add" | "scatter_reduce" => scatter(call),
        "index_select" => index_select(call),
        "index_fill" | "index_copy" | "index_add" => index_fill(call),
        _ => Err(call.meets("looks up in all rows together")),
    }
}

/// A vector of a table for each index.
fn embedding(call: &Call<'_, '_>) -> RuleResult {
    let (table, indices) = (call.tensor("weight")?, call.tensor("indices")?);
    let width = table.sizes()?.get(1).cloned().ok_or_else(|| call.unclear("its table"))?;
    if !table.is_free() {
        return Err(call.meets("looks rows up among rows"));
    }
    if matches!(indices.state, State::Places(_)) {
        return Err(call.meets("computes with the places of rows"));
    }
    if indices.drops() {
        return Err(call.unclear("the rank of its input"));
    }
    let mut dims = indices.sizes()?.to_vec();
    dims.push(width);
    one(indices.with_dims(dims).of(Kind::Float))
}

/// Sums over the indices of each row, where they are a matrix; with offsets, rows have no place of their own.
fn embedding_bag(call: &Call<'_, '_>) -> RuleResult {
    let (table, indices) = (call.tensor("weight")?, call.tensor("indices")?);
    let is_matrix =
        indices.rank()? == 2 && matches!(call.find("offsets"), None | Some(Value::None));
    if !is_matrix || !table.is_free() || call.node.outputs.len() != 1 {
        return Err(call.unclear("where its bags begin"));
    }
    let width = table.sizes()?.get(1).cloned().ok_or_else(|| call.unclear("its table"))?;
    let first = indices.sizes()?[0].clone();
    one(indices.with_dims(vec![first, width]).of(Kind::Float))
}

fn one_hot(call: &mut Call<'_, '_>) -> RuleResult {
    let tensor = call.first()?;
    let classes = call.int("num_classes")?;
    if classes < 0 {
        return Err(call.shaped_by_values());
    }
    if tensor.drops() || matches!(tensor.state, State::Places(_)) {
        return Err(call.unclear("its input"));
    }
    let mut dims = tensor.sizes()?.to_vec();
    dims.push(Size::of(classes));
    one(tensor.with_dims(dims).of(Kind::Whole))
}

/// The indices of `tensor[…]`, one for each leading dimension; `None` takes all of it.
fn indices(call: &Call<'_, '_>) -> Result<Vec<Option<Tensor>>, Reason> {
    let index = |value: Value| match value {
        Value::None => Ok(None),
        Value::Tensor(tensor) => Ok(Some(tensor)),
        other => Err(other.mixed().cloned().unwrap_or_else(|| call.unclear("an index"))),
    };
    call.elements("indices")?.into_iter().map(index).collect()
}

fn index(call: &mut Call<'_, '_>) -> RuleResult {
    let tensor = call.first()?;
    let indices = indices(call)?;
    if tensor.drops() {
        return Err(call.unclear("the rank of its input"));
    }
    let given: Vec<(usize, Tensor)> =
        indices.into_iter().enumerate().filter_map(|(at, it)| Some((at, it?))).collect();
    if given.iter().any(|(_, index)| index.kind == Kind::Unknown) {
        return Err(call.unclear("whether an index is a mask"));
    }
    if given.iter().any(|(_, index)| index.kind == Kind::Truth) {
        return masked(call, &tensor, &given);
    }
    // All indices together: an index of rows may stand beside the rows' own places.
    let mut places = None;
    let mut shape: Option<Tensor> = None;
    for (at, index) in &given {
        let mut index = index.clone();
        if let State::Places(rows) = index.state {
            if places.is_some() {
                return Err(call.meets("takes elements by the places of rows"));
            }
            places = Some(*at);
            index.state = State::Rows(Axis::plain(rows));
        }
        shape = Some(match shape {
            None => index,
            Some(so_far) => together(call, &so_far, &index)?,
        });
    }
    let shape = shape.ok_or_else(|| call.unclear("its indices"))?;
    let dims = tensor.sizes()?;
    if given.iter().any(|(at, _)| *at >= dims.len()) {
        return Err(call.unclear("its indices"));
    }
    let taken: Vec<usize> = given.iter().map(|(at, _)| *at).collect();
    // The new dimensions stand where the indices stood, or in front where these were apart.
    let is_together = taken.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let start = if is_together { taken[0] } else { 0 };
    let kept: Vec<usize> = (0..dims.len()).filter(|at| !taken.contains(at)).collect();
    let mut sizes: Vec<Size> = kept.iter().map(|&at| dims[at].clone()).collect();
    let new = shape.sizes()?.to_vec();
    let n_new = new.len();
    sizes.splice(start..start, new);
    let own = match tensor.axis() {
        // Each row at its own place: what else is looked up there is its own.
        Some(rows) if places == Some(rows) && tensor.rows().is_some_and(Axis::is_plain) => None,
        Some(rows) if taken.contains(&rows) => return Err(call.meets("takes single rows out")),
        Some(_) if !shape.is_free() => {
            return Err(call.meets("looks up in each row what other rows say"));
        }
        Some(rows) => {
            let nth = kept.iter().position(|&at| at == rows).unwrap_or_default();
            Some(if nth < start { nth } else { nth + n_new })
        }
        None if places.is_some() => return Err(call.meets("computes with the places of rows")),
        None => None,
    };
    let result = match own {
        Some(at) => tensor.moved(sizes, at),
        None => {
            let at = shape.axis().unwrap_or_default() + start;
            shape.moved(sizes, at).of(tensor.kind)
        }
    };
    one(result.of(tensor.kind))
}

/// A mask takes as many elements as it has marks.
fn masked(call: &mut Call<'_, '_>, tensor: &Tensor, given: &[(usize, Tensor)]) -> RuleResult {
    let [(at, mask)] = given else { return Err(call.unclear("its masks")) };
    if !mask.is_free() {
        return Err(call.shaped_by_values());
    }
    let (n, dims) = (mask.rank()?, tensor.sizes()?);
    if at + n > dims.len() {
        return Err(call.unclear("its masks"));
    }
    let rows = tensor.axis();
    if rows.is_some_and(|rows| (*at..at + n).contains(&rows)) {
        return Err(call.meets("takes single rows out"));
    }
    let mut sizes = dims.to_vec();
    sizes.splice(*at..at + n, [Size::unknown()]);
    let rows = rows.unwrap_or_default();
    one(tensor.moved(sizes, if rows >= at + n { rows + 1 - n } else { rows }))
}

/// `tensor[mask] = number`, or a write at constant places of dimensions that hold no rows.
fn index_put(call: &mut Call<'_, '_>) -> RuleResult {
    let tensor = call.first()?;
    let values = call.tensor("values")?;
    let given = indices(call)?;
    if tensor.drops() {
        return Err(call.unclear("the rank of its input"));
    }
    let is_single = values.is_free() && values.sizes()?.iter().all(|size| size.is(1));
    if let [Some(mask)] = &given[..]
        && mask.kind == Kind::Truth
        && is_single
    {
        let leading = tensor.sizes()?.get(..mask.rank()?);
        let leading = leading.ok_or_else(|| call.unclear("its masks"))?.to_vec();
        let leading = Tensor { dims: Some(leading), ..tensor.clone() };
        let is_leading = tensor.axis().is_none_or(|at| at < mask.rank().unwrap_or_default());
        if is_leading {
            together(call, &leading, mask)?;
            return one(tensor);
        }
    }
    let rows = tensor.axis();
    let touches_rows = given.iter().enumerate().any(|(at, it)| it.is_some() && rows == Some(at));
    let is_constant = given.iter().flatten().all(Tensor::is_free);
    if touches_rows || !is_constant || !is_single {
        return Err(call.unclear("where it writes"));
    }
    one(tensor)
}

/// Elements of a dimension by indices of the same shape.
fn gather(call: &Call<'_, '_>) -> RuleResult {
    let tensor = call.first()?;
    let name = if call.name == "gather" { "index" } else { "indices" };
    let index = call.tensor(name)?;
    let at = tensor.dim(call.int("dim")?)?;
    check_own(call, &tensor, &index, at)?;
    // `take_along_dim` brings the other dimensions together.
    let own = tensor.sizes()?.iter().zip(index.sizes()?).enumerate();
    let are_same = own.clone().all(|(axis, (a, b))| axis == at || a.same(b));
    if call.name != "gather" && !(are_same && tensor.rank()? == index.rank()?) {
        return Err(call.unclear("the shape"));
    }
    one(index.of(tensor.kind))
}

fn scatter(call: &Call<'_, '_>) -> RuleResult {
    let tensor = call.first()?;
    let index = call.tensor("index")?;
    let at = tensor.dim(call.int("dim")?)?;
    check_own(call, &tensor, &index, at)?;
    if let Some(source) = call.find("src").or_else(|| call.find("value"))
        && let Value::Tensor(source) = source
        && source.rank() != Ok(0)
    {
        if source.is_free() && !(tensor.is_free() && index.is_free()) {
            // It may have more rows than the index, one for each place.
            return Err(call.unclear("which row of its source is whose"));
        }
        check_own(call, &tensor, source, at)?;
    }
    one(tensor)
}

/// Whether rows of both lie alike, and in another dimension than the one that is looked along.
fn check_own(
    call: &Call<'_, '_>,
    tensor: &Tensor,
    index: &Tensor,
    along: usize,
) -> Result<(), Reason> {
    if tensor.is_free() && index.is_free() {
        return Ok(());
    }
    if tensor.axis() == Some(along) || index.axis() == Some(along) {
        return Err(call.meets("looks up among rows"));
    }
    let same = tensor.rows().zip(index.rows()).is_some_and(|(a, b)| a.same(b) && !a.drops);
    if same { Ok(()) } else { Err(call.unclear("where the rows of each lie")) }
}

fn index_select(call: &Call<'_, '_>) -> RuleResult {
    let (tensor, index) = (call.first()?, call.tensor("index")?);
    let at = tensor.dim(call.int("dim")?)?;
    if tensor.drops() || matches!(tensor.state, State::Places(_)) {
        return Err(call.unclear("the rank of its input"));
    }
    if tensor.axis() == Some(at) {
        return Err(call.meets("takes single rows out"));
    }
    let count = index.sizes()?.first().cloned().unwrap_or_else(|| Size::of(1));
    let mut dims = tensor.sizes()?.to_vec();
    if index.is_free() {
        dims[at] = count;
        return one(tensor.with_dims(dims));
    }
    // A constant, by one index of each row.
    match (tensor.is_free(), index.rows()) {
        (true, Some(axis)) if !axis.drops => {
            let axis = axis.at(at);
            dims[at] = count;
            one(Tensor { state: State::Rows(axis), ..Tensor::free(Some(dims), tensor.kind) })
        }
        _ => Err(call.meets("looks up in each row what other rows say")),
    }
}

/// Writes at constant places of a dimension that holds no rows.
fn index_fill(call: &Call<'_, '_>) -> RuleResult {
    let (tensor, index) = (call.first()?, call.tensor("index")?);
    let at = tensor.dim(call.int("dim")?)?;
    if tensor.axis() == Some(at) || !index.is_free() || tensor.drops() {
        return Err(call.unclear("where it writes"));
    }
    for name in ["source", "value"] {
        if let Some(Value::Tensor(source)) = call.find(name)
            && !source.is_free()
            && !source.state.same(&tensor.state)
        {
            return Err(call.unclear("what it writes"));
        }
    }
    one(tensor)
}
