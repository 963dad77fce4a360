//! Parts of tensors, and tensors that are put together.

use super::{Call, RuleResult, Value, one};
use crate::engine::probe::proof::reason::{Doubt, Reason};
use crate::engine::probe::proof::size::Size;
use crate::engine::probe::proof::value::{Axis, Elements, Kind, Object, State, Tensor, wrapped};
use crate::engine::probe::proof::walk;

pub(super) const OPERATORS: &[&str] = &[
    "cat",
    "chunk",
    "column_stack",
    "concat",
    "concatenate",
    "dstack",
    "hstack",
    "narrow",
    "select",
    "slice",
    "split",
    "split_with_sizes",
    "stack",
    "tensor_split",
    "unbind",
    "unsafe_chunk",
    "unsafe_split",
    "vstack",
    "meshgrid",
    "broadcast_tensors",
    "unsafe_split_with_sizes",
];

/// Most parts that are told apart.
const MAX_PARTS: i64 = 1024;

pub(super) fn apply(call: &mut Call<'_, '_>) -> RuleResult {
    match call.name {
        "cat" | "concat" | "concatenate" => {
            let tensors = call.tensors("tensors")?;
            let dim = call.int("dim")?;
            cat(call, tensors, dim)
        }
        "hstack" => {
            let tensors = call.tensors("tensors")?;
            let dim = if tensors.first().is_some_and(|it| it.rank() == Ok(1)) { 0 } else { 1 };
            cat(call, tensors, dim)
        }
        "stack" => stack(call),
        "select" => select(call),
        "slice" | "narrow" => slice(call),
        "chunk"
        | "unsafe_chunk"
        | "split"
        | "unsafe_split"
        | "split_with_sizes"
        | "unsafe_split_with_sizes"
        | "tensor_split"
        | "unbind" => parts(call),
        _ => Err(call.unclear("where its rows go")),
    }
}

/// Tensors behind each other along a dimension that holds no rows.
fn cat(call: &mut Call<'_, '_>, tensors: Vec<Tensor>, dim: i64) -> RuleResult {
    let first = tensors.iter().find(|it| it.axis().is_some()).or(tensors.first());
    let first = first.cloned().ok_or_else(|| call.unclear("what it puts together"))?;
    if first.drops() {
        return Err(call.unclear("the rank of its input"));
    }
    let at = first.dim(dim)?;
    if first.axis() == Some(at) {
        return Err(call.meets("puts rows behind other rows"));
    }
    let rank = first.rank()?;
    let mut size = Size::of(0);
    for tensor in &tensors {
        // An empty tensor is left out, whatever its rank.
        if tensor.is_free()
            && tensor.dims.as_deref().is_some_and(|dims| dims.len() == 1 && dims[0].is(0))
        {
            continue;
        }
        if tensor.rank()? != rank || !tensor.state.same(&first.state) {
            let text = format!("{} puts together what has rows and what has none", call.node.kind);
            return Err(Reason::unknown(text));
        }
        let sum = call.walk.symbols.plus(&size, &tensor.sizes()?[at]);
        size = sum.ok_or_else(|| call.meets("puts rows behind other rows"))?;
    }
    let mut dims = first.sizes()?.to_vec();
    dims[at] = size;
    one(first.with_dims(dims))
}

