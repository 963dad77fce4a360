//! The end of the process, and another beginning of it.

use std::ffi::{c_int, c_long};
use std::io;

unsafe extern "C" {
    // POSIX: ends the process with whatever status it is given, and touches nothing of it.
    safe fn _exit(status: c_int) -> !;
    // process.cpp: a process id, 0, or minus an error number.
    safe fn sconce_fork_as_sibling() -> c_long;
}

/// Ends the process at once, without the handlers that libraries registered for its end. Libtorch's and OpenMP's take
/// apart what threads that still run a model are using: they wait for these threads, or pull it away from under them.
///
/// What the standard library still holds of the standard output is lost.
pub fn end_process(status: u8) -> ! {
    _exit(c_int::from(status))
}

/// Forks a process that is this one's sibling and not its child: it belongs to whoever started this one, who can wait for it
/// and end it. The id of the new process; `None` in that one.
///
/// Of use only where this process has one thread: of others the new one would have what they held and not what they do. The
/// handlers that libraries registered for forks do not run, since none of them has anything to put right then.
///
/// # Errors
///
/// The kernel has no room for another process.
pub fn fork_as_sibling() -> io::Result<Option<i32>> {
    match sconce_fork_as_sibling() {
        0 => Ok(None),
        error if error < 0 => Err(io::Error::from_raw_os_error(i32::try_from(-error).unwrap_or(0))),
        id => i32::try_from(id).map(Some).map_err(io::Error::other),
    }
}
