//! Opening files that somebody else may have put there.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a plain file, with further flags of open(2). Another kind (a pipe, a device) could block for ever.
///
/// # Errors
///
/// It cannot be opened, or is of another kind.
pub fn open_plain(path: &Path, flags: i32) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a plain file")) }
}
