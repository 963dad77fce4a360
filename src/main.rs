//! The program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    sconce::cli::run(std::env::args_os())
}
