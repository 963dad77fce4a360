//! The program: everything is in the library.

use std::process::ExitCode;

/// For libtorch's allocations too: without a prefix it takes over `malloc`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    sconce::cli::run(std::env::args_os())
}
