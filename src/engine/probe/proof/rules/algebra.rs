//! Products of matrices: rows may be a batch of products or the rows of the left factor, never what is summed over.

use super::broadcast::{either, together};
use super::{Call, RuleResult, one};
use crate::engine::probe::proof::reason::{Doubt, Reason};
use crate::engine::probe::proof::size::Size;
use crate::engine::probe::proof::value::{Kind, State, Tensor};

pub(super) const OPERATORS: &[&str] = &[
    "addbmm",
    "addmm",
    "baddbmm",
    "bilinear",
    "bmm",
    "cdist",
    "cosine_similarity",
    "cross",
    "dot",
    "einsum",
    "inner",
    "linalg_cross",
    "linalg_vecdot",
    "linear",
    "linear_dynamic",
    "linear_relu",
    "linear_relu_dynamic",
    "linear_dynamic_fp16",
    "matmul",
    "mm",
    "mv",
    "outer",
    "pairwise_distance",
    "scaled_dot_product_attention",
    "vdot",
    "linalg_matmul",
];

pub(super) fn apply(call: &mut Call<'_, '_>) -> RuleResult {
    match call.name {
        "linear" if call.node.kind.starts_with("quantized::") => quantized_linear(call),
        "linear_relu" | "linear_dynamic" | "linear_relu_dynamic" | "linear_dynamic_fp16" => {
            quantized_linear(call)
        }
        "linear" => linear(call),
        "matmul" | "mm" | "bmm" | "mv" | "linalg_matmul" => {
            let second =
                ["other", "mat2", "vec"].into_iter().find(|name| call.find(name).is_some());
            let b = call.tensor(second.unwrap_or("other"))?;
            let a = call.first()?;
            one(product(call, &a, &b)?)
        }
        "addmm" | "baddbmm" => {
            let names = if call.name == "addmm" { ["mat1", "mat2"] } else { ["batch1", "batch2"] };
            let [a, b] = [call.tensor(names[0])?, call.tensor(names[1])?];
            let added = call.first()?;
            let product = product(call, &a, &b)?;
            one(together(call, &product, &added)?)
        }
        "scaled_dot_product_attention" => attention(call),
        "einsum" => einsum(call),
        "bilinear" => bilinear(call),
        "cdist" => distances(call),
        "cosine_similarity" | "pairwise_distance" => pairs(call),
        _ => Err(call.meets("multiplies what may be rows with rows")),
    }
}

/// `x W^T + b`: dimensions but the last pass through.
fn linear(call: &mut Call<'_, '_>) -> RuleResult {
    let (input, weight) = (call.tensor("input")?, call.tensor("weight")?);
    let bias = call.optional_tensor("bias")?;
    if !weight.is_free() || bias.as_ref().is_some_and(|bias| !bias.is_free()) {
        return Err(call.meets("has weights that hang on rows"));
    }
    if bias.is_some_and(|bias| bias.rank() != Ok(1)) {
        return Err(call.unclear("the shape of its bias"));
    }
    let Some(width) = weight.sizes()?.first().filter(|_| weight.rank() == Ok(2)).cloned() else {
        return Err(call.unclear("the shape of its weight"));
    };
    one(last_replaced(call, &input, width)?)
}

/// Weights are packed, so the width of the answer is not told.
fn quantized_linear(call: &mut Call<'_, '_>) -> RuleResult {
    let input = call.first()?;
    let is_dynamic = call.name.contains("dynamic") && !call.name.ends_with("fp16");
    if is_dynamic && !call.walk.accepts_scales {
        let text = format!("{} takes its scale over all rows", call.node.kind);
        return Err(Reason::new(Doubt::Scaled, text));
    }
    let result = last_replaced(call, &input, Size::unknown())?;
    one(result)
}

fn last_replaced(call: &Call<'_, '_>, input: &Tensor, width: Size) -> Result<Tensor, Reason> {
    let mut dims = input.sizes()?.to_vec();
    let Some(last) = dims.len().checked_sub(1) else { return Err(call.unclear("its input")) };
    if input.axis() == Some(last) {
        return Err(call.meets("multiplies along the rows"));
    }
    if input.drops() {
        return Err(call.unclear("the rank of its input"));
    }
    if matches!(input.state, State::Places(_)) {
        return Err(call.meets("computes with the places of rows"));
    }
    dims[last] = width;
    Ok(input.with_dims(dims).of(Kind::Float))
}

