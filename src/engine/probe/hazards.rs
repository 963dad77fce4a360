//! Operators of libtorch 2.13 that can end the process, or read or write beyond their tensors, by the arguments that code gives
//! them or by the values in their tensors. Code that uses one is not run unless the file is trusted.
//!
//! Found by trying every operator of the library with odd arguments: sizes, indices and divisors out of range, empty tensors,
//! other datatypes, each in a process of its own with a page that cannot be touched behind every tensor. What real
//! networks use is not here: gather, index, embedding, as_strided, quantize_per_tensor and their like look at what they are
//! given. Makers of sparse tensors, repeat_interleave, packed sequences, bags of embeddings, LSTM, attention, circular padding,
//! norms of weights, resizing, folding and max pooling do not; the shim makes them look (`guards.cpp`).

/// Some operators of a namespace, sorted, and what they do.
struct Class {
    namespace: &'static str,
    operators: &'static [&'static str],
    reason: &'static str,
}

/// Ends the names of those that compute gradients. Each trusts that its tensors are those of the operator that it belongs to,
/// and no model that answers needs one.
const BACKWARD: &[&str] = &["_backward", "_backward_data", "_backward_input", "_backward_weight"];
const BACKWARD_REASON: &str = "computes gradients and trusts the sizes of its tensors";

const CLASSES: &[Class] = &[
    Class {
        namespace: "aten::",
        operators: &[
            "__upsample_bilinear",
            "_adaptive_avg_pool2d",
            "_adaptive_avg_pool3d",
            "_batch_norm_no_update",
            "_batch_norm_with_update",
            "_batch_norm_with_update_functional",
            "_cholesky_solve_helper",
            "_chunk_cat",
            "_compute_linear_combination",
            "_conv_depthwise2d",
            "_cummax_helper",
            "_cummin_helper",
            "_fft_c2c",
            "_fft_c2r",
            "_fft_r2c",
            "_foreach_copy",
            "_fused_adagrad",
            "_fused_adagrad_",
            "_fused_adam",
            "_fused_adam_",
            "_fused_adamw",
            "_fused_adamw_",
            "_fused_moving_avg_obs_fq_helper",
            "_fused_moving_avg_obs_fq_helper_functional",
            "_fused_sgd",
            "_fused_sgd_",
            "_native_batch_norm_legit",
            "_native_batch_norm_legit_functional",
            "_native_batch_norm_legit_no_training",
            "_nested_compute_contiguous_strides_offsets",
            "_nested_view_from_buffer",
            "_nested_view_from_buffer_copy",
            "_new_zeros_with_same_feature_meta",
            "_remove_batch_dim",
            "_reshape_alias",
            "_reshape_alias_copy",
            "_slow_conv2d_forward",
            "_sobol_engine_draw",
            "_sobol_engine_ff_",
            "_sobol_engine_initialize_state_",
            "_sobol_engine_scramble_",
            "_stack",
            "_unsafe_masked_index",
            "_unsafe_masked_index_put_accumulate",
            "batch_norm_update_stats",
            "conv_depthwise3d",
            "fused_moving_avg_obs_fake_quant",
            "lu_unpack",
            "native_batch_norm",
            "quantized_lstm_cell",
            "slow_conv3d",
            "slow_conv3d_forward",
            "slow_conv_dilated2d",
            "slow_conv_dilated3d",
            "slow_conv_transpose2d",
            "slow_conv_transpose3d",
            "thnn_conv2d",
        ],
        reason: "is a part of other operators and trusts the sizes that it is given",
    },
    Class {
        namespace: "aten::",
        operators: &[
            "_convert_indices_from_coo_to_csr",
            "_convert_indices_from_csr_to_coo",
            "_ctc_loss",
            "_jagged_to_padded_dense_forward",
            "_padded_dense_to_jagged_forward",
            "_sparse_bsc_tensor_unsafe",
            "_sparse_bsr_tensor_unsafe",
            "_sparse_compressed_tensor_unsafe",
            "_sparse_compressed_tensor_with_dims",
            "_sparse_coo_tensor_unsafe",
            "_sparse_coo_tensor_with_dims",
            "_sparse_coo_tensor_with_dims_and_tensors",
            "_sparse_csc_tensor_unsafe",
            "_sparse_csr_tensor_unsafe",
            "ctc_loss",
            "fractional_max_pool2d",
            "fractional_max_pool3d",
            "linalg_ldl_solve",
            "segment_reduce",
        ],
        reason: "reads or writes where numbers in a tensor say, wherever that is",
    },
    Class {
        namespace: "aten::",
        operators: &[
            "_indices",
            "_values",
            "ccol_indices",
            "col_indices",
            "crow_indices",
            "indices",
            "row_indices",
        ],
        reason: "hands out what a sparse tensor is made of, which can be changed after it was checked",
    },
    Class {
        namespace: "quantized::",
        operators: &[
            "embedding_bag_2bit_rowwise_offsets",
            "embedding_bag_4bit",
            "embedding_bag_4bit_rowwise_offsets",
            "embedding_bag_byte",
            "embedding_bag_byte_rowwise_offsets",
        ],
        reason: "reads where numbers in a tensor say, wherever that is",
    },
    Class {
        namespace: "aten::",
        operators: &[
            "_dyn_quant_matmul_4bit",
            "_linalg_eigvals",
            "_nnpack_spatial_convolution",
            "_transform_bias_rescale_qkv",
            "linalg_eigvals",
            "linalg_matrix_power",
            "matrix_power",
            "mkldnn_rnn_layer",
            "native_group_norm",
            "promote_types",
        ],
        reason: "ends the process for some numbers",
    },
    Class {
        namespace: "aten::",
        operators: &["binomial"],
        reason: "never ends for some numbers, and holds meanwhile what all draws of random numbers wait for",
    },
    Class {
        namespace: "aten::",
        operators: &["_lazy_clone", "_neg_view", "_neg_view_copy", "view_copy"],
        reason: "ends the process for tensors of some kinds",
    },
    Class {
        namespace: "prim::",
        operators: &[
            "ChunkSizes",
            "ConstantChunk",
            "DifferentiableGraph",
            "FusedConcat",
            "FusionGroup",
            "MMBatchSide",
            "PythonOp",
            "ReductionSizes",
            "RequiresGradCheck",
            "StaticRuntimeCopyOuts",
            "StaticSubgraph",
            "TensorExprDynamicGroup",
            "TensorExprDynamicGuard",
            "TensorExprGroup",
            "oneDNNFusionGroup",
            "oneDNNFusionGuard",
        ],
        reason: "stands for what libtorch itself puts into code, and ends the process in a file",
    },
    Class {
        namespace: "aten::",
        operators: &[
            "fbgemm_linear_fp16_weight",
            "fbgemm_linear_fp16_weight_fp32_activation",
            "fbgemm_linear_int8_weight",
            "fbgemm_linear_int8_weight_fp32_activation",
            "fbgemm_pack_gemm_matrix_fp16",
            "fbgemm_pack_quantized_matrix",
        ],
        reason: "hands out an object of the library as if it were a tensor",
    },
    Class {
        namespace: "profiler::",
        operators: &["_record_function_enter", "_record_function_exit"],
        reason: "hands out an object of the library as if it were a tensor",
    },
    Class {
        namespace: "mkl::",
        operators: &["_mkl_linear", "_mkl_reorder_linear_weight"],
        reason: "trusts the sizes that it is given",
    },
    Class {
        namespace: "mkldnn::",
        operators: &["_linear_pointwise", "_reorder_mkldnn_rnn_layer_weight", "data_ptr"],
        reason: "trusts the sizes that it is given",
    },
    Class {
        namespace: "onednn::",
        operators: &["linear_prepack_fp16", "qlinear_pointwise", "qlinear_prepack"],
        reason: "trusts the sizes that it is given",
    },
];

