//! What a child has of the environment.

use std::ffi::OsString;

/// Variables that the child keeps, by prefix: where libraries lie, and how they are to behave.
const KEPT_VARIABLES: &[&str] = &[
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "LD_BIND_NOW",
    "GLIBC_TUNABLES",
    "LIBTORCH",
    "TORCH_",
    "PYTORCH_",
    "C10_",
    "ATEN_",
    "OMP_",
    "GOMP_",
    "KMP_",
    "MKL_",
    "ONEDNN_",
    "DNNL_",
    "CUDA_",
    "CUDNN_",
    "CUBLAS_",
    "NVIDIA_",
    "NVIDIA_TF32_",
    "MALLOC_",
    "RUST_BACKTRACE",
];
/// Variables that the child gets: what would otherwise write caches, which the limits forbid.
const SET_VARIABLES: &[(&str, &str)] =
    &[("CUDA_CACHE_DISABLE", "1"), ("USE_PYTORCH_KERNEL_CACHE", "0")];

/// For jemalloc: the limit on a child's memory counts what is mapped, so what is freed is not to stay mapped.
const ALLOCATOR: (&str, &str) = ("MALLOC_CONF", "retain:false");

/// The variables of a child.
pub(super) fn variables() -> impl Iterator<Item = (OsString, OsString)> {
    let is_kept = |(name, _): &(OsString, OsString)| {
        name.to_str().is_some_and(|name| KEPT_VARIABLES.iter().any(|kept| name.starts_with(kept)))
    };
    let set = SET_VARIABLES.iter().map(|(name, value)| (name.into(), value.into()));
    let (name, value) = ALLOCATOR;
    // Whoever sets it knows better.
    let allocator = std::env::var_os(name).is_none().then(|| (name.into(), value.into()));
    std::env::vars_os().filter(is_kept).chain(set).chain(allocator)
}
