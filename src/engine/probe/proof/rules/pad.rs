//! Padding: rows must not be among the dimensions that it widens.

use super::{Call, RuleResult, Value, one};
use crate::engine::probe::proof::reason::Reason;
use crate::engine::probe::proof::size::Size;
use crate::engine::probe::proof::value::Tensor;

/// Adds widths, which are given in pairs for the last dimension first.
pub(super) fn padded(
    call: &mut Call<'_, '_>,
    dims: &mut [Size],
    widths: &[i64],
) -> Result<(), Reason> {
    for (nth, pair) in widths.chunks(2).enumerate() {
        let at = dims.len().checked_sub(nth + 1).ok_or_else(|| call.unclear("pad"))?;
        let more = Size::of(pair.iter().sum());
        let sum = call.walk.symbols.plus(&dims[at], &more);
        dims[at] = sum.ok_or_else(|| call.meets("adds rows"))?;
    }
    Ok(())
}

pub(super) fn pad(call: &mut Call<'_, '_>) -> RuleResult {
    let input = call.first()?;
    let mut dims = input.sizes()?.to_vec();
    let Ok(widths) = call.ints("pad") else { return pad_by_sizes(call, &input, dims) };
    let reached = dims.len().saturating_sub(widths.len().div_ceil(2));
    let is_constant = match call.find("mode") {
        Some(Value::Text(Some(mode))) => &**mode == "constant",
        None => true,
        _ => false,
    };
    if let Some(at) = input.axis().filter(|at| *at >= reached) {
        let nth = dims.len() - 1 - at;
        let own = widths.get(2 * nth..2 * nth + 2).unwrap_or(&[1]);
        if !is_constant || own.iter().any(|width| *width != 0) {
            return Err(call.meets("adds rows"));
        }
    }
    if input.drops() {
        return Err(call.unclear("the rank of its input"));
    }
    padded(call, &mut dims, &widths)?;
    one(input.with_dims(dims))
}

/// Widths that follow from sizes: the rows must not be among the dimensions that they reach.
fn pad_by_sizes(call: &mut Call<'_, '_>, input: &Tensor, mut dims: Vec<Size>) -> RuleResult {
    let widths = call.sizes("pad")?;
    let reached = dims.len().saturating_sub(widths.len().div_ceil(2));
    if widths.iter().any(Size::has_rows)
        || input.drops()
        || input.axis().is_some_and(|at| at >= reached)
    {
        return Err(call.unclear("pad"));
    }
    for size in &mut dims[reached..] {
        *size = Size::unknown();
    }
    one(input.with_dims(dims))
}