/// What an operator, without its overload, can do.
pub(super) fn hazard(operator: &str) -> Option<&'static str> {
    let of_aten = operator.strip_prefix("aten::");
    if of_aten.is_some_and(|it| BACKWARD.iter().any(|end| it.ends_with(end))) {
        return Some(BACKWARD_REASON);
    }
    let is_in = |class: &&Class| {
        let name = operator.strip_prefix(class.namespace);
        name.is_some_and(|name| class.operators.contains(&name))
    };
    CLASSES.iter().find(is_in).map(|class| class.reason)
}

#[cfg(test)]
mod tests {
    use super::super::concern;
    use super::*;
    use std::io::Read;

    #[test]
    fn every_name_stands_once() {
        let names = CLASSES.iter().flat_map(|class| {
            class.operators.iter().map(|name| format!("{}{name}", class.namespace))
        });
        let mut names: Vec<_> = names.collect();
        let n_names = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), n_names);
    }

    #[test]
    fn what_trusts_its_arguments_is_of_concern() {
        for operator in [
            "aten::_sparse_coo_tensor_unsafe",
            "aten::reflection_pad2d_backward",
            "aten::reflection_pad2d_backward.grad_input",
            "aten::_log_softmax_backward_data.out",
            "aten::segment_reduce",
            "aten::ctc_loss.Tensor",
            "aten::crow_indices",
            "aten::binomial",
            "profiler::_record_function_enter",
            "inductor::resize_storage_bytes_",
            "sconce::unordered_sort",
            "sconce::foreign_cast",
            "aten::slow_conv3d.out",
            "aten::thnn_conv2d",
            "quantized::embedding_bag_byte",
            "static_runtime::embedding_bag",
            "prim::FusionGroup",
        ] {
            assert!(concern(operator).is_some(), "{operator}");
        }
        for operator in [
            "aten::backward",
            "aten::as_strided",
            "aten::view",
            "aten::stack",
            "aten::_convolution",
            "aten::_weight_norm",
            "aten::_weight_norm_interface",
            "aten::embedding_bag",
            "aten::values.str",
            "aten::sort",
            "aten::sort.values_stable",
            "profiler::_record_function_enter_new",
            "aten::remainder.int",
        ] {
            assert_eq!(concern(operator), None, "{operator}");
        }
    }

    #[test]
    fn no_real_network_uses_one() {
        let packed = &include_bytes!("../../../tests/fixtures/graphs/real.gz")[..];
        let mut text = String::new();
        flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
        let is_part = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
        let operators = text.split(is_part).filter(|word| word.contains("::"));
        let mut n_operators = 0;
        for operator in operators {
            n_operators += 1;
            assert_eq!(concern(operator), None, "{operator}");
        }
        assert!(n_operators > 10_000, "{n_operators} operators");
    }
}
