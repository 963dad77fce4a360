//! The program: everything is in the library.

use std::process::ExitCode;

/// For libtorch's allocations too: the feature `override` takes over `malloc`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    sconce::cli::run(std::env::args_os())
}
