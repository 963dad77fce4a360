//! Elements that are there several times: dimensions that are expanded, copies behind each other.

use super::{Call, RuleResult, Value, one};
use crate::engine::probe::proof::size::Size;
use crate::engine::probe::proof::value::{Axis, State, Tensor};

/// Elements of dimensions of size 1 for every index. A constant that is expanded to the rows has one for each.
pub(super) fn expand(call: &Call<'_, '_>, tensor: &Tensor) -> RuleResult {
    let sizes = call.sizes("size")?;
    let dims = tensor.sizes()?;
    let Some(more) = sizes.len().checked_sub(dims.len()) else {
        return Err(call.unclear("its shape"));
    };
    let mut result = sizes.clone();
    for (at, size) in dims.iter().enumerate() {
        if sizes[more + at].is(-1) {
            result[more + at] = size.clone();
        }
    }
    match tensor.axis() {
        Some(at) => {
            let others = (0..result.len()).any(|it| it != more + at && result[it].has_rows());
            if others || !result[more + at].same(&dims[at]) {
                return Err(call.meets("repeats rows"));
            }
            one(Tensor { is_expanded: true, ..tensor.moved(result, more + at) })
        }
        None => {
            let rows: Vec<usize> = (0..result.len()).filter(|&it| result[it].has_rows()).collect();
            match rows[..] {
                [] => one(Tensor { is_expanded: true, ..tensor.with_dims(result) }),
                // Rows that are all the same; where the constant has several, they are a fixed number.
                [at] if at < more || dims[at - more].is(1) => {
                    let inner =
                        result[at].over(&Size::rows()).ok_or_else(|| call.unclear("its shape"))?;
                    let state = State::Rows(Axis { inner, ..Axis::plain(at) });
                    one(Tensor { state, dims: Some(result), kind: tensor.kind, is_expanded: true })
                }
                _ => Err(call.unclear("a shape that hangs on the number of rows")),
            }
        }
    }
}

/// Copies behind each other.
pub(super) fn repeat(call: &Call<'_, '_>, tensor: &Tensor) -> RuleResult {
    let name = if call.name == "tile" { "dims" } else { "repeats" };
    let mut times = call.sizes(name)?;
    let dims = tensor.sizes()?.to_vec();
    if times.len() < dims.len() && call.name == "tile" {
        times.splice(0..0, vec![Size::of(1); dims.len() - times.len()]);
    }
    let Some(more) = times.len().checked_sub(dims.len()) else {
        return Err(call.unclear("its shape"));
    };
    let own = |at: usize| at.checked_sub(more).map_or_else(|| Size::of(1), |at| dims[at].clone());
    let sizes: Vec<Size> =
        times.iter().enumerate().map(|(at, times)| own(at).times(times)).collect();
    let rows: Vec<usize> = (0..sizes.len()).filter(|&it| sizes[it].has_rows()).collect();
    let state = match (tensor.rows(), &rows[..]) {
        (None, []) => return one(tensor.with_dims(sizes)),
        (Some(axis), [at]) if *at == axis.at + more && !times[*at].has_rows() => {
            State::Rows(Axis { at: *at, outer: axis.outer.times(&times[*at]), ..axis.clone() })
        }
        // A constant, once for each row.
        (None, [at]) if tensor.is_free() => {
            let outer = times[*at].over(&Size::rows()).ok_or_else(|| call.unclear("its shape"))?;
            if !outer.is(1) {
                return Err(call.unclear("its shape"));
            }
            State::Rows(Axis { inner: own(*at), ..Axis::plain(*at) })
        }
        _ => return Err(call.unclear("a shape that hangs on the number of rows")),
    };
    one(Tensor { state, ..Tensor::free(Some(sizes), tensor.kind) })
}

/// Each element several times.
pub(super) fn repeat_interleave(call: &mut Call<'_, '_>, tensor: &Tensor) -> RuleResult {
    let times = match call.find("repeats") {
        Some(value @ Value::Number(_)) => call.size(&value.clone())?,
        _ => return Err(call.shaped_by_values()),
    };
    let Some(at) = call.optional_int("dim")? else {
        return Err(call.meets("lays rows out so that they mix"));
    };
    let at = tensor.dim(at)?;
    let mut dims = tensor.sizes()?.to_vec();
    dims[at] = dims[at].times(&times);
    if times.has_rows() {
        return Err(call.unclear("a shape that hangs on the number of rows"));
    }
    match tensor.rows() {
        Some(axis) if axis.at == at => {
            let state = State::Rows(Axis { inner: axis.inner.times(&times), ..axis.clone() });
            one(Tensor { state, ..Tensor::free(Some(dims), tensor.kind) })
        }
        _ if matches!(tensor.state, State::Places(_)) => Err(call.unclear("the places of rows")),
        _ => one(tensor.with_dims(dims)),
    }
}
