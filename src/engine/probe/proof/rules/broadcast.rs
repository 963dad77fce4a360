//! How the shapes of two operands are brought together, and their rows with them.

use super::Call;
use crate::engine::probe::proof::reason::{Doubt, Reason};
use crate::engine::probe::proof::size::Size;
use crate::engine::probe::proof::value::{Kind, State, Tensor};

/// The shape and the state of what two tensors give together, element by element.
pub(super) fn together(call: &Call<'_, '_>, a: &Tensor, b: &Tensor) -> Result<Tensor, Reason> {
    let kind = match (a.kind, b.kind) {
        (a, b) if a == b => a,
        (Kind::Float, _) | (_, Kind::Float) => Kind::Float,
        _ => Kind::Unknown,
    };
    for tensor in [a, b] {
        if let State::Number(number) = &tensor.state
            && let Some(reason) = number.hangs()
        {
            return Err(reason);
        }
        if matches!(tensor.state, State::Places(_)) {
            return Err(call.meets("computes with the places of rows"));
        }
    }
    if a.is_free() && b.is_free() {
        let dims = match (&a.dims, &b.dims) {
            (Some(a), Some(b)) => Some(free_dims(a, b)),
            _ => None,
        };
        return Ok(Tensor::free(dims, kind));
    }
    // Where a dimension may be missing, only numbers and what misses it too can join.
    if a.drops() || b.drops() {
        let is_one =
            |tensor: &Tensor| tensor.is_free() && tensor.dims.as_ref().is_some_and(Vec::is_empty);
        return match (a.drops(), b.drops()) {
            (true, true) if a.state == b.state && a.dims == b.dims => Ok(a.clone().of(kind)),
            (true, _) if is_one(b) => Ok(a.clone().of(kind)),
            (_, true) if is_one(a) => Ok(b.clone().of(kind)),
            _ => Err(Reason::unknown(
                "a squeezed tensor meets others, and one row has another shape than two",
            )),
        };
    }
    rows_together(call, a, b, kind)
}

fn rows_together(
    call: &Call<'_, '_>,
    a: &Tensor,
    b: &Tensor,
    kind: Kind,
) -> Result<Tensor, Reason> {
    let (a_dims, b_dims) = (a.sizes()?, b.sizes()?);
    let rank = a_dims.len().max(b_dims.len());
    // Counted from the end, as shapes are brought together.
    let behind = |tensor: &Tensor, dims: &[Size]| tensor.axis().map(|at| dims.len() - at);
    let (a_axis, b_axis) = (behind(a, a_dims), behind(b, b_dims));
    let axis = match (a_axis, b_axis) {
        (Some(a), Some(b)) if a == b => a,
        (Some(_), Some(_)) => return Err(call.meets("brings rows together with other rows")),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return Err(call.unclear("where its rows lie")),
    };
    if let (Some(a_rows), Some(b_rows)) = (a.rows(), b.rows()) {
        let same = a_rows.outer.same(&b_rows.outer) && a_rows.inner.same(&b_rows.inner);
        if !same {
            return Err(Reason::unknown(format!("rows of {} lie differently", call.node.kind)));
        }
    }
    let at =
        |dims: &[Size], behind: usize| dims.len().checked_sub(behind).map(|at| dims[at].clone());
    let mut dims = Vec::with_capacity(rank);
    for behind in (1..=rank).rev() {
        let size = match (at(a_dims, behind), at(b_dims, behind)) {
            (Some(a), Some(b)) if behind == axis => match (a_axis, b_axis) {
                (Some(_), Some(_)) => a,
                (Some(_), None) if b.is(1) => a,
                (None, Some(_)) if a.is(1) => b,
                _ => {
                    let text = format!(
                        "{} brings rows together with a tensor of another size there: it takes a fixed number of rows",
                        call.node.kind
                    );
                    return Err(Reason::new(Doubt::Counted, text));
                }
            },
            (Some(a), Some(b)) => either(&a, &b),
            (Some(size), None) | (None, Some(size)) => size,
            (None, None) => return Err(call.unclear("a shape")),
        };
        dims.push(size);
    }
    let with_rows = if a_axis.is_some() { a } else { b };
    Ok(with_rows.moved(dims, rank - axis).of(kind))
}

/// The size of two dimensions that are brought together, neither of which holds rows.
pub(super) fn either(a: &Size, b: &Size) -> Size {
    if a.is(1) || a.same(b) {
        return b.clone();
    }
    if b.is(1) {
        return a.clone();
    }
    match (a.value(), b.value()) {
        (Some(1), _) => b.clone(),
        // One of them is not 1: the other is the same, or 1, or the model raises.
        (Some(_), None) => a.clone(),
        (None, Some(_)) => b.clone(),
        _ => Size::unknown(),
    }
}

fn free_dims(a: &[Size], b: &[Size]) -> Vec<Size> {
    let rank = a.len().max(b.len());
    let at =
        |dims: &[Size], behind: usize| dims.len().checked_sub(behind).map(|at| dims[at].clone());
    let size = |behind| match (at(a, behind), at(b, behind)) {
        (Some(a), Some(b)) => either(&a, &b),
        (Some(size), None) | (None, Some(size)) => size,
        (None, None) => Size::unknown(),
    };
    (1..=rank).rev().map(size).collect()
}
