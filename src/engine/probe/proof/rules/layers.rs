//! Layers of networks: each sees one element of its batch at a time.

use super::convolution::{self, nth_of, windows};
use super::{Call, RuleResult, Value, norm, one, pad};
use crate::engine::probe::proof::reason::{Doubt, Reason};
use crate::engine::probe::proof::size::Size;
use crate::engine::probe::proof::value::{Kind, Tensor};

pub(super) const OPERATORS: &[&str] = &[
    "_convolution",
    "_convolution_mode",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "constant_pad_nd",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv1d_relu",
    "conv2d_relu",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "convolution",
    "channel_shuffle",
    "fold",
    "col2im",
    "grid_sampler",
    "grid_sampler_2d",
    "group_norm",
    "im2col",
    "instance_norm",
    "layer_norm",
    "max_pool1d",
    "max_pool1d_with_indices",
    "max_pool2d",
    "max_pool2d_with_indices",
    "max_pool3d",
    "max_pool3d_with_indices",
    "mkldnn_convolution",
    "native_group_norm",
    "native_layer_norm",
    "pad",
    "pixel_shuffle",
    "pixel_unshuffle",
    "reflection_pad1d",
    "reflection_pad2d",
    "reflection_pad3d",
    "replication_pad1d",
    "replication_pad2d",
    "replication_pad3d",
    "rms_norm",
    "upsample_bicubic2d",
    "upsample_bilinear2d",
    "upsample_linear1d",
    "upsample_nearest1d",
    "upsample_nearest2d",
    "upsample_nearest3d",
    "upsample_trilinear3d",
    "_upsample_nearest_exact2d",
    "_upsample_bilinear2d_aa",
    "_upsample_bicubic2d_aa",
    "affine_grid_generator",
    "_native_multi_head_attention",
    "_transformer_encoder_layer_fwd",
    "local_response_norm",
    "normalize",
];

pub(super) fn apply(call: &mut Call<'_, '_>) -> RuleResult {
    if call.node.kind.starts_with("quantized::") {
        return quantized(call);
    }
    let name = call.name;
    if name.contains("conv") {
        return convolution::convolution(call);
    }
    match name {
        "batch_norm" => norm::batch_norm(call),
        "instance_norm" => norm::instance_norm(call),
        "layer_norm" | "native_layer_norm" | "rms_norm" => norm::layer_norm(call),
        "group_norm" | "native_group_norm" => norm::group_norm(call),
        "constant_pad_nd" | "pad" => pad::pad(call),
        "pixel_shuffle" | "pixel_unshuffle" | "channel_shuffle" => shuffle(call),
        "im2col" | "fold" | "col2im" => columns(call),
        "grid_sampler" | "grid_sampler_2d" => sampled(call),
        "_transformer_encoder_layer_fwd" => encoder_layer(call),
        "_native_multi_head_attention" => native_attention(call),
        "affine_grid_generator" | "local_response_norm" | "normalize" => {
            Err(call.unclear("the shape"))
        }
        _ => spatial(call),
    }
}

/// The input with rows in a dimension before the last `n`, which a layer works on.
pub(super) fn input_before(call: &Call<'_, '_>, n: usize) -> Result<(Tensor, Vec<Size>), Reason> {
    let input = call.first()?;
    let dims = input.sizes()?.to_vec();
    let first = dims.len().checked_sub(n).ok_or_else(|| call.unclear("the rank of its input"))?;
    if input.axis().is_some_and(|at| at >= first) {
        return Err(call.meets("works across the rows"));
    }
    if input.drops() {
        return Err(call.unclear("the rank of its input"));
    }
    Ok((input, dims))
}

/// How many dimensions of space an operator has, by its name.
fn space(name: &str) -> usize {
    let digit = name
        .bytes()
        .rev()
        .zip(name.bytes().rev().skip(1))
        .find(|(d, it)| *d == b'd' && it.is_ascii_digit());
    digit.map_or(2, |(_, digit)| usize::from(digit - b'0'))
}

