//! Convolutions, and how many windows fit into a dimension of space, which pooling asks too.

use super::{Call, RuleResult, Value, one};
use crate::engine::probe::proof::reason::Reason;
use crate::engine::probe::proof::size::Size;
use crate::engine::probe::proof::value::{Kind, Tensor};

pub(super) fn convolution(call: &mut Call<'_, '_>) -> RuleResult {
    let input = call.first()?;
    let weight = call.tensor("weight")?;
    let bias = call.optional_tensor("bias")?;
    if !weight.is_free() || bias.is_some_and(|bias| !bias.is_free() || bias.rank() != Ok(1)) {
        return Err(call.meets("has weights that hang on rows"));
    }
    let (rank, weights) = (input.rank()?, weight.sizes()?.to_vec());
    if rank != weights.len() || rank < 3 {
        return Err(call.unclear("its input, which is no batch,"));
    }
    if input.axis().is_some_and(|at| at != 0) {
        return Err(call.meets("works across the rows"));
    }
    let is_transposed = call.name.contains("transpose")
        || (call.find("transposed").is_some() && call.flag("transposed")?);
    let groups = call.optional_int("groups")?.unwrap_or(1);
    let channels = match is_transposed {
        true => weights[1].times(&Size::of(groups)),
        false => weights[0].clone(),
    };
    let mut dims = vec![input.sizes()?[0].clone(), channels];
    for axis in 2..rank {
        dims.push(match is_transposed {
            true => Size::unknown(),
            false => convolved(call, &input, &weights, axis)?,
        });
    }
    if is_transposed {
        transposed_space(call, &input, &weights, &mut dims);
    }
    one(input.with_dims(dims).of(Kind::Float))
}

/// `floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1`, as the documentation of `Conv2d` has it.
fn convolved(
    call: &mut Call<'_, '_>,
    input: &Tensor,
    weights: &[Size],
    axis: usize,
) -> Result<Size, Reason> {
    let size = input.sizes()?[axis].clone();
    let nth = axis - 2;
    let stride = nth_of(&call.ints("stride")?, nth, 1);
    let dilation = nth_of(&call.ints("dilation")?, nth, 1);
    let padding = match call.find("padding") {
        Some(Value::Text(Some(text))) if &**text == "same" => return Ok(size),
        Some(Value::Text(Some(text))) if &**text == "valid" => 0,
        Some(Value::Text(_)) => return Ok(Size::unknown()),
        _ => nth_of(&call.ints("padding")?, nth, 0),
    };
    let Some(kernel) = weights[axis].value() else { return Ok(Size::unknown()) };
    Ok(windows(call, &size, [kernel, stride, padding, dilation], false))
}

/// How many windows fit; a symbol of its own where the size is one.
pub(super) fn windows(call: &mut Call<'_, '_>, size: &Size, sizes: [i64; 4], ceil: bool) -> Size {
    let [kernel, stride, padding, dilation] = sizes;
    let Some(value) = size.value() else {
        let name = format!("windows {kernel} {stride} {padding} {dilation} {ceil}");
        return call
            .walk
            .symbols
            .function(&name, std::slice::from_ref(size))
            .unwrap_or_else(Size::unknown);
    };
    let is_sane = [value, kernel, stride, padding, dilation].iter().all(|it| it.abs() < 1 << 30);
    if !is_sane || stride <= 0 {
        return Size::unknown();
    }
    let span = value + 2 * padding - dilation * (kernel - 1) - 1;
    if span < 0 {
        return Size::unknown();
    }
    let rest = if ceil { stride - 1 } else { 0 };
    let mut count = (span + rest) / stride + 1;
    // The last window must begin inside of the input or its left padding.
    if ceil && (count - 1) * stride >= value + padding {
        count -= 1;
    }
    Size::of(count)
}

/// `(size - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1`.
fn transposed_space(call: &Call<'_, '_>, input: &Tensor, weights: &[Size], dims: &mut [Size]) {
    let (Ok(sizes), Ok(stride), Ok(padding), Ok(dilation), Ok(more)) = (
        input.sizes(),
        call.ints("stride"),
        call.ints("padding"),
        call.ints("dilation"),
        call.ints("output_padding"),
    ) else {
        return;
    };
    for axis in 2..dims.len() {
        let nth = axis - 2;
        if let (Some(size), Some(kernel)) = (sizes[axis].value(), weights[axis].value()) {
            let value = (size - 1) * nth_of(&stride, nth, 1) - 2 * nth_of(&padding, nth, 0)
                + nth_of(&dilation, nth, 1) * (kernel - 1)
                + nth_of(&more, nth, 0)
                + 1;
            dims[axis] = Size::of(value);
        }
    }
}

/// One number for each dimension, or one for all.
pub(super) fn nth_of(values: &[i64], nth: usize, default: i64) -> i64 {
    match values {
        [] => default,
        [only] => *only,
        values => values.get(nth).copied().unwrap_or(default),
    }
}
