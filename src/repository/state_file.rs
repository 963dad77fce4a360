//! Small files in the folder of state: read as a whole, written as a whole or not at all.

use super::plain_file::open_plain;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Reads a state file: a plain one that lies there itself, of at most so many bytes.
pub(super) fn read(path: &Path, max_bytes: u64) -> io::Result<String> {
    let mut text = String::new();
    open_plain(path, libc::O_NOFOLLOW)?.take(max_bytes).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a whole file or none: a reader never sees half of it.
pub(super) fn write(folder: &Path, name: &str, text: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    // The process id keeps two servers with one folder out of each other's half-written files.
    let draft = folder.join(format!("{name}.{}.tmp", std::process::id()));
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.custom_flags(libc::O_NOFOLLOW).open(&draft)?;
    let written = file.write_all(text).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(&draft, folder.join(name))).inspect_err(|_| {
        // The first error is the one to report.
        let _ = fs::remove_file(&draft);
    })
}
