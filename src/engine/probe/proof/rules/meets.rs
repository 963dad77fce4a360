//! Operators that let rows meet whatever the rest of the code is like: what nobody could follow before them does not make a
//! sample of their answers worth anything.

use super::{Call, reduce};
use crate::engine::probe::proof::value::Value;

/// Operators that take one number over all elements.
pub(super) const OVER_ALL: &[&str] = &[
    "trace",
    "dist",
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy_loss",
    "nll_loss",
    "nll_loss_nd",
    "nll_loss2d",
    "kl_div",
    "corrcoef",
    "cov",
    "soft_margin_loss",
    "hinge_embedding_loss",
    "cosine_embedding_loss",
    "triplet_margin_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "poisson_nll_loss",
    "ctc_loss",
    "linalg_matrix_norm",
    "linalg_cond",
    "linalg_multi_dot",
    "chain_matmul",
    "block_diag",
    "cartesian_prod",
    "kron",
    "tensordot",
    "trapezoid",
    "trapz",
    "quantile",
    "nanquantile",
    "fake_quantize_per_tensor_affine",
    "choose_qparams_per_tensor",
];

/// Operators that have no rule and go through all elements or along the rows, whatever they are given beside them.
const THROUGH_ALL: &[&str] = &[
    "_cdist_forward",
    "_is_all_true",
    "_is_any_true",
    "as_strided",
    "histogram",
    "histogramdd",
    "msort",
    "norm_except_dim",
    "pdist",
    "put",
    "sum_to_size",
    "to_sparse",
    "_to_sparse",
];

/// Of these it depends on the dimension: the first is that of the rows.
const ALONG_ONE: &[&str] = &[
    "fft_fft",
    "fft_hfft",
    "fft_ifft",
    "fft_ihfft",
    "fft_irfft",
    "fft_rfft",
    "index_add",
    "index_copy",
    "index_fill",
    "index_reduce",
];

/// These take the last two dimensions for a matrix, which in one matrix are all there are.
const OF_MATRICES: &[&str] = &[
    "fft_fft2",
    "fft_fftn",
    "linalg_eigh",
    "linalg_eigvalsh",
    "linalg_lstsq",
    "linalg_matrix_rank",
    "linalg_pinv",
    "linalg_qr",
    "linalg_slogdet",
    "linalg_svd",
    "linalg_svdvals",
    "matrix_exp",
    "pinverse",
    "qr",
    "rot90",
    "svd",
];

/// Whether the rows of what is given certainly meet.
pub(super) fn certainly(call: &Call<'_, '_>) -> bool {
    let name = call.name;
    if OVER_ALL.contains(&name) || THROUGH_ALL.contains(&name) {
        return true;
    }
    if reduce::REDUCING.contains(&name) {
        // Without a dimension it is one number over all; of two tensors the larger elements are meant.
        let has_dims = ["dim", "axis", "other"].iter().any(|dim| match call.find(dim) {
            None | Some(Value::None) => false,
            Some(Value::List(_)) => call.ints(dim).map_or(true, |dims| !dims.is_empty()),
            Some(_) => true,
        });
        return !has_dims;
    }
    if ALONG_ONE.contains(&name) {
        let has_rows = |value: &Value| match value {
            Value::Tensor(tensor) => tensor.axis() == Some(0),
            value => matches!(value, Value::Mixed(_)),
        };
        return call.int("dim").is_ok_and(|dim| dim == 0) && call.arguments.iter().any(has_rows);
    }
    let rank = call.arguments.first().and_then(|first| match first {
        Value::Tensor(tensor) => tensor.dims.as_ref().map(Vec::len),
        _ => None,
    });
    OF_MATRICES.contains(&name) && rank == Some(2)
}
