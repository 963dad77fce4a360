//! The program: everything is in the library.

use std::process::ExitCode;

/// jemalloc, for libtorch's allocations too: without a prefix it takes over `malloc`.
#[cfg(not(feature = "torch"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
/// The same, with large buffers apart.
#[cfg(feature = "torch")]
#[global_allocator]
static ALLOCATOR: sconce::engine::torch::Allocator = sconce::engine::torch::Allocator;

fn main() -> ExitCode {
    sconce::cli::run(std::env::args_os())
}