fn stack(call: &mut Call<'_, '_>) -> RuleResult {
    // A list whose length is not known gives a size that is not known.
    let (tensors, count) = match call.find("tensors") {
        Some(Value::List(place)) => match call.walk.heap.list(*place)? {
            Elements::Known(values) => (values.clone(), Some(values.len())),
            Elements::Any(value) => (value.iter().map(|it| (**it).clone()).collect(), None),
        },
        _ => return Err(call.unclear("what it puts together")),
    };
    let tensors: Vec<Tensor> = tensors
        .into_iter()
        .map(|value| match value {
            Value::Tensor(tensor) => Ok(tensor),
            other => Err(other.mixed().cloned().unwrap_or_else(|| call.unclear("an element"))),
        })
        .collect::<Result<_, _>>()?;
    let first = tensors.first().cloned().ok_or_else(|| call.unclear("what it puts together"))?;
    if first.drops()
        || tensors.iter().any(|it| !it.state.same(&first.state) || it.rank() != first.rank())
    {
        // What has no rows may stand beside what has none.
        return Err(call.unclear("where the rows of each lie"));
    }
    let at = wrapped(call.int("dim")?, first.rank()? + 1).ok_or_else(|| call.unclear("dim"))?;
    let mut dims = first.sizes()?.to_vec();
    dims.insert(at, count.map_or_else(Size::unknown, |count| Size::of(count as i64)));
    let rows = first.axis().unwrap_or_default();
    one(first.moved(dims, if rows >= at { rows + 1 } else { rows }))
}

/// One index of a dimension.
fn select(call: &Call<'_, '_>) -> RuleResult {
    let tensor = call.first()?;
    let at = tensor.dim(call.int("dim")?)?;
    if tensor.axis() == Some(at) {
        return Err(call.meets("takes single rows out"));
    }
    if tensor.drops() {
        return Err(call.unclear("the rank of its input"));
    }
    if let Some(reason) = call.number("index")?.hangs() {
        return Err(reason);
    }
    let mut dims = tensor.sizes()?.to_vec();
    dims.remove(at);
    let rows = tensor.axis().unwrap_or_default();
    one(tensor.moved(dims, if rows > at { rows - 1 } else { rows }))
}

/// A range of a dimension; all of it, where that holds the rows.
fn slice(call: &mut Call<'_, '_>) -> RuleResult {
    let tensor = call.first()?;
    let at = tensor.dim(call.int("dim")?)?;
    let ends = slice_ends(call)?;
    let is_all = matches!(ends, (Some(0), None, 1));
    if tensor.drops() {
        return if is_all && tensor.axis() == Some(at) {
            one(tensor)
        } else {
            Err(call.unclear("the rank of its input"))
        };
    }
    if tensor.axis() == Some(at) {
        return if is_all { one(tensor) } else { Err(call.meets("takes single rows out")) };
    }
    let mut dims = tensor.sizes()?.to_vec();
    if !is_all {
        dims[at] = sliced(&dims[at], ends);
    }
    one(tensor.with_dims(dims))
}

/// Start, end and step; `None` where it is not known, and for an end beyond every size.
fn slice_ends(call: &Call<'_, '_>) -> Result<(Option<i64>, Option<i64>, i64), Reason> {
    if call.name == "narrow" {
        for name in ["start", "length"] {
            if let Some(reason) = call.number(name).ok().and_then(|it| it.hangs()) {
                return Err(reason);
            }
        }
        let start = call.int("start").ok().filter(|start| *start >= 0);
        let end = start.zip(call.int("length").ok()).map(|(start, length)| start + length);
        return Ok((start, end.or(Some(i64::MIN)), 1));
    }
    let number = |name: &str, missing: i64| match call.find(name) {
        None | Some(Value::None) => Ok(Some(missing)),
        Some(_) => {
            let number = call.number(name)?;
            match number.hangs() {
                Some(reason) => Err(reason),
                None => Ok(number.as_int()),
            }
        }
    };
    let (start, end) = (number("start", 0)?, number("end", i64::MAX)?);
    let step = number("step", 1)?.ok_or_else(|| call.unclear("its step"))?;
    let end = match end {
        Some(i64::MAX) => None,
        // What is not known is no known end.
        None => Some(i64::MIN),
        end => end,
    };
    Ok((start, end, step))
}

fn sliced(size: &Size, (start, end, step): (Option<i64>, Option<i64>, i64)) -> Size {
    let (Some(size), Some(start)) = (size.value(), start) else { return Size::unknown() };
    if end == Some(i64::MIN) || step <= 0 {
        return Size::unknown();
    }
    let place = |at: i64| if at < 0 { (at + size).max(0) } else { at.min(size) };
    let (start, end) = (place(start), place(end.unwrap_or(size)));
    Size::of(((end - start).max(0) + step - 1) / step)
}