/// Pooling and resizing.
fn spatial(call: &mut Call<'_, '_>) -> RuleResult {
    let n = space(call.name);
    let (input, mut dims) = input_before(call, n)?;
    let first = dims.len() - n;
    if call.name.starts_with("adaptive") || call.name.contains("upsample") {
        let given = match call.find("output_size") {
            None | Some(Value::None) => Vec::new(),
            Some(_) => {
                call.sizes("output_size").or_else(|_| optional_sizes(call, "output_size"))?
            }
        };
        for (nth, size) in dims[first..].iter_mut().enumerate() {
            *size = given.get(nth).or(given.first()).cloned().unwrap_or_else(Size::unknown);
        }
    } else if call.name.contains("pad") {
        let widths = call.ints("padding")?;
        pad::padded(call, &mut dims, &widths)?;
    } else {
        let given = |name: &str| match call.find(name) {
            None => Ok(Vec::new()),
            Some(_) => call.ints(name),
        };
        let ceil = call.find("ceil_mode").map_or(Ok(false), |_| call.flag("ceil_mode"));
        let known =
            (given("kernel_size"), given("stride"), given("padding"), given("dilation"), ceil);
        let (Ok(kernel), Ok(stride), Ok(padding), Ok(dilation), Ok(ceil)) = known else {
            for size in &mut dims[first..] {
                *size = Size::unknown();
            }
            return pooled(call, input.with_dims(dims));
        };
        for nth in 0..n {
            let kernel = nth_of(&kernel, nth, 1);
            let stride = nth_of(&stride, nth, kernel);
            let sizes = [kernel, stride, nth_of(&padding, nth, 0), nth_of(&dilation, nth, 1)];
            dims[first + nth] = windows(call, &dims[first + nth].clone(), sizes, ceil);
        }
    }
    if dims[first..].iter().any(Size::has_rows) {
        return Err(call.unclear("a shape that hangs on the number of rows"));
    }
    pooled(call, input.with_dims(dims))
}

/// One output, or values and their places.
fn pooled(call: &Call<'_, '_>, result: Tensor) -> RuleResult {
    match call.node.outputs.len() {
        2 => Ok(Value::Tuple(vec![
            Value::Tensor(result.clone()),
            Value::Tensor(result.of(Kind::Whole)),
        ])),
        _ => one(result),
    }
}

/// Sizes some of which may be None.
fn optional_sizes(call: &Call<'_, '_>, name: &str) -> Result<Vec<Size>, Reason> {
    let values = call.elements(name)?;
    let size = |value: &Value| match value {
        Value::None => Ok(Size::unknown()),
        value => call.size(value),
    };
    values.iter().map(size).collect()
}

/// Moves elements between channels and space, or between channels.
fn shuffle(call: &mut Call<'_, '_>) -> RuleResult {
    let n =
        if call.name == "channel_shuffle" { call.first()?.rank()?.saturating_sub(1) } else { 3 };
    let (input, mut dims) = input_before(call, n)?;
    let rank = dims.len();
    if call.name == "channel_shuffle" {
        return one(input);
    }
    let by = if call.name == "pixel_shuffle" { "upscale_factor" } else { "downscale_factor" };
    let factor = Size::of(call.int(by)?);
    let square = factor.times(&factor);
    let divided = |size: &Size, by: &Size| size.over(by).unwrap_or_else(Size::unknown);
    for (at, size) in dims.iter_mut().enumerate().skip(rank - 3) {
        *size = match (at == rank - 3, call.name == "pixel_shuffle") {
            (true, true) => divided(size, &square),
            (true, false) => size.times(&square),
            (false, true) => size.times(&factor),
            (false, false) => divided(size, &factor),
        };
    }
    one(input.with_dims(dims))
}