/// The product of two matrices, of two batches of them, or with a vector.
fn product(call: &Call<'_, '_>, a: &Tensor, b: &Tensor) -> Result<Tensor, Reason> {
    for tensor in [a, b] {
        if tensor.drops() || matches!(tensor.state, State::Places(_)) {
            return Err(call.unclear("the rank of a factor"));
        }
        if let State::Number(_) = tensor.state {
            return Err(call.unclear("a factor"));
        }
    }
    let (mut left, mut right) = (a.clone(), b.clone());
    let (a_rank, b_rank) = (a.rank()?, b.rank()?);
    if a_rank == 0 || b_rank == 0 {
        return Err(call.unclear("the rank of a factor"));
    }
    // A vector is a matrix of one row or one column, which the answer loses again.
    if a_rank == 1 {
        left = unsqueezed(&left, 0);
    }
    if b_rank == 1 {
        right = unsqueezed(&right, 1);
    }
    let summed = [left.rank()? - 1, right.rank()? - 2];
    if left.axis() == Some(summed[0]) || right.axis() == Some(summed[1]) {
        return Err(call.meets("sums over the rows"));
    }
    let mut result = matrices(call, &left, &right)?;
    if b_rank == 1 {
        result = without(&result, result.rank()? - 1);
    }
    if a_rank == 1 {
        let at = result.rank()? - if b_rank == 1 { 1 } else { 2 };
        result = without(&result, at);
    }
    Ok(result.of(Kind::Float))
}

fn matrices(call: &Call<'_, '_>, a: &Tensor, b: &Tensor) -> Result<Tensor, Reason> {
    let (a_dims, b_dims) = (a.sizes()?, b.sizes()?);
    let (a_rank, b_rank) = (a_dims.len(), b_dims.len());
    let (height, width) = (a_dims[a_rank - 2].clone(), b_dims[b_rank - 1].clone());
    let a_inside = a.axis() == Some(a_rank - 2);
    let b_inside = b.axis() == Some(b_rank - 1);
    if (a_inside && !b.is_free()) || (b_inside && !a.is_free()) {
        return Err(call.meets("brings rows together with other rows"));
    }
    // The dimensions before the matrices are brought together like those of elements.
    let batch = |tensor: &Tensor, dims: &[Size], inside: bool| {
        let outer = dims[..dims.len() - 2].to_vec();
        if inside { Tensor::free(Some(outer), Kind::Float) } else { tensor.with_dims(outer) }
    };
    let outer = together(call, &batch(a, a_dims, a_inside), &batch(b, b_dims, b_inside))?;
    let mut dims = outer.sizes()?.to_vec();
    dims.extend([height, width]);
    let rank = dims.len();
    let state = match (a_inside, b_inside) {
        (true, _) => a.moved(Vec::new(), rank - 2).state,
        (_, true) => b.moved(Vec::new(), rank - 1).state,
        _ => outer.state,
    };
    Ok(Tensor { state, ..Tensor::free(Some(dims), Kind::Float) })
}

fn unsqueezed(tensor: &Tensor, at: usize) -> Tensor {
    let mut dims = tensor.dims.clone().unwrap_or_default();
    dims.insert(at, Size::of(1));
    let rows = tensor.axis().unwrap_or_default();
    tensor.moved(dims, if rows >= at { rows + 1 } else { rows })
}

fn without(tensor: &Tensor, at: usize) -> Tensor {
    let mut dims = tensor.dims.clone().unwrap_or_default();
    if at < dims.len() {
        dims.remove(at);
    }
    let rows = tensor.axis().unwrap_or_default();
    tensor.moved(dims, if rows > at { rows - 1 } else { rows })
}

/// Queries see keys and values of their own batch alone.
fn attention(call: &mut Call<'_, '_>) -> RuleResult {
    let [query, key, value] = [call.tensor("query")?, call.tensor("key")?, call.tensor("value")?];
    if call.find("enable_gqa").is_some() && call.flag("enable_gqa")? {
        return Err(call.unclear("how its heads go together"));
    }
    let batch = |tensor: &Tensor| -> Result<Tensor, Reason> {
        let dims = tensor.sizes()?;
        let outer =
            dims.len().checked_sub(2).ok_or_else(|| call.unclear("the rank of a factor"))?;
        if tensor.axis().is_some_and(|at| at >= outer) {
            return Err(call.meets("lets rows see each other"));
        }
        Ok(tensor.with_dims(dims[..outer].to_vec()))
    };
    let mut outer = together(call, &batch(&query)?, &batch(&key)?)?;
    outer = together(call, &outer, &batch(&value)?)?;
    if let Some(mask) = call.optional_tensor("attn_mask")? {
        let masked = if mask.rank()? < 2 && mask.is_free() { outer.clone() } else { batch(&mask)? };
        outer = together(call, &outer, &masked)?;
    }
    let (queries, values) = (query.sizes()?, value.sizes()?);
    let mut dims = outer.sizes()?.to_vec();
    dims.push(queries[queries.len() - 2].clone());
    dims.push(values[values.len() - 1].clone());
    one(outer.with_dims(dims).of(Kind::Float))
}

