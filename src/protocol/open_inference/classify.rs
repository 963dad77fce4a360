//! The highest values of an output as texts, in place of the output: the classification extension.

use crate::inference::{ErrorCode, InferError};
use crate::protocol::json::{write_float, write_integer};
use crate::tensor::{BufferVec, DataType, Element, Shape, Tensor};
use half::{bf16, f16};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// What is asked of an output.
#[derive(Clone, Copy)]
pub(super) struct Ask<'l> {
    /// How many classes, where there are as many.
    pub(super) n: NonZeroUsize,
    /// Names of the classes, by their index.
    pub(super) labels: &'l [Arc<str>],
    /// Whether the first dimension counts rows, each of which has classes of its own.
    pub(super) has_rows: bool,
}

/// A tensor of texts `value:index` or `value:index:label`, highest first: of each row, or of the whole.
pub(super) fn classes(name: &str, tensor: &Tensor, ask: Ask<'_>) -> Result<Tensor, InferError> {
    let classes = match tensor.datatype() {
        DataType::Bool | DataType::UInt8 => integers::<u8>(tensor, ask),
        DataType::UInt16 => integers::<u16>(tensor, ask),
        DataType::UInt32 => integers::<u32>(tensor, ask),
        DataType::UInt64 => integers::<u64>(tensor, ask),
        DataType::Int8 => integers::<i8>(tensor, ask),
        DataType::Int16 => integers::<i16>(tensor, ask),
        DataType::Int32 => integers::<i32>(tensor, ask),
        DataType::Int64 => integers::<i64>(tensor, ask),
        DataType::Fp16 => floats::<f16, f32>(tensor, ask),
        DataType::Bf16 => floats::<bf16, f32>(tensor, ask),
        DataType::Fp32 => floats::<f32, f32>(tensor, ask),
        DataType::Fp64 => floats::<f64, f64>(tensor, ask),
        DataType::Bytes => None,
    };
    classes.ok_or_else(|| {
        let message = format!("output {name:?} is of {}, which has no classes", tensor.datatype());
        InferError::new(ErrorCode::InvalidInput, message)
    })
}

fn integers<T: Element + Ord + itoa::Integer>(tensor: &Tensor, ask: Ask<'_>) -> Option<Tensor> {
    highest::<T>(tensor, ask, Ord::cmp, write_integer)
}

/// Floats are compared and written as `F`, which has all values of `T`.
fn floats<T: Element + Into<F>, F>(tensor: &Tensor, ask: Ask<'_>) -> Option<Tensor>
where
    F: zmij::Float + Into<f64>,
{
    let order = |a: &T, b: &T| {
        let (a, b): (F, F) = ((*a).into(), (*b).into());
        let (a, b): (f64, f64) = (a.into(), b.into());
        // NaN is below everything; `total_cmp` would also tell apart the two zeros.
        a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
    };
    highest::<T>(tensor, ask, order, |out, value| {
        let value: F = value.into();
        match value.into() {
            number if number.is_nan() => out.extend_from_slice(b"nan"),
            f64::INFINITY => out.extend_from_slice(b"inf"),
            f64::NEG_INFINITY => out.extend_from_slice(b"-inf"),
            _ => write_float(out, value),
        }
    })
}

/// `None` only for more classes than can be addressed, which no tensor in memory has.
fn highest<T: Element>(
    tensor: &Tensor,
    ask: Ask<'_>,
    order: impl Fn(&T, &T) -> Ordering,
    write: impl Fn(&mut Vec<u8>, T),
) -> Option<Tensor> {
    // What an engine made is aligned; a slice of somebody's bytes need not be.
    let values: Cow<'_, [T]> = match tensor.buffer().as_slice() {
        Some(values) => Cow::Borrowed(values),
        None => Cow::Owned(bytemuck::pod_collect_to_vec(tensor.buffer().as_bytes())),
    };
    let n_rows = if ask.has_rows { tensor.n_rows() } else { 1 };
    let row_len = values.len() / n_rows.max(1);
    let n = ask.n.get().min(row_len);
    let mut texts = BufferVec::with_capacity(0);
    let mut text = Vec::new();
    let mut indices: Vec<usize> = Vec::with_capacity(row_len);
    for row in values.chunks_exact(row_len.max(1)) {
        indices.clear();
        indices.extend(0..row_len);
        let highest_first = |a: &usize, b: &usize| order(&row[*b], &row[*a]).then(a.cmp(b));
        if n < row_len {
            indices.select_nth_unstable_by(n, highest_first);
            indices.truncate(n);
        }
        indices.sort_unstable_by(highest_first);
        for &index in &indices {
            text.clear();
            write(&mut text, row[index]);
            text.push(b':');
            write_integer(&mut text, index);
            if let Some(label) = ask.labels.get(index) {
                text.push(b':');
                text.extend_from_slice(label.as_bytes());
            }
            texts.extend_from_slice(&u32::try_from(text.len()).ok()?.to_le_bytes());
            texts.extend_from_slice(&text);
        }
    }
    let shape = if ask.has_rows { Shape::from([n_rows, n]) } else { Shape::from([n]) };
    Tensor::new(DataType::Bytes, shape, texts.freeze()).ok()
}
