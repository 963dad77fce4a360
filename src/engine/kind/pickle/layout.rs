//! Whether tensors lie within their storages.

use super::value::{Element, Numbers, Scheme, Storage, Tensor, Value};
use super::{PickleError, value::Text};

/// Most dimensions of a tensor: as many as libtorch's kernels have room for.
const MAX_DIMENSIONS: usize = 25;

/// Numbers in a record that say where others lie: they are looked at before libtorch uses them as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Indices {
    /// The record's key.
    pub(in super::super) key: String,
    /// Where they begin in it, in bytes, and how many there are.
    pub(in super::super) begins_at: u64,
    pub(in super::super) count: u64,
    /// Bytes of one.
    pub(in super::super) width: u64,
    pub(in super::super) rule: Rule,
}

/// What they have to be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Rule {
    /// From 0 to below this.
    Below(u64),
    /// From 0, never falling, to exactly this.
    RisesTo(u64),
}

/// Sizes and strides, checked against what the storage holds.
pub(super) fn place(
    storage: Storage,
    offset: i64,
    sizes: &[i64],
    strides: &[i64],
) -> Result<Tensor, PickleError> {
    let refuse = |what: &str| {
        let text =
            format!("a tensor of sizes {sizes:?}, strides {strides:?} and offset {offset} {what}");
        Err(PickleError::new(text))
    };
    if sizes.len() > MAX_DIMENSIONS {
        return Err(PickleError::new(format!("a tensor has {} dimensions", sizes.len())));
    }
    if sizes.len() != strides.len() {
        return refuse("has not as many strides as sizes");
    }
    let all = |of: &[i64]| of.iter().map(|&it| u64::try_from(it).ok()).collect::<Option<Vec<_>>>();
    let (Some(sizes_), Some(strides_), Ok(offset_)) =
        (all(sizes), all(strides), u64::try_from(offset))
    else {
        return refuse("has negative ones");
    };
    let capacity = storage.n_elements.saturating_mul(storage.element.packed);
    let n_bytes = sizes_.iter().try_fold(storage.element.n_bytes, |n, size| n.checked_mul(*size));
    if n_bytes.is_none_or(|it| i64::try_from(it).is_err()) {
        return refuse("has more elements than can be counted");
    }
    let is_empty = sizes_.contains(&0);
    let last = sizes_.iter().zip(&strides_).try_fold(offset_, |at, (size, stride)| {
        at.checked_add(size.saturating_sub(1).checked_mul(*stride)?)
    });
    if !last.is_some_and(|last| if is_empty { offset_ <= capacity } else { last < capacity }) {
        return refuse(&format!("reaches beyond its storage of {capacity} elements"));
    }
    Ok(Tensor { storage, offset: offset_, sizes: sizes_, strides: strides_, is_sparse: false })
}

/// Whether a quantized tensor has a scale and a zero point for each channel, where it has them by channel.
pub(super) fn check_scales(
    tensor: &Tensor,
    scheme: Scheme,
    params: &[Value],
    tensors: &[Tensor],
) -> Result<(), PickleError> {
    if tensor.storage.element.numbers != Numbers::Quantized {
        return Err(PickleError::new("a quantized tensor is of another datatype"));
    }
    match (scheme, params) {
        (Scheme::PerTensor, [Value::Float, Value::Int(_)]) => Ok(()),
        (
            Scheme::PerChannel,
            [Value::Tensor(scales), Value::Tensor(zero_points), Value::Int(axis)],
        ) => {
            let channels = usize::try_from(*axis).ok().and_then(|axis| tensor.sizes.get(axis));
            let fits = |it: usize| {
                let it = &tensors[it];
                !it.is_sparse && it.sizes.len() == 1 && it.sizes.first() == channels
            };
            if channels.is_some() && fits(*scales) && fits(*zero_points) {
                return Ok(());
            }
            let text = format!(
                "a quantized tensor of sizes {:?} has not one scale and zero point for each channel along {axis}",
                tensor.sizes
            );
            Err(PickleError::new(text))
        }
        _ => Err(PickleError::new("a quantized tensor has other parameters than it should")),
    }
}

/// A sparse tensor of this size, whose parts fit each other as far as their sizes say; what their numbers say is left
/// to look at.
pub(super) fn sparse(
    size: &[i64],
    parts: &[&Tensor],
    text: impl Fn(Text) -> String,
) -> Result<(Tensor, Vec<Indices>), PickleError> {
    let refused = || {
        PickleError::new(format!(
            "the parts of a sparse tensor of sizes {size:?} do not fit each other"
        ))
    };
    let sizes = size.iter().map(|&it| u64::try_from(it).ok()).collect::<Option<Vec<_>>>();
    let sizes = sizes.filter(|it| it.len() <= MAX_DIMENSIONS).ok_or_else(refused)?;
    let count = sizes.iter().try_fold(16u64, |n, size| n.checked_mul(*size));
    if count.is_none_or(|it| i64::try_from(it).is_err()) || parts.iter().any(|it| it.is_sparse) {
        return Err(refused());
    }
    let indices = |of: &Tensor, from: u64, count: u64, rule: Rule| {
        let Element { n_bytes, .. } = of.storage.element;
        let begins_at = of.offset.saturating_add(from).saturating_mul(n_bytes);
        Indices { key: text(of.storage.key), begins_at, count, width: n_bytes, rule }
    };
    let all = match parts {
        // One row for each dimension, one column for each element that is there.
        [places, values] => {
            let [n_dims, n_values] = places.sizes[..] else { return Err(refused()) };
            let n_sparse = usize::try_from(n_dims).map_err(|_| refused())?;
            let dense = sizes.get(n_sparse..).ok_or_else(refused)?;
            let is_whole = places.storage.element.numbers == Numbers::Int64
                && places.is_contiguous()
                && values.sizes.first() == Some(&n_values)
                && values.sizes.get(1..) == Some(dense);
            if !is_whole {
                return Err(refused());
            }
            let row = |(at, size): (usize, &u64)| {
                indices(places, at as u64 * n_values, n_values, Rule::Below(*size))
            };
            sizes.iter().take(n_sparse).enumerate().map(row).collect()
        }
        // Where each row begins, in which column each element stands.
        [rows, columns, values] => {
            let [n_rows, n_columns] = sizes[..] else { return Err(refused()) };
            let is_index = |it: &Tensor| {
                matches!(it.storage.element.numbers, Numbers::Int32 | Numbers::Int64)
                    && it.sizes.len() == 1
                    && it.is_contiguous()
            };
            let n_values = values.sizes.first().copied().unwrap_or(u64::MAX);
            let is_whole = is_index(rows)
                && is_index(columns)
                && rows.storage.element == columns.storage.element
                && rows.sizes[0].checked_sub(1) == Some(n_rows)
                && columns.sizes[0] == n_values
                && values.sizes.len() == 1;
            if !is_whole {
                return Err(refused());
            }
            vec![
                indices(rows, 0, rows.sizes[0], Rule::RisesTo(n_values)),
                indices(columns, 0, n_values, Rule::Below(n_columns)),
            ]
        }
        _ => return Err(refused()),
    };
    let values = parts[parts.len() - 1];
    let tensor =
        Tensor { sizes, is_sparse: true, strides: Vec::new(), offset: 0, storage: values.storage };
    Ok((tensor, all))
}