/// Several parts along a dimension that holds no rows.
fn parts(call: &mut Call<'_, '_>) -> RuleResult {
    let tensor = call.first()?;
    if tensor.drops() {
        return Err(call.unclear("the rank of its input"));
    }
    let at = tensor.dim(call.int("dim")?)?;
    if tensor.axis() == Some(at) {
        return Err(call.meets("takes rows apart"));
    }
    let whole = tensor.sizes()?[at].clone();
    let sizes: Option<Vec<Size>> = match call.name {
        "unbind" => whole
            .value()
            .filter(|it| *it <= MAX_PARTS)
            .map(|it| vec![Size::of(1); it.max(0) as usize]),
        "chunk" | "unsafe_chunk" => whole.value().and_then(|size| {
            let chunks = call.int("chunks").ok().filter(|it| *it > 0)?;
            in_steps(size, (size + chunks - 1) / chunks)
        }),
        "split_with_sizes" | "unsafe_split_with_sizes" => Some(call.sizes("split_sizes")?),
        "split" | "unsafe_split" => match call.find("split_sizes") {
            Some(_) => Some(call.sizes("split_sizes")?),
            None => match call.int("split_size") {
                Ok(step) => whole.value().and_then(|size| in_steps(size, step)),
                Err(_) => None,
            },
        },
        _ => None,
    };
    if sizes.iter().flatten().any(Size::has_rows) {
        return Err(call.unclear("a shape that hangs on the number of rows"));
    }
    let is_unbind = call.name == "unbind";
    let part = |size: Size| {
        let mut dims = tensor.dims.clone().unwrap_or_default();
        let rows = tensor.axis().unwrap_or_default();
        if is_unbind {
            dims.remove(at);
        } else {
            dims[at] = size;
        }
        Value::Tensor(tensor.moved(dims, if is_unbind && rows > at { rows - 1 } else { rows }))
    };
    match sizes {
        Some(sizes) => {
            let parts = sizes.into_iter().map(part).collect();
            Ok(walk::list(&mut call.walk.heap, call.node, parts))
        }
        None => {
            let any = Elements::Any(Some(Box::new(part(Size::unknown()))));
            let site = call.node.outputs.first().copied().unwrap_or_default();
            Ok(Value::List(call.walk.heap.make(site, Object::List(any))))
        }
    }
}

/// Parts of a step each, the last with the rest.
fn in_steps(size: i64, step: i64) -> Option<Vec<Size>> {
    if step <= 0 || size < 0 || size / step > MAX_PARTS {
        return None;
    }
    let starts = (0..size.max(1)).step_by(usize::try_from(step).ok()?);
    Some(starts.map(|start| Size::of(step.min(size - start))).collect())
}

/// A tensor that holds each row's place.
pub(super) fn places() -> Tensor {
    let (state, dims) = (State::Places(0), Some(vec![Size::rows()]));
    Tensor { state, ..Tensor::free(dims, Kind::Whole) }
}

/// A constant with a row for each row.
pub(super) fn filled(call: &Call<'_, '_>, dims: Vec<Size>, like: Tensor) -> Result<Tensor, Reason> {
    let rows: Vec<usize> = (0..dims.len()).filter(|&it| dims[it].has_rows()).collect();
    let state = match rows[..] {
        [] => State::Free,
        [at] => {
            let inner = dims[at].over(&Size::rows()).ok_or_else(|| call.unclear("its shape"))?;
            State::Rows(Axis { inner, ..Axis::plain(at) })
        }
        // As a matrix of every row against every other one.
        _ => {
            let text = format!("{} has the number of rows in two dimensions", call.node.kind);
            return Err(Reason::new(Doubt::Counted, text));
        }
    };
    Ok(Tensor { state, ..Tensor::free(Some(dims), like.kind) })
}