/// Letters name dimensions: rows keep one letter, which the answer has too.
fn einsum(call: &mut Call<'_, '_>) -> RuleResult {
    let equation = call.find("equation").and_then(super::text).unwrap_or_default();
    let equation: String = equation.chars().filter(|it| !it.is_whitespace()).collect();
    let unclear = || Reason::unknown(format!("the equation {equation:?} of einsum is not known"));
    let (inputs, output) = equation.split_once("->").ok_or_else(unclear)?;
    let inputs: Vec<&str> = inputs.split(',').collect();
    let tensors = call.tensors("tensors")?;
    let is_plain = |text: &str| text.bytes().all(|it| it.is_ascii_alphabetic());
    if inputs.len() != tensors.len() || !inputs.iter().all(|it| is_plain(it)) || !is_plain(output) {
        return Err(unclear());
    }
    let mut rows: Option<(u8, Tensor)> = None;
    let mut sizes: std::collections::BTreeMap<u8, Size> = std::collections::BTreeMap::new();
    for (letters, tensor) in inputs.iter().zip(&tensors) {
        let dims = tensor.sizes()?;
        if dims.len() != letters.len() || tensor.drops() {
            return Err(unclear());
        }
        let letters = letters.as_bytes();
        if let Some(at) = tensor.axis() {
            let is_alone = letters.iter().filter(|it| **it == letters[at]).count() == 1;
            let agrees = rows.as_ref().is_none_or(|(letter, other)| {
                *letter == letters[at]
                    && other.moved(Vec::new(), 0).state.same(&tensor.moved(Vec::new(), 0).state)
            });
            if !is_alone || !agrees {
                return Err(call.meets("brings rows together with other rows"));
            }
            rows = Some((letters[at], tensor.clone()));
        }
        for (letter, size) in letters.iter().zip(dims) {
            let known = sizes.entry(*letter).or_insert_with(|| size.clone());
            *known = match size.has_rows() || known.has_rows() {
                true if known.has_rows() => known.clone(),
                true => size.clone(),
                false => either(known, size),
            };
        }
    }
    // A constant that has the rows' letter has a size of its own there.
    if let Some((letter, _)) = &rows {
        for (letters, tensor) in inputs.iter().zip(&tensors) {
            let at = letters.bytes().position(|it| it == *letter);
            if let Some(at) = at
                && tensor.axis() != Some(at)
                && !tensor.sizes()?[at].is(1)
            {
                return Err(Reason::new(Doubt::Counted, "einsum takes a fixed number of rows"));
            }
        }
    }
    let size = |letter: u8| sizes.get(&letter).cloned().ok_or_else(unclear);
    let dims: Vec<Size> = output.bytes().map(size).collect::<Result<_, _>>()?;
    match rows {
        None => one(Tensor::free(Some(dims), Kind::Float)),
        Some((letter, tensor)) => match output.bytes().position(|it| it == letter) {
            Some(at) => one(tensor.moved(dims, at).of(Kind::Float)),
            None => Err(call.meets("sums over the rows")),
        },
    }
}

fn bilinear(call: &mut Call<'_, '_>) -> RuleResult {
    let [a, b, weight] = [call.tensor("input1")?, call.tensor("input2")?, call.tensor("weight")?];
    let width = weight.sizes()?.first().cloned().ok_or_else(|| call.unclear("its weight"))?;
    let bias = call.optional_tensor("bias")?;
    if !weight.is_free() || bias.as_ref().is_some_and(|bias| !bias.is_free()) {
        return Err(call.meets("has weights that hang on rows"));
    }
    if bias.is_some_and(|bias| bias.rank() != Ok(1)) {
        return Err(call.unclear("the shape of its bias"));
    }
    let a = last_replaced(call, &a, Size::of(1))?;
    let b = last_replaced(call, &b, Size::of(1))?;
    let both = together(call, &a, &b)?;
    one(last_replaced(call, &both, width)?)
}

/// Distances of all vectors of one matrix to all of another, for each pair of matrices.
fn distances(call: &mut Call<'_, '_>) -> RuleResult {
    let [a, b] = [call.tensor("x1")?, call.tensor("x2")?];
    let batch = |tensor: &Tensor| {
        let dims = tensor.sizes()?;
        let outer = dims.len().saturating_sub(2);
        if tensor.axis().is_some_and(|at| at >= outer) || dims.len() < 2 {
            return Err(call.meets("measures rows against rows"));
        }
        Ok(tensor.with_dims(dims[..outer].to_vec()))
    };
    let outer = together(call, &batch(&a)?, &batch(&b)?)?;
    let mut dims = outer.sizes()?.to_vec();
    for tensor in [&a, &b] {
        let sizes = tensor.sizes()?;
        dims.push(sizes[sizes.len() - 2].clone());
    }
    one(outer.with_dims(dims))
}

/// Distances of vectors that stand at one place.
fn pairs(call: &mut Call<'_, '_>) -> RuleResult {
    let [a, b] = [call.tensor("x1")?, call.tensor("x2")?];
    let both = together(call, &a, &b)?;
    let dim = if call.name == "cosine_similarity" { call.int("dim")? } else { -1 };
    let dim = both.dim(dim)?;
    if both.axis() == Some(dim) {
        return Err(call.meets("is taken over the rows"));
    }
    let keeps = call.find("keepdim").is_some() && call.flag("keepdim")?;
    one(if keeps { last_replaced(call, &both, Size::of(1))? } else { without(&both, dim) })
}