/// Windows of images as columns, and back.
fn columns(call: &mut Call<'_, '_>) -> RuleResult {
    let n = if call.name == "im2col" { 3 } else { 2 };
    let (input, dims) = input_before(call, n)?;
    let Some(first) = dims.first().filter(|_| dims.len() == n + 1 && input.axis() == Some(0))
    else {
        return Err(call.unclear("the rank of its input"));
    };
    let mut sizes = vec![first.clone()];
    sizes.extend(vec![Size::unknown(); if call.name == "im2col" { 2 } else { 3 }]);
    one(input.with_dims(sizes))
}

fn sampled(call: &mut Call<'_, '_>) -> RuleResult {
    let (input, grid) = (call.first()?, call.tensor("grid")?);
    let same =
        input.rows().zip(grid.rows()).is_some_and(|(a, b)| a.same(b) && a.at == 0 && !a.drops);
    if !same {
        return Err(call.meets("samples rows at places of other rows"));
    }
    let (from, places) = (input.sizes()?.to_vec(), grid.sizes()?.to_vec());
    let mut dims = from[..2].to_vec();
    dims.extend_from_slice(places.get(1..places.len() - 1).unwrap_or_default());
    one(input.with_dims(dims))
}

/// A whole layer of an encoder in one operator; its first dimension is the batch.
fn encoder_layer(call: &mut Call<'_, '_>) -> RuleResult {
    let source = call.tensor("src")?;
    let rest = call.arguments.get(1..).unwrap_or_default();
    let is_free = |it: &Value| !matches!(it, Value::Tensor(tensor) if !tensor.is_free());
    let is_batch =
        source.rows().is_some_and(|axis| axis.at == 0 && !axis.drops) && source.rank() == Ok(3);
    if !is_batch || !rest.iter().all(is_free) {
        return Err(call.unclear("the mask"));
    }
    call.asked_for_all();
    // A width of one is brought together with that of the weights.
    let mut dims = source.sizes()?.to_vec();
    if dims[2].value().is_none_or(|width| width <= 1) {
        dims[2] = Size::unknown();
    }
    one(source.with_dims(dims))
}

/// Attention in one operator, its first dimension the batch: the answer, and the weights of each row.
fn native_attention(call: &mut Call<'_, '_>) -> RuleResult {
    let query = call.tensor("query")?;
    for name in ["query", "key", "value"] {
        let tensor = call.tensor(name)?;
        let is_batch =
            tensor.rows().is_some_and(|axis| axis.at == 0 && axis.is_plain() && !axis.drops);
        if !is_batch || tensor.rank()? != 3 {
            return Err(call.unclear("where its rows lie"));
        }
    }
    let rest = call.arguments.get(3..).unwrap_or_default();
    if rest.iter().any(|it| matches!(it, Value::Tensor(tensor) if !tensor.is_free())) {
        return Err(call.unclear("the mask"));
    }
    let mut weights = query.sizes()?.to_vec();
    for size in &mut weights[1..] {
        *size = Size::unknown();
    }
    call.asked_for_all();
    let weights = query.with_dims(weights);
    // As wide as its last weights make it.
    let mut dims = query.sizes()?.to_vec();
    dims[2] = call.tensor("proj_weight")?.sizes()?.first().cloned().unwrap_or_else(Size::unknown);
    let query = query.with_dims(dims);
    Ok(Value::Tuple(vec![Value::Tensor(query), Value::Tensor(weights)]))
}

/// Layers with packed weights: their scales are fixed, their sizes are not told.
fn quantized(call: &mut Call<'_, '_>) -> RuleResult {
    let input = call.first()?;
    if call.name.contains("dynamic") {
        return Err(Reason::new(
            Doubt::Scaled,
            format!("{} takes its scale over all rows", call.node.kind),
        ));
    }
    let (rank, is_batch) = (input.rank()?, input.axis() == Some(0) && !input.drops());
    if !is_batch || !call.name.starts_with("conv") || rank < 3 {
        return Err(call.unclear("the shape"));
    }
    let mut dims = vec![Size::unknown(); rank];
    dims[0] = input.sizes()?[0].clone();
    one(input.with_dims(dims))
}
