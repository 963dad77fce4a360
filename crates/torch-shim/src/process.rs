//! The end of the process.

use std::ffi::c_int;

unsafe extern "C" {
    // POSIX: ends the process with whatever status it is given, and touches nothing of it.
    safe fn _exit(status: c_int) -> !;
}

/// Ends the process at once, without the handlers that libraries registered for its end. Libtorch's and OpenMP's take
/// apart what threads that still run a model are using: they wait for these threads, or pull it away from under them.
///
/// What the standard library still holds of the standard output is lost.
pub fn end_process(status: u8) -> ! {
    _exit(c_int::from(status))
}
